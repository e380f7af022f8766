// Package mime compares what Postern finds in messages with what another reader
// of mail does: the email package of Python, over the messages that Python
// tests it with. It is no library.
//
// What is not installed skips its tests, except where CI=true or
// POSTERN_REQUIRE_PEERS=1 is set: there it fails them.
package mime

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/message"
	"postern/test/harness"
)

// corpus are the messages of Debian's package libpython3.11-testsuite.
const corpus = "/usr/lib/python3.11/test/test_email/data/*.txt"

// lack ends a test for which something is not installed.
func lack(t *testing.T, why string) {
	t.Helper()
	if harness.Required() {
		t.Fatalf("required here: %s", why)
	}
	t.Skip(why)
}

// readCorpus returns the messages by the names of their files, each with CRLF, as
// it would be when it has come by SMTP.
func readCorpus(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(corpus)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		lack(t, "no messages at "+corpus+": install libpython3.11-testsuite")
	}
	messages := map[string][]byte{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
		messages[filepath.Base(file)] = bytes.ReplaceAll(content, []byte("\n"), []byte("\r\n"))
	}
	return messages
}

// verdict is what must be said of a message of the corpus.
type verdict struct {
	types, names string // of its parts
	defects      []string
}

func TestCorpus(t *testing.T) {
	messages := readCorpus(t)
	for name, content := range messages {
		i, err := message.Inspect(bytes.NewReader(content), message.InspectLimits{})
		if err != nil {
			t.Fatal(err)
		}
		got := verdict{types: strings.Join(i.Types(), " "), names: strings.Join(i.Names(), "|")}
		for _, d := range i.Defects {
			got.defects = append(got.defects, d.String())
		}
		want, known := verdicts[name]
		if !known {
			t.Errorf("%s: a message of which nothing is known: %+v", name, got)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(verdict{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name := range verdicts {
		if messages[name] == nil {
			t.Errorf("%s is not among the messages", name)
		}
	}
}

// seen is what Python sees in a message.
type seen struct {
	Types, Names, Defects []string
}

// reader prints what Python sees in messages. It is given them, and prints it, as
// an object of JSON with their names.
const reader = `
import base64, email, email.policy, json, sys

def look(content):
    seen = {"Types": [], "Names": [], "Defects": []}
    for part in email.message_from_bytes(base64.b64decode(content), policy=email.policy.default).walk():
        seen["Types"].append(part.get_content_type())
        name = part.get_filename()
        if name:
            seen["Names"].append(name)
        seen["Defects"] += [type(d).__name__ for d in part.defects]
    return seen

print(json.dumps({name: look(content) for name, content in json.load(sys.stdin).items()}))
`

// python returns what Python sees in messages.
func python(t *testing.T, messages map[string][]byte) map[string]seen {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		lack(t, err.Error())
	}
	input, err := json.Marshal(messages)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), path, "-c", reader)
	command.Stdin, command.Stderr = bytes.NewReader(input), os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]seen
	if err := json.Unmarshal(output, &all); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return all
}

// harmless are defects that hide nothing: of a message that was cut off.
var harmless = []string{"CloseBoundaryNotFoundDefect"}

// TestPython: what Python sees Postern says, or that it cannot read the message;
// and where Python finds something wrong, so does Postern.
func TestPython(t *testing.T) {
	messages := readCorpus(t)
	all := python(t, messages)
	readable := 0
	for name, content := range messages {
		i, err := message.Inspect(bytes.NewReader(content), message.InspectLimits{})
		if err != nil {
			t.Fatal(err)
		}
		if i.Readable() {
			readable++
			comparePython(t, name, i, all[name])
		}
	}
	if readable < len(messages)/2 {
		t.Errorf("only %d of %d messages can be read", readable, len(messages))
	}
}

func comparePython(t *testing.T, name string, i *message.Inspection, python seen) {
	for _, kind := range python.Types {
		if !slices.Contains(i.Types(), kind) {
			t.Errorf("%s: Python sees a part of the type %s, Postern %q", name, kind, i.Types())
		}
	}
	for _, file := range python.Names {
		if !slices.Contains(i.Names(), file) {
			t.Errorf("%s: Python sees a file %q, Postern %q", name, file, i.Names())
		}
	}
	for _, defect := range python.Defects {
		if !slices.Contains(harmless, defect) {
			t.Errorf("%s: Python has %s, and Postern nothing", name, defect)
		}
	}
}
