package submit

import (
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/message"
)

func TestMailboxAddress(t *testing.T) {
	for text, want := range map[string]string{
		"root":                                 "root@gate.example",
		"a@x.example":                          "a@x.example",
		`"a b"`:                                `"a b"@gate.example`,
		"-Xfile":                               "",
		"-f@x.example":                         "",
		`"-f"@x`:                               "",
		`"\-f"@x`:                              "",
		"a..b@x":                               "",
		"a@x..y":                               "",
		`"a` + "\\\n" + `b"@x`:                 "",
		`"a` + "\x01" + `"@x`:                  "",
		strings.Repeat("a", 65) + "@x.example": "",
	} {
		list, err := message.ParseMailboxes(text, 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%q: %v, %v", text, list, err)
		}
		a, err := address(list[0], "gate.example")
		if got := a.String(); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// FuzzAddresses: whatever a header says, what comes of it can be written into
// a command of SMTP, is no option, and completes the header where it stands.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{
		"a@x.example, Bo <b@y.example>", "G: a, b;", `"q\"x"@y (c(d))`, "<@r:a@b>", "root (Cron)", "a@[IPv6:::1]", "-x", "a;b", "\"\r\n \"@x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := message.ParseMailboxes(s, 100)
		if err != nil {
			return
		}
		if len(list) > 100 {
			t.Fatalf("%d addresses", len(list))
		}
		last := 0
		for _, m := range list {
			if m.LocalEnd <= last && m.LocalEnd != 0 || m.LocalEnd > len(s) {
				t.Fatalf("%q: an address ends at %d, after one at %d", s, m.LocalEnd, last)
			}
			last = m.LocalEnd
			a, err := address(m, "gate.example")
			if err != nil {
				continue
			}
			path := a.Path()
			if strings.ContainsAny(path, "\r\n\x00") || !utf8.ValidString(path) || strings.HasPrefix(a.Local, "-") {
				t.Errorf("%q became %q", s, path)
			}
		}
	})
}
