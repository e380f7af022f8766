package mailtest

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// PagePart is a part of a page of docs that a test writes. It stands between the line
// "<!-- Name: Command -update writes what follows -->" and the next "<!-- end -->".
type PagePart struct {
	Page    string // its path
	Name    string // of the part
	Command string // that runs the test
}

// Compare compares the part with what the test has observed, and fails where they differ; with
// update it writes it, unless the test has failed.
func (p PagePart) Compare(t testing.TB, observed string, update bool) {
	t.Helper()
	text, err := os.ReadFile(p.Page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+p.Name+": "+p.Command+" -update writes what follows -->\n\n", "\n<!-- end -->"
	head, rest, found := strings.Cut(string(text), begin)
	shown, tail, ended := strings.Cut(rest, end)
	switch {
	case !found || !ended:
		t.Fatalf("%s has no lines %q and %q", p.Page, begin, end)
	case update && !t.Failed():
		if err := os.WriteFile(p.Page, []byte(head+begin+observed+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		if diff := cmp.Diff(observed, shown); diff != "" {
			t.Errorf("%s is not what was observed; run %s -update (-observed +page):\n%s", p.Page, p.Command, diff)
		}
	}
}
