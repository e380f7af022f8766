package message

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// nastyFile has the nasty messages for the tests of others, such as those of filters.
const nastyFile = "testdata/nasty.json"

// maxNastyFile is how long a message in the file may be, in octets.
const maxNastyFile = 4 << 10

// TestNastyFile compares the file with the tables: go test ./internal/message -update
// writes it.
func TestNastyFile(t *testing.T) {
	type entry struct {
		Name     string   `json:"name"`
		Content  []byte   `json:"content"`
		Types    []string `json:"types"`
		Names    []string `json:"names,omitempty"`
		Readable bool     `json:"readable"`
	}
	var entries []entry
	for _, group := range nastyGroups {
		for _, n := range group {
			if len(n.in) > maxNastyFile {
				continue
			}
			e := entry{Name: n.name, Content: []byte(crlf(n.in)), Types: inspect(t, crlf(n.in)).Types(), Readable: len(n.defects) == 0}
			if n.names != "" {
				e.Names = strings.Split(n.names, "|")
			}
			entries = append(entries, e)
		}
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetIndent("", "\t")
	if err := out.Encode(entries); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(nastyFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(nastyFile)
	if err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not of the tables: write it with -update (%v)", nastyFile, err)
	}
}
