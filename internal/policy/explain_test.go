package policy

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/config"
)

// explainedRules have each reason for which a handler is chosen or not.
var explainedRules = relayHead + `near = ["near.example"]
reject_clients = ["198.51.100.0/24"]

[[listener]]
name = "inside"
address = "127.0.0.1:2526"
` + handler("axway", "mail", `{ tag = "axway" }`, `sender = ["S*@axway.*"]`) +
	handler("gmail", "mail", `"accept"`, `sender = ["*@gmail.com"]`) +
	handler("large", "mail", `{ defer = "Too large" }`, `when = 'message.size > 5000 && smtp.mail.from != ""'`) +
	handler("all", "mail", `{ limit = "1/1h", per = "client.address" }, { log = "mail" }`) +
	handler("first", "mail", `"accept"`, `priority = 1`) +
	handler("others", "mail", `"reject"`, "listeners = [\"inside\"]\npriority = 2") +
	handler("yahoo", "rcpt", `{ reject = "No ${smtp.rcpt.to}" }`, `recipient = ["d*@yahoo.*"]`) +
	handler("to all", "rcpt", `"accept"`) +
	handler("content", "data", `"accept"`, `when = 'message.subject == "Gr\u00fc\u00dfe"'`)

// TestExplain: for each handler why it was chosen or not, with conditions and the
// values in them.
func TestExplain(t *testing.T) {
	e := compileAll(t, explainedRules)
	var b strings.Builder
	for _, c := range []struct{ client, from, to string }{
		{"192.0.2.66", "Sam@axway.com", "dan@yahoo.com"},
		{"192.0.2.66", "joe@example.com", "ann@example.org"},
		{"203.0.113.1", "joe@gmail.com", "ann@near.example"},
		{"198.51.100.1", "joe@gmail.com", "ann@near.example"},
	} {
		session, x := e.Explain(origin(c.client))
		s := &talk{t: t, Session: session}
		fmt.Fprintf(&b, "# %s, %s to %s\n", c.client, c.from, c.to)
		ends := converse(s, x, c.from, c.to)
		for _, n := range append(x.Considered, x.Unreached()...) {
			chosen := "-"
			if n.Chosen {
				chosen = "*"
			}
			fmt.Fprintf(&b, "%s %s %s: %s (%s): %s\n", chosen, n.At, n.Layer, n.Rule, n.Place, n.Why)
			if n.Condition != "" {
				fmt.Fprintf(&b, "    %s with %v\n", n.Condition, n.Values)
			}
			for _, step := range n.Steps {
				fmt.Fprintf(&b, "    %s: %s\n", step.Step, step.Effect)
			}
			if n.Verdict != "" {
				fmt.Fprintf(&b, "    comes to %s\n", n.Verdict)
			}
		}
		fmt.Fprintf(&b, "= %s\n\n", ends)
	}
	compareWith(t, "testdata/explain.txt", b.String())
}

// converse goes on until something is refused, and returns the last decision. Of
// each command that is over it tells an Explanation, if there is one.
func converse(s *talk, x *Explanation, from, to string) string {
	var d Decision
	for _, c := range []struct {
		at  config.Command
		say func() Decision
	}{
		{config.AtConnect, s.connect},
		{config.AtHelo, func() Decision { return s.helo("client.example") }},
		{config.AtMail, func() Decision { return s.mail(from) }},
		{config.AtRcpt, func() Decision { d, _ := s.rcpt(to); return d }},
		{config.AtData, func() Decision { return s.data(content(sample)).Decision }},
	} {
		d = c.say()
		if x != nil {
			x.Command(c.at)
		}
		if d.Verdict != Accept {
			break
		}
	}
	return d.Verdict.String() + " " + d.Reply.String()
}

// TestExplainIsTheSameWalk: an explained session decides as another one does, counts
// nothing, and does not log.
func TestExplainIsTheSameWalk(t *testing.T) {
	limited := compile(t, handler("limited", "mail", `{ limit = "1/1h", per = "client.address" }`))
	for range 3 {
		session, x := limited.Explain(origin("192.0.2.66"))
		if got := converse(&talk{t: t, Session: session}, x, "joe@axway.com", "ann@example.org"); got != "accept no reply" {
			t.Errorf("explained: %s", got)
		}
	}
	e := compileAll(t, explainedRules)
	for _, from := range []string{"Sam@axway.com", "joe@gmail.com", "joe@example.com"} {
		for _, to := range []string{"dan@yahoo.com", "ann@near.example", "ann@example.org"} {
			for _, client := range []string{"192.0.2.66", "203.0.113.1", "198.51.100.1"} {
				session, x := e.Explain(origin(client))
				explained := converse(&talk{t: t, Session: session}, x, from, to)
				if plain := converse(begin(t, e, client), nil, from, to); plain != explained {
					t.Errorf("%s to %s by %s: %s, explained %s", from, to, client, plain, explained)
				}
			}
		}
	}
}

// TestEveryRuleIsExplained: no rule is left out, wherever a session ends.
func TestEveryRuleIsExplained(t *testing.T) {
	e := compileAll(t, explainedRules)
	for _, client := range []string{"192.0.2.66", "203.0.113.1"} { // the relay refuses the second
		session, x := e.Explain(origin(client))
		s := &talk{t: t, Session: session}
		for _, at := range config.Commands {
			told := map[string]bool{}
			for _, n := range append(x.Considered, x.Unreached()...) {
				told[n.Rule] = true
			}
			if len(told) != len(e.rules) {
				t.Errorf("before %s %d of %d rules are told of", at, len(told), len(e.rules))
			}
			s.at(at)
			for _, done := range config.Commands[:rank(at)+1] {
				x.Command(done)
			}
		}
	}
}

// TestExplainManyPatterns: a rule is told of once, by what was decisive.
func TestExplainManyPatterns(t *testing.T) {
	e := compile(t, handler("many", "mail", `"accept"`, `sender = ["*@a.example", "*@b.example", "joe@*"]`)+
		handler("false", "mail", `"reject"`, "sender = [\"*@c.example\", \"ann@*\", \"*@d.example\"]\nwhen = 'client.port == 1'"))
	for from, want := range map[string][2]string{
		"x@b.example":   {`like sender "*@b.example"`, "like none of its patterns"},
		"joe@a.example": {`like sender "*@a.example"`, "like none of its patterns"},
		"ann@d.example": {"like none of its patterns", "its condition is false"},
		"ann@a.example": {`like sender "*@a.example"`, `less specific than "many"`},
		"x@x.example":   {"like none of its patterns", "like none of its patterns"},
	} {
		session, x := e.Explain(origin("192.0.2.66"))
		session.Mail(t.Context(), address(t, from), 0)
		got := map[string]string{}
		list := x.Command(config.AtMail)
		for _, n := range list {
			got[n.Rule] = n.Why
		}
		if len(list) != 2 || got["many"] != want[0] || got["false"] != want[1] {
			t.Errorf("%s: %d are told of, %v, want %q", from, len(list), got, want)
		}
	}
}
