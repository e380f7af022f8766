package mime

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postern/internal/message"
)

// mutants are how many messages are made of those of the corpus.
const mutants = 1500

// TestPythonMutants: messages that are broken by chance hide nothing. Each is one
// of the corpus in which lines or characters have changed; what Python sees in it
// Postern says, or that it cannot read it.
func TestPythonMutants(t *testing.T) {
	corpus := readCorpus(t)
	names := slices.Sorted(maps.Keys(corpus))
	random := rand.New(rand.NewPCG(1, 2))
	messages := map[string][]byte{}
	for i := range mutants {
		name, other := names[random.IntN(len(names))], names[random.IntN(len(names))]
		messages[fmt.Sprintf("%s, mutant %d", name, i)] = mutate(random, corpus[name], corpus[other])
	}
	all := python(t, messages)
	readable := 0
	for name, content := range messages {
		i, err := message.Inspect(bytes.NewReader(content), message.InspectLimits{})
		if err != nil {
			t.Fatal(err)
		}
		if !i.Readable() {
			continue
		}
		readable++
		found := all[name]
		found.Defects = nil // of a message that was broken, not all of them hide something
		comparePython(t, name, i, found)
		if t.Failed() {
			t.Fatalf("%s:\n%s", name, content)
		}
	}
	if readable < mutants/4 {
		t.Errorf("only %d of %d can be read", readable, mutants)
	}
}

// marks are the characters that mean something in a header.
const marks = ";:\"'()<>= \t\\/*-%?x0,."

// mutate changes a few lines of a message; some come from another one.
func mutate(random *rand.Rand, content, other []byte) []byte {
	lines := strings.SplitAfter(string(content), "\r\n")
	others := strings.SplitAfter(string(other), "\r\n")
	for range 1 + random.IntN(3) {
		at := random.IntN(len(lines))
		switch random.IntN(7) {
		case 0:
			if len(lines) > 1 {
				lines = slices.Delete(lines, at, at+1)
			}
		case 1:
			lines = slices.Insert(lines, at, lines[random.IntN(len(lines))])
		case 2:
			lines = slices.Insert(lines, at, others[random.IntN(len(others))])
		case 3:
			to := random.IntN(len(lines))
			lines[at], lines[to] = lines[to], lines[at]
		case 4:
			lines = lines[:at+1]
		default:
			lines[at] = mutateLine(random, lines[at])
		}
	}
	return []byte(strings.Join(lines, ""))
}

// mutateLine changes a character of a line.
func mutateLine(random *rand.Rand, line string) string {
	text := []byte(strings.TrimSuffix(line, "\r\n"))
	if len(text) == 0 {
		return line
	}
	at, mark := random.IntN(len(text)), marks[random.IntN(len(marks))]
	switch random.IntN(3) {
	case 0:
		text[at] = mark
	case 1:
		text = slices.Insert(text, at, mark)
	default:
		text = slices.Delete(text, at, at+1)
	}
	return string(text) + "\r\n"
}
