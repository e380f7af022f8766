package message

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseMailboxes(t *testing.T) {
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
		list, err := ParseMailboxes(text, 10)
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

func TestMailboxPhrase(t *testing.T) {
	list, err := ParseMailboxes(`joe@x, "A, B" <a@x>, G: =?utf-8?q?C?= (c) <c@x>, <d@x>;, E. <@r:e@x>`, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		got = append(got, strings.TrimSpace(m.Phrase))
	}
	if want := []string{"", `"A, B"`, "=?utf-8?q?C?= (c)", "", "E."}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseMailboxesRefuses(t *testing.T) {
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
		strings.Repeat("a@x.example,", 11):     ErrManyMailboxes,
		"g:" + strings.Repeat("a@x, ", 11):     ErrManyMailboxes,
		strings.Repeat("<a@x.example>,", 1000): ErrManyMailboxes,
	} {
		if list, err := ParseMailboxes(text, 10); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, %v; want %v", text, list, err, want)
		}
	}
}
