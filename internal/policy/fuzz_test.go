package policy

import (
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/config"
	"postern/internal/mail"
)

// FuzzCondition: any text is a condition or is refused, with places within it; one that
// is a condition ends with true, false or an error, whatever it asks for.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{
		`smtp.mail.from == "a" && message.size > 3`, `message.types.all(t, t.startsWith("text/"))`, `header("X") != ""`, `listed("partners", client.address)`,
		`message.subject.matches("^(a+)+$")`, `[1,2,3].map(x, [x, x].map(y, y + x)).size() > 2`, `in_network(client.address, "10.0.0.0/8")`, "a ? b : c", `"é" in tags`,
		`now - timestamp("2024-01-01T00:00:00Z") > duration("1h")`, `content.body.contains("a" + "b")`, `{"a": 1}["b"] == 1`, `message.header.exists(k, k == "x")`, "'''",
		`smtp.rcpt.recipients.map(r, domain(r)).exists(d, d == lower("X"))`, `has(message.header.subject)`, `dyn(1) == "a"`, `1/0 == 1`,
	} {
		f.Add(s)
	}
	x, err := newExpressions(testLists{}, map[string]bool{"my.value": true})
	if err != nil {
		f.Fatal(err)
	}
	engine := compile(f, handler("rule", "data", `"accept"`))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			return
		}
		for _, at := range []config.Command{config.AtConnect, config.AtData} {
			condition, wrong := x.compile(at, text, true)
			if (condition == nil) != (len(wrong) > 0) {
				t.Fatalf("%q: %v, %v", text, condition, wrong)
			}
			for _, m := range wrong {
				if m.offset < 0 || m.offset > len(text) || m.message == "" {
					t.Fatalf("%q: %+v", text, m)
				}
			}
			if condition == nil || at != config.AtData || condition.kind.String() != "bool" {
				continue
			}
			s := &talk{t: t, Session: engine.Begin(origin("192.0.2.66"))}
			s.at(config.AtMail)
			s.message = content(sample)
			_, details, err := condition.program.Eval((*values)(s.Session))
			if cost := details.ActualCost(); err == nil && cost != nil && *cost > maxCost {
				t.Fatalf("%q costs %d", text, *cost)
			}
		}
	})
}

// FuzzTemplate: any text is a template or is refused; what a template makes has only
// characters that can be printed, but for those that the administrator wrote.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "$", "$$", "${smtp.helo.domain}", "a ${smtp.helo.domain", "${'}'}", `${{"a": "b"}["a"]}`, "${tags}", "$${x}", "${smtp.helo.domain + \"}\"}", "${now} ${message.source}"} {
		f.Add(s, "client\r\nX: y")
	}
	x, err := newExpressions(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	engine := compile(f, handler("rule", "mail", `"accept"`))
	f.Fuzz(func(t *testing.T, text, hello string) {
		if len(text) > 2000 || len(hello) > 2000 || !utf8.ValidString(hello) {
			return
		}
		form, wrong := x.template(config.AtMail, text, true)
		if (form == nil) != (len(wrong) > 0) {
			t.Fatalf("%q: %v, %v", text, form, wrong)
		}
		for _, m := range wrong {
			if m.offset < 0 || m.offset > len(text) {
				t.Fatalf("%q: %+v", text, m)
			}
		}
		if form == nil {
			return
		}
		s := &talk{t: t, Session: engine.Begin(origin("192.0.2.66"))}
		s.helo(hello)
		made, err := form.render(s.Session)
		if err == nil && strings.Count(made, "\n") > strings.Count(text, "\n")+strings.Count(text, `\`) {
			t.Fatalf("%q makes %q", text, made)
		}
		if plain, is := form.constant(); is && plain != strings.ReplaceAll(text, "$$", "$") {
			t.Fatalf("%q is the constant %q", text, plain)
		}
	})
}

// FuzzSession: whatever addresses a client names, the relay lets nothing through that
// is neither local nor from a trusted client, and nothing panics.
func FuzzSession(f *testing.F) {
	f.Add("joe@example.com", "ann@mail.postern.net", "198.51.100.1")
	f.Add("<>", `"a@b"@mail.postern.net`, "192.0.2.66")
	engine := compileAll(f, relayHead+handler("h", "rcpt", `"accept"`, `recipient = ["*@*"]`)+handler("g", "mail", `{ tag = "x" }`, `sender = ["*@*.example"]`))
	f.Fuzz(func(t *testing.T, from, to, client string) {
		a, err := mail.ParseAddress(to)
		if err != nil || a.Domain == "" {
			return
		}
		sender, _ := mail.ParseAddress(from)
		trusted := client == "192.0.2.66"
		if !trusted {
			client = "198.51.100.1"
		}
		s := begin(t, engine, client)
		s.Mail(t.Context(), sender, 0)
		d, _ := s.Rcpt(t.Context(), mail.Recipient{Address: a})
		if local := mail.SameDomain(a.Domain, "mail.postern.net"); (d.Verdict == Accept) != (local || trusted) {
			t.Errorf("%s from %s: %v", to, client, d)
		}
	})
}

// constant returns the text of a template without expressions.
func (t *template) constant() (string, bool) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.expression != nil {
			return "", false
		}
		b.WriteString(p.text)
	}
	return b.String(), true
}
