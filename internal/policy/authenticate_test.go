package policy

import (
	"strings"
	"testing"

	"postern/internal/mail"
)

// The source is that of the handler that is chosen for the name and the mechanism;
// nothing of a handler is done by it, and its other steps are taken once he is verified.
func TestSource(t *testing.T) {
	e := compile(t,
		handler("company", "auth", `{ authenticate = "company" }`, `when = 'authentication.subject.id.endsWith("@example.com")'`)+
			handler("devices", "auth", `{ authenticate = "directory" }, "reject"`, `when = 'authentication.mechanism == "LOGIN"'`, "priority = 1")+
			handler("rest", "auth", `{ tag = "x" }`))
	s := begin(t, e, "192.0.2.66")
	for _, c := range []struct{ user, mechanism, want string }{
		{"joe@example.com", "PLAIN", "company"},
		{"joe@example.com", "LOGIN", "directory"},
		{"joe", "PLAIN", ""},
	} {
		source, d := s.Source(t.Context(), c.user, c.mechanism)
		if source != c.want || d.Verdict != Accept || len(d.Trail) > 0 {
			t.Errorf("%s by %s: %q, %+v, want %q", c.user, c.mechanism, source, d, c.want)
		}
	}
	if s.user != "" || s.account.Mechanism != "" {
		t.Errorf("the client is %q before he is verified", s.user)
	}
	d := s.Auth(t.Context(), mail.Principal{Account: mail.Account{Name: "joe@example.com", Mechanism: "LOGIN"}})
	if d.Verdict != Reject || d.Trail[0].Effect != "verified by directory" {
		t.Errorf("once he is verified: %+v", d)
	}
}

// A condition that fails keeps everybody out for now.
func TestSourceUnknown(t *testing.T) {
	e := compile(t, handler("rule", "auth", `{ authenticate = "directory" }`, `when = 'authentication.groups[5] == "x"'`))
	source, d := begin(t, e, "192.0.2.66").Source(t.Context(), "joe", "PLAIN")
	if source != "" || d.Verdict != Defer {
		t.Errorf("%q, %+v", source, d)
	}
}

func TestSourceThatThereIsNot(t *testing.T) {
	o := options(load(t, head+handler("rule", "auth", `{ authenticate = "compny" }`)))
	o.Sources = []string{"directory", "company"}
	_, problems := Compile(o)
	if len(problems) != 1 || !strings.Contains(problems[0].String(), `steps.authenticate: there is no source "compny" (did you mean company?)`) {
		t.Errorf("%v", problems)
	}
}
