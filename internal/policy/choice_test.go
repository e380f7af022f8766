package policy

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/mail"
)

// TestGatewayExamples are the examples that users of gateways know: *@gmail.com is
// accepted and *@yahoo.com refused at MAIL, S*@axway.* and d*@yahoo.* chosen by best
// match at RCPT.
func TestGatewayExamples(t *testing.T) {
	e := compile(t, handler("all senders", "mail", `"accept"`, `sender = ["*"]`)+
		handler("gmail", "mail", `"accept"`, `sender = ["*@gmail.com"]`)+
		handler("yahoo", "mail", `"reject"`, `sender = ["*@yahoo.com"]`)+
		handler("axway", "mail", `{ tag = "axway" }`, `sender = ["S*@axway.*"]`)+
		handler("all recipients", "rcpt", `"accept"`)+
		handler("to axway", "rcpt", `"accept"`, `recipient = ["*@axway.com"]`)+
		handler("to d at yahoo", "rcpt", `{ reject = "550 5.1.1 ${smtp.rcpt.to} is not here" }`, `recipient = ["d*@yahoo.*"]`))
	for _, c := range []struct{ from, rule, verdict string }{
		{"joe@gmail.com", "gmail", "accept"}, {"Joe@GMAIL.COM", "gmail", "accept"}, {"joe@gmail.com.example", "all senders", "accept"},
		{"joe@yahoo.com", "yahoo", "reject"}, {"sam@axway.com", "axway", "accept"}, {"SAM@AXWAY.de", "axway", "accept"},
		{"joe@axway.com", "all senders", "accept"}, {"<>", "all senders", "accept"}, {`"x@yahoo.com"@example.org`, "all senders", "accept"},
	} {
		s := begin(t, e, "192.0.2.66")
		d := s.mail(c.from)
		if rules := rulesOf(d.Trail); len(rules) != 1 || rules[0] != c.rule || d.Verdict.String() != c.verdict {
			t.Errorf("MAIL %s: %v by %v, want %s by %s", c.from, d.Verdict, rules, c.verdict, c.rule)
		}
	}
	if d := begin(t, e, "192.0.2.66").mail("joe@yahoo.com"); d.Reply.Code != 550 || d.Reply.Enhanced != "5.7.1" {
		t.Errorf("the default reply is %v", d.Reply)
	}
	s := begin(t, e, "192.0.2.66")
	s.mail("joe@gmail.com")
	for _, c := range []struct{ to, rule, reply string }{
		{"dan@yahoo.com", "to d at yahoo", "550 5.1.1 dan@yahoo.com is not here"}, {"Dan@Yahoo.co.uk", "to d at yahoo", "550 5.1.1 Dan@Yahoo.co.uk is not here"},
		{"ann@yahoo.com", "all recipients", "no reply"}, {"dan@axway.com", "to axway", "no reply"},
	} {
		d, _ := s.rcpt(c.to)
		if rules := rulesOf(d.Trail); len(rules) != 1 || rules[0] != c.rule || d.Reply.String() != c.reply {
			t.Errorf("RCPT %s: %v by %v, want %s by %s", c.to, d.Reply, rules, c.reply, c.rule)
		}
	}
}

// TestChoice has the rules of choice, one difference a row: the first handler is
// chosen for mail from joe@example.com to ann@example.org, and the second is not.
func TestChoice(t *testing.T) {
	const joe, ann = "joe@example.com", "ann@example.org"
	for name, c := range map[string][2]string{
		"exact":               {`recipient = ["ann@example.org"]`, `recipient = ["*ann@example.org"]`},
		"more characters":     {`recipient = ["*@example.org"]`, `recipient = ["ann@*"]`},
		"fewer stars":         {`recipient = ["*n@example.org"]`, `recipient = ["*n@*example.org"]`},
		"two stars are one":   {`recipient = ["an*@example.org"]`, `recipient = ["**@example.org"]`},
		"recipient first":     {`recipient = ["*@example.org"]`, `sender = ["joe@example.com"]`},
		"then sender":         {"recipient = [\"*@example.org\"]\nsender = [\"joe@*\"]", `recipient = ["*@example.org"]`},
		"a condition":         {`when = 'message.size == 1000'`, ``},
		"a true condition":    {``, `when = 'message.size == 1001'`},
		"the true one of two": {"priority = 1\nwhen = 'true'", "priority = 2\nwhen = 'message.size == 1001'"},
		"specific before it":  {`recipient = ["ann@example.org"]`, `when = 'true'`},
		"priority":            {`priority = 1`, `priority = 0`},
		"priority of two":     {"priority = -1\nwhen = 'true'", "priority = -2\nwhen = 'true'"},
		"condition before it": {`when = 'true'`, `priority = 9`},
		"the best of several": {`recipient = ["x@x.example", "ann@example.org", "*"]`, `recipient = ["*@example.org"]`},
		"without an at":       {`recipient = ["*.org"]`, `recipient = ["*"]`},
		"its listener":        {`listeners = ["smtp"]`, `listeners = ["inside"]`},
		"case":                {`recipient = ["ANN@Example.ORG"]`, `recipient = ["*"]`},
		"not the null sender": {`recipient = ["*"]`, `sender = ["<>"]`},
		"a domain within":     {`recipient = ["*@*example.org"]`, `recipient = ["*@*.example.org"]`},
	} {
		for _, swapped := range []bool{false, true} {
			first, second := handler("first", "rcpt", `"accept"`, c[0]), handler("second", "rcpt", `"accept"`, c[1])
			if swapped {
				first, second = second, first
			}
			s := begin(t, compile(t, first+second), "192.0.2.66")
			s.mail(joe)
			d, _ := s.rcpt(ann)
			if rules := rulesOf(d.Trail); len(rules) != 1 || rules[0] != "first" {
				t.Errorf("%s, swapped %v: chosen is %v", name, swapped, rules)
			}
		}
	}
}

func TestNullSenderPattern(t *testing.T) {
	e := compile(t, handler("null", "mail", `"accept"`, `sender = ["<>"]`)+handler("with domain", "mail", `"accept"`, `sender = ["*@*"]`))
	for from, want := range map[string]string{"<>": "null", "joe@example.com": "with domain"} {
		if rules := rulesOf(begin(t, e, "192.0.2.66").mail(from).Trail); len(rules) != 1 || rules[0] != want {
			t.Errorf("%s is decided by %v, want %s", from, rules, want)
		}
	}
}

// TestTies: rows that are alike in all that decides are refused, and those that can
// be told apart are not.
func TestTies(t *testing.T) {
	for _, c := range []struct {
		first, second string
		want          string // in the message; empty for no tie
	}{
		{``, ``, "both are for everybody"},
		{`when = 'true'`, `when = 'message.size > 1'`, "both have a condition"},
		{`when = 'true'`, ``, ""},
		{`priority = 1`, ``, ""},
		{`recipient = ["*@a.example"]`, `recipient = ["*@b.example"]`, ""},
		{`recipient = ["*@gmail.*"]`, `recipient = ["*@yahoo.*"]`, ""},
		{`recipient = ["a*@example.org"]`, `recipient = ["*b@example.org"]`, `recipient "*b@example.org" and recipient "a*@example.org" can match the same mail`},
		{`recipient = ["a*@example.org"]`, `recipient = ["b*@example.org"]`, ""},
		{`recipient = ["a@example.org"]`, `recipient = ["A@Example.org"]`, "can match the same mail"},
		{`recipient = ["a@example.org"]`, `recipient = ["b@example.org"]`, ""},
		{`recipient = ["ann@bücher.example"]`, `recipient = ["ann@xn--bcher-kva.example"]`, "can match the same mail"},
		{`recipient = ['"ann"@example.org']`, `recipient = ["ann@example.org"]`, "can match the same mail"},
		{`recipient = ["x@a.example", "*@c.example"]`, `recipient = ["y@a.example", "*@c.example"]`, "can match the same mail"},
		{"recipient = [\"*@c.example\"]\nsender = [\"*@a.example\"]", "recipient = [\"*@c.example\"]\nsender = [\"*@b.example\"]", ""},
		{"recipient = [\"*@c.example\"]\nsender = [\"*@a.*\"]", "recipient = [\"*@c.example\"]\nsender = [\"*@*.a\"]", `recipient "*@c.example" with sender`},
		{`listeners = ["smtp"]`, `listeners = ["inside"]`, ""},
		{`listeners = ["smtp", "sendmail"]`, `listeners = ["inside", "sendmail"]`, "both are for everybody"},
		{`listeners = ["smtp"]`, ``, "both are for everybody"},
	} {
		text := head + handler("one", "rcpt", `"accept"`, c.first) + handler("two", "rcpt", `"accept"`, c.second)
		_, problems := Compile(options(load(t, text)))
		switch {
		case c.want == "" && len(problems) > 0:
			t.Errorf("%s and %s: %v", c.first, c.second, problems)
		case c.want == "":
		case len(problems) != 1 || !strings.Contains(problems[0].Message, c.want) || !strings.Contains(problems[0].Message, `"two" is a tie with "one" at f:12:3: `):
			t.Errorf("%s and %s: %v, want %s", c.first, c.second, problems, c.want)
		}
	}
	_, problems := Compile(options(load(t, head+handler("one", "rcpt", `"accept"`)+handler("two", "data", `"accept"`))))
	if len(problems) > 0 {
		t.Errorf("at two commands: %v", problems)
	}
}

// TestTooManyPatterns: what would take too long to compare is refused; what is just
// within the bound is not, and costs no more than reading it.
func TestTooManyPatterns(t *testing.T) {
	list := func(n int, of string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "\"%s%d@example.org\", ", of, i)
		}
		return "[" + b.String() + "]"
	}
	var within string
	for i := range 5 {
		within += handler(fmt.Sprint(i), "rcpt", `"accept"`, "recipient = "+list(1000, fmt.Sprintf("h%d-", i)))
	}
	for text, want := range map[string]string{
		within: "",
		within + handler("5", "rcpt", `"accept"`, "recipient = "+list(1, "x")):                         "there are too many patterns at rcpt",
		handler("pairs", "rcpt", `"accept"`, "recipient = "+list(1000, "x"), "sender = "+list(6, "y")): "sender and recipient make too many pairs",
	} {
		_, problems := Compile(options(load(t, head+text)))
		if want == "" && len(problems) > 0 || want != "" && (len(problems) == 0 || problems[0].Message != want) {
			t.Errorf("%v, want %q", problems, want)
		}
	}
}

// TestPatterns: what patterns match, and what they cannot be confused by.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, address string
		want             bool
	}{
		{"*@example.com", `"a@b"@example.com`, true}, {"*@b", `"a@b"@example.com`, false}, {"*@example.com", "joe@sub.example.com", false},
		{"*@*.example.com", "joe@sub.example.com", true}, {"*@*.example.com", "joe@example.com", false}, {"*", "<>", true}, {"<>", "joe@example.com", false},
		{"postmaster", "postmaster", true}, {"Postmaster", "PostMaster", true}, {"*@*", "postmaster", false}, {"*@[192.0.2.1]", "joe@[192.0.2.1]", true},
		{"*@bücher.example", "joe@xn--bcher-kva.example", true}, {"*@XN--BCHER-KVA.example", "joe@BÜCHER.example", true}, {"*@*.bücher.example", "joe@a.xn--bcher-kva.example", true},
		{`"joe"@example.com`, "joe@example.com", true}, {`"a b"@example.com`, `"a b"@example.com`, true}, {"jörg@*", "JÖRG@example.com", true},
		{"*.com", "joe@example.com", true}, {"joe*", "joe@example.com", true}, {"a*a@x", "a@x", false},
	} {
		p, wrong := readPattern(c.pattern)
		if wrong != nil {
			t.Errorf("%q: %v", c.pattern, wrong)
			continue
		}
		subject := subjectOf(address(t, c.address))
		if got := p.match(&subject); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.address, got)
		}
	}
}

// FuzzPatterns: what matches two patterns makes them meet, and every address that is
// a pattern matches itself alone.
func FuzzPatterns(f *testing.F) {
	f.Add("*@example.com", "j*@*", "joe@example.com")
	f.Add(`"a@b"@x`, "*@x", `"a@b"@x`)
	f.Add("*@*.bücher.example", "*.example", "a@x.xn--bcher-kva.example")
	f.Fuzz(func(t *testing.T, a, b, text string) {
		address, err := mail.ParseAddress(text)
		if err != nil {
			return
		}
		subject := subjectOf(address)
		p, wrong := readPattern(a)
		q, alsoWrong := readPattern(b)
		if wrong == nil && alsoWrong == nil {
			if p.match(&subject) && q.match(&subject) && !(p.meets(&q) && q.meets(&p)) {
				t.Errorf("%q and %q both match %q, but do not meet", a, b, text)
			}
			if p.compare(&q) != -q.compare(&p) {
				t.Errorf("%q and %q: each is more specific", a, b)
			}
		}
		if strings.Contains(text, "*") {
			return
		}
		if own, wrong := readPattern(text); wrong == nil && !own.match(&subject) {
			t.Errorf("%q does not match itself", text)
		}
	})
}
