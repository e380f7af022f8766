package submit

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseAddresses(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                          nil,
		" \t\r\n ":                                  nil,
		"joe@example.com":                           {"joe@example.com"},
		"<joe@example.com>":                         {"joe@example.com"},
		"root":                                      {"root"},
		"root (Cron Daemon)":                        {"root"},
		"(a (nested\\) one) c) root":                {"root"},
		"Joe <joe@example.com>":                     {"joe@example.com"},
		"Joe Q. Public <joe@x.example>":             {"joe@x.example"},
		"joe@old.example <joe@new.example>":         {"joe@new.example"},
		`"Joe, the <boss>; (x" <joe@x.example>`:     {"joe@x.example"},
		`"joe \"x\" y"@x.example`:                   {`"joe \"x\" y"@x.example`},
		"a@x.example, ,b@x.example,":                {"a@x.example", "b@x.example"},
		"a@x.example; b@x.example":                  {"a@x.example", "b@x.example"},
		"undisclosed-recipients:;":                  nil,
		"recipient list not shown: ;":               nil,
		"Team: a@x.example, Bo <b@x.example>;, c@x": {"a@x.example", "b@x.example", "c@x"},
		"<@relay.example,@two.example:joe@x>":       {"joe@x"},
		"joe @ x . example":                         {"joe@x.example"},
		"joe@\r\n\tx.example,\r\n ann@x.example":    {"joe@x.example", "ann@x.example"},
		"joe@[192.0.2.1]":                           {"joe@[192.0.2.1]"},
		"Jörg <jörg@bücher.example>":                {"jörg@bücher.example"},
		"J\xf6rg <joe@x.example>":                   {"joe@x.example"}, // Latin-1 in a name
		"\"fol\r\n ded\" <joe@x.example>":           {"joe@x.example"},
		"a.b.c@x":                                   {"a.b.c@x"},
		"-Xfile":                                    {"-Xfile"}, // refused later
	} {
		list, err := parseAddresses(text, 10)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		var got []string
		for _, m := range list {
			got = append(got, m.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestParseAddressesRefuses(t *testing.T) {
	for text, want := range map[string]error{
		"Joe Public":                           errWords,
		"joe ann@x.example":                    errWords,
		"a@x.example b@x.example":              errWords,
		"Joe <a@x.example> <b@x.example>":      errAfter,
		"Joe <a@x.example> junk":               errAfter,
		"<>":                                   errEmpty,
		"Joe <":                                errAngle,
		"a@x.example>":                         errAngle,
		"<a<b@x>>":                             errAngle,
		"a@b@c":                                errSpec,
		"@x.example":                           errSpec,
		"a@":                                   errSpec,
		"[192.0.2.1]":                          errSpec,
		"<a,b@x>":                              errSpec,
		`"a@x.example`:                         errQuote,
		"a@[192.0.2.1":                         errLiteral,
		"(a@x.example":                         errComment,
		strings.Repeat("(", 21):                errNesting,
		"a: b: c@x;":                           errGroup,
		"<a:b@x>":                              errGroup,
		"<@a:@b:c@x>":                          errGroup,
		"a\x00@x.example":                      errControl,
		"a\x1b[1m@x.example":                   errControl,
		`a\@x.example`:                         errNoParse,
		"a)@x.example":                         errNoParse,
		strings.Repeat("a@x.example,", 11):     errMany,
		"g:" + strings.Repeat("a@x, ", 11):     errMany,
		strings.Repeat("<a@x.example>,", 1000): errMany,
	} {
		if list, err := parseAddresses(text, 10); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, %v; want %v", text, list, err, want)
		}
	}
}

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
		list, err := parseAddresses(text, 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%q: %v, %v", text, list, err)
		}
		a, err := list[0].address("gate.example")
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
		list, err := parseAddresses(s, 100)
		if err != nil {
			return
		}
		if len(list) > 100 {
			t.Fatalf("%d addresses", len(list))
		}
		last := 0
		for _, m := range list {
			if m.end <= last && m.end != 0 || m.end > len(s) {
				t.Fatalf("%q: an address ends at %d, after one at %d", s, m.end, last)
			}
			last = m.end
			a, err := m.address("gate.example")
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
