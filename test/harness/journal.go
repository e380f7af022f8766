package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"postern/internal/mail"
)

// ReadJournal reads every fact of a journal, oldest first. The server may be
// running: what it is about to write, a last line without its end, is left
// out. It fails at a line that is not a fact.
func ReadJournal(dir string) ([]mail.Fact, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no journal in %s (%v)", dir, err)
	}
	slices.Sort(files)
	var facts []mail.Fact
	for i, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if i == len(files)-1 {
			text = text[:bytes.LastIndexByte(text, '\n')+1]
		}
		more, err := parseJournal(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%w", name, err)
		}
		facts = append(facts, more...)
	}
	return facts, nil
}

// parseJournal reads the text of one file. Its first line is the header. An
// error begins with the number of the line.
func parseJournal(text []byte) ([]mail.Fact, error) {
	var facts []mail.Fact
	n := 0
	for line := range bytes.Lines(text) {
		if n++; n == 1 {
			continue
		}
		var fact mail.Fact
		if err := json.Unmarshal(line, &fact); err != nil {
			return nil, fmt.Errorf("%d: %w: %.200q", n, err, line)
		}
		facts = append(facts, fact)
	}
	return facts, nil
}
