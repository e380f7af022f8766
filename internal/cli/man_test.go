package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"postern/internal/config"
)

func testRoot() *cobra.Command {
	return newRoot(&app{out: &output{Writer: io.Discard}, err: io.Discard})
}

// Every command has a page, and every page is of a command.
func TestManualIsComplete(t *testing.T) {
	pages := manual(testRoot())
	delete(pages, "postern.toml.5")
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		page, there := pages[name]
		if there == c.Hidden {
			t.Errorf("%s: a page: %t, hidden: %t", name, there, c.Hidden)
		}
		for _, sub := range c.Commands() {
			walk(sub)
			if !sub.Hidden && !strings.Contains(page, ".BR "+roffText(strings.ReplaceAll(sub.CommandPath(), " ", "-"))+" (1)") {
				t.Errorf("%s does not lead to %s", name, sub.CommandPath())
			}
		}
		delete(pages, name)
	}
	walk(testRoot())
	for name := range pages {
		t.Errorf("%s is about no command", name)
	}
}

func TestConfigPageHasEverySetting(t *testing.T) {
	all, err := config.Describe("")
	if err != nil {
		t.Fatal(err)
	}
	page := configPage()
	for i := range all {
		if !strings.Contains(page, ".B "+roffText(all[i].Key)+"\n") {
			t.Errorf("the page does not have %s", all[i].Key)
		}
	}
}

func TestRoff(t *testing.T) {
	r := newRoff("postern-x", "1", "Do x")
	r.prose("One - two.\n.not a request\n\nCodes:\n  0  \"good\"\n  'bad\\\nEnd")
	r.entry("-x", "What x is.")
	r.seeAlso("postern(1)", "postern-y(1)")
	version := version
	want := `.TH POSTERN-X 1 "" "postern ` + version + `" "Postern"
.SH NAME
postern\-x \- do x
One \- two.
\&.not a request
.PP
Codes:
.RS 4
.nf
0  \(dqgood\(dq
\&'bad\e
.fi
.RE
End
.TP
.B \-x
What x is.
.SH SEE ALSO
.BR postern (1),
.BR postern\-y (1)
`
	if diff := cmp.Diff(want, r.b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := lowerFirst("DNS is asked"); got != "DNS is asked" {
		t.Errorf("an abbreviation becomes %q", got)
	}
}
