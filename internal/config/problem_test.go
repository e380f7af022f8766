package config

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

func TestSortProblems(t *testing.T) {
	at := func(file string, line, column int) Problem {
		return Problem{Place: mail.Place{File: file, Line: line, Column: column}, Message: "x"}
	}
	problems := []Problem{at("a", 1, 1), at("z", 2, 1), at("z", 1, 9), at("z", 1, 2), {Message: "nowhere"}}
	SortProblems(problems, []string{"z", "a"})
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	if diff := cmp.Diff([]string{"nowhere", "z:1:2: x", "z:1:9: x", "z:2:1: x", "a:1:1: x"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestProblemOf: a problem that is found later knows where its setting stands.
func TestProblemOf(t *testing.T) {
	c := load(t, minimal+"max_size = \"1MiB\"\n")
	l := &c.Listeners[0]
	for want, p := range map[string]Problem{
		"postern.toml:2:1: hostname: what (hint)":                                c.Problem("hostname", "what", "hint"),
		"dns.servers: file does not exist":                                       c.Wrong("dns.servers", fs.ErrNotExist),
		"postern.toml:8:1: listener.max_size: listener smtp: what (hint)":        l.Problem("listener.max_size", "what", "hint"),
		"postern.toml:6:3: listener.tls_key: listener smtp: file does not exist": l.Wrong("listener.tls_key", fs.ErrNotExist),
	} {
		if got := p.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if p.Hint == "" && !errors.Is(p, fs.ErrNotExist) {
			t.Errorf("%q has lost its cause", p)
		}
	}
}

// TestProblemsOfTables: what a table says of its settings begins with what the table is called,
// where it is called something, whichever way it is said.
func TestProblemsOfTables(t *testing.T) {
	for want, p := range map[string]interface {
		Problem(key, message, hint string) Problem
		Wrong(key string, err error) Problem
	}{
		"listener a: ":    &Listener{Name: "a"},
		"list a: ":        &List{Name: "a"},
		"block list a: ":  &BlockList{Zone: "a"},
		"ldap a: ":        &LDAP{Name: "a"},
		"oidc a: ":        &OIDC{Name: "a"},
		"http_auth a: ":   &HTTPAuth{Name: "a"},
		"certificate a: ": &Certificate{Name: "a"},
		"":                &Transport{Name: "a"},
	} {
		if got := p.Problem("key", "what", "").Message; got != want+"what" {
			t.Errorf("Problem: %q, want %q", got, want+"what")
		}
		if got := p.Wrong("key", fs.ErrNotExist); got.Message != want+fs.ErrNotExist.Error() || !errors.Is(got, fs.ErrNotExist) {
			t.Errorf("Wrong: %q (%v), want %q", got.Message, got.Cause, want+fs.ErrNotExist.Error())
		}
	}
}
