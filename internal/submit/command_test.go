package submit

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

func text(s string) *string { return &s }

func TestParseCommand(t *testing.T) {
	for line, want := range map[string]Command{
		"":                       {},
		"a@x.example b@x":        {Recipients: []string{"a@x.example", "b@x"}},
		"-t -i":                  {FromHeader: true, Dots: true},
		"-ti -- a@x.example":     {FromHeader: true, Dots: true, Recipients: []string{"a@x.example"}},
		"-oi -oem -odb a@x":      {Dots: true, Recipients: []string{"a@x"}},
		"-o i a@x":               {Dots: true, Recipients: []string{"a@x"}},
		"-f joe@x a@x":           {Sender: text("joe@x"), Recipients: []string{"a@x"}},
		"-fjoe@x -Fjoe a@x":      {Sender: text("joe@x"), FullName: "joe", Recipients: []string{"a@x"}},
		"-r joe@x -t":            {Sender: text("joe@x"), FromHeader: true},
		"-t -fjoe":               {Sender: text("joe"), FromHeader: true},
		"-bm a@x":                {Recipients: []string{"a@x"}},
		"-bs":                    {Mode: Session},
		"-bp":                    {Mode: List},
		"-v -bp":                 {Mode: List},
		"-bi":                    {Mode: Nothing},
		"-I":                     {Mode: Nothing},
		"-bh":                    {Mode: Nothing},
		"-q30m":                  {Mode: Nothing},
		"-C /etc/p.toml -bp":     {Mode: List, Where: "/etc/p.toml"},
		"--config /etc/p.toml":   {Where: "/etc/p.toml"},
		"--config=/etc/p.toml":   {Where: "/etc/p.toml"},
		"-N success,delay a@x":   {Notify: mail.NotifySuccess | mail.NotifyDelay, Recipients: []string{"a@x"}},
		"-NNEVER a@x":            {Notify: mail.NotifyNever, Recipients: []string{"a@x"}},
		"-R hdrs -V id7 a@x":     {Return: mail.ReturnHeaders, EnvelopeID: "id7", Recipients: []string{"a@x"}},
		"-R 5000 a@x":            {Recipients: []string{"a@x"}},
		"-B8BITMIME -B 7BIT a@x": {Recipients: []string{"a@x"}},
		"-Am -G -n -U -v -m -x -c -hfoo -Llabel -OQueueDirectory=/tmp -pESMTP:h -eq a@x": {Recipients: []string{"a@x"}},
	} {
		c, err := ParseCommand(strings.Fields(line))
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if len(c.Recipients) == 0 {
			c.Recipients = nil
		}
		if diff := cmp.Diff(&want, c); diff != "" {
			t.Errorf("%q: %s", line, diff)
		}
	}
}

func TestMalformedOptionsOfReportsAreIgnored(t *testing.T) {
	for _, args := range [][]string{{"-N", "sometimes", "a@x"}, {"-V", "a\x07b", "a@x"}, {"-V", strings.Repeat("v", 101), "a@x"}} {
		c, err := ParseCommand(args)
		if err != nil || len(c.Warnings) != 1 || c.Notify != 0 || c.EnvelopeID != "" {
			t.Errorf("%q: %+v, %v", args, c, err)
		}
	}
}

// TestInjection: what somebody else chose and a program passed on can become
// neither an option nor a line.
func TestInjection(t *testing.T) {
	for _, args := range [][]string{
		{"a@x.example", "-Xfile"},
		{"a@x.example", "-OQueueDirectory=/tmp"},
		{"--", "-Xfile"},
		{"--", "-t"},
		{"-X/var/www/shell.php", "a@x.example"},
		{"-f", "joe@x.example\nRCPT TO:<eve@x.example>", "a@x.example"},
		{"-f", "joe@x.example\r\nBcc: eve@x.example", "a@x.example"},
		{"-F", "Joe\nBcc: eve@x.example", "a@x.example"},
		{"-F", "Joe\x00", "a@x.example"},
		{"-F", "Joe\x1b]0;x", "a@x.example"},
		{"-F", "Joe\u0085Bcc: eve@x.example", "a@x.example"},
		{"-F", "Jo\xff", "a@x.example"},
		{"a@x.example\nbcc: b@x.example"},
		{"a@x.example\r"},
		{"-f"},
		{"-b"},
		{"-b", "", "a@x"},
		{"-q"},
		{"-qf"},
		{"-q", ""},
		{"-bd"},
		{"-bD"},
		{"-bv", "a@x"},
		{"-Z"},
		{"-é"},
		{"--verbose"},
		{"--config"},
		{"-B", "BINARY", "a@x"},
		{"-t", "-bs"},
		{"-bp", "a@x"},
	} {
		_, err := ParseCommand(args)
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != Usage {
			t.Errorf("%q: %v", args, err)
		}
	}
}
