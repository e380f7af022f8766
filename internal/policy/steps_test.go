package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/message"
)

// stepSamples has each step once as TOML, with what its trail says and what it does
// to the treatment of ann@example.org.
var stepSamples = map[string]struct {
	toml, effect string
	treated      func(Treatment) bool
}{
	"accept":           {`"accept"`, "accept", nil},
	"reject":           {`{ reject = "No" }`, "No", nil},
	"defer":            {`{ defer = "Later" }`, "Later", nil},
	"discard":          {`"discard"`, "discard", func(t Treatment) bool { return t.Discard }},
	"hold":             {`{ hold = "of ${client.address}" }`, "held (policy) of 192.0.2.66", func(t Treatment) bool { return t.Hold == mail.HoldPolicy && t.Note == "of 192.0.2.66" }},
	"quarantine":       {`"quarantine"`, "held (quarantine)", func(t Treatment) bool { return t.Hold == mail.HoldQuarantine }},
	"redirect":         {`{ redirect = "all@example.com" }`, "goes to <all@example.com> instead", func(t Treatment) bool { return t.Address.String() == "all@example.com" }},
	"add_recipient":    {`{ add_recipient = "bob@example.com" }`, "goes to <bob@example.com> as well", func(t Treatment) bool { return len(t.Added) == 1 && t.Added[0].Local == "bob" }},
	"remove_recipient": {`{ remove_recipient = ["ann@*"] }`, "of these recipients, removes some", func(t Treatment) bool { return t.Discard }},
	"rewrite_sender":   {`{ rewrite_sender = "*@new.example" }`, "the sender is <joe@new.example>", func(t Treatment) bool { return t.Sender != nil && t.Sender.String() == "joe@new.example" }},
	"rewrite_from": {`{ rewrite_from = "new@example.com" }`, "the author is <new@example.com>", func(t Treatment) bool {
		return slices.Equal(t.Edits, []message.Edit{{Op: message.ReplaceFrom, Name: "X-Original-From", Value: "new@example.com"}})
	}},
	"rewrite_recipient": {`{ rewrite_recipient = "x-*@new.example" }`, "", func(t Treatment) bool { return t.Address.String() == "x-ann@new.example" }},
	"add_header": {`{ add_header = "X-A: ${listener.name} b" }`, "adds X-A: smtp b", func(t Treatment) bool {
		return slices.Equal(t.Edits, []message.Edit{{Op: message.AddField, Name: "X-A", Value: "smtp b"}})
	}},
	"remove_header": {`{ remove_header = ["X-A", "X-B"] }`, "removes X-A, X-B", func(t Treatment) bool {
		return len(t.Edits) == 2 && t.Edits[1] == message.Edit{Op: message.RemoveFields, Name: "X-B"}
	}},
	"replace_header": {`{ replace_header = "X-A:b" }`, "replaces X-A: b", func(t Treatment) bool { return len(t.Edits) == 1 && t.Edits[0].Op == message.ReplaceField }},
	"set":            {`{ set = "my.value", to = "a$$b" }`, `my.value is "a$b"`, nil},
	"class":          {`{ class = "bulk" }`, "is of the class bulk", func(t Treatment) bool { return t.Class != nil && *t.Class == mail.Bulk }},
	"tag":            {`{ tag = ["a", "b", "a"] }`, "tagged a, b, a", func(t Treatment) bool { return slices.Equal(t.Tags, []string{"a", "b"}) }},
	"route_via":      {`{ route_via = "Relay.example.com" }`, "goes by relay.example.com:25", func(t Treatment) bool { return t.Route == "relay.example.com:25" }},
	"require_tls":    {`{ require_tls = "verify" }`, "leaves by TLS only: verify", func(t Treatment) bool { return t.TLS == mail.TLSVerified }},
	"limit":          {`{ limit = "5/1h", per = ["client.address", "listener.name"] }`, "1 for 192.0.2.66 smtp; at most 5/1h", nil},
	"limit_account":  {`"limit_account"`, "no limit", nil},
	"copy_to":        {`{ copy_to = ["a@example.com", "b@example.com"] }`, "a copy goes to <a@example.com>, <b@example.com>", func(t Treatment) bool { return len(t.Copies) == 2 }},
	"log":            {`{ log = "from ${client.address}" }`, `logs "from 192.0.2.66"`, nil},
	"allow_relay":    {`"allow_relay"`, "may relay", nil},
	"authenticate":   {`{ authenticate = "company" }`, "verified by company", nil},
	"greeting":       {`{ greeting = "Hi ${smtp.helo.domain}" }`, `smtp.helo.greeting is "Hi client.example"`, nil},
}

// TestEveryStepAtEveryCommand takes each step at each command: where the table gives
// it a meaning it does what it is for, and its effect reaches the recipient's treatment
// from there on; elsewhere it is refused, naming where it can stand.
func TestEveryStepAtEveryCommand(t *testing.T) {
	for _, k := range kinds() {
		sample, has := stepSamples[k.name]
		if !has {
			t.Errorf("%s has no sample", k.name)
			continue
		}
		for _, at := range config.Commands {
			t.Run(k.name+" at "+string(at), func(t *testing.T) {
				e, problems := Compile(options(load(t, head+handler("rule", string(at), sample.toml))))
				if len(k.at) > 0 && !slices.Contains(k.at, at) {
					if len(problems) != 1 || !strings.Contains(problems[0].String(), k.name+" has no meaning at "+string(at)+" (it can stand at ") {
						t.Errorf("%v, want that it has no meaning", problems)
					}
					return
				}
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				checkStep(t, e, k.name, at)
			})
		}
	}
}

func checkStep(t *testing.T, e *Engine, name string, at config.Command) {
	t.Helper()
	want := stepSamples[name]
	s := begin(t, e, "192.0.2.66")
	d := s.at(at)
	trail := d.Trail
	var treated Treatment
	switch {
	case d.Verdict != Accept:
	case at == config.AtData:
		end := s.Data(t.Context(), s.to, content(sample))
		trail, treated = end.Recipients[0].Trail, end.Recipients[0].Treatment
	case at == config.AtRcpt:
		treated = s.to[0].Treatment
	default:
		if at != config.AtMail {
			s.mail("joe@example.com")
		}
		s.rcpt("ann@example.org")
		treated = s.to[0].Treatment
	}
	if len(trail) == 0 || trail[0].Rule != "rule" || trail[0].Place != "f:12" || trail[0].Step != name || !strings.Contains(trail[0].Effect, want.effect) {
		t.Errorf("the trail is %+v, want %q", trail, want.effect)
	}
	if want.treated != nil && (name != "rewrite_sender" || at != config.AtConnect) && !want.treated(treated) {
		t.Errorf("the treatment is %+v", treated)
	}
	if name == "greeting" && d.Greeting != "Hi client.example" {
		t.Errorf("the greeting is %q", d.Greeting)
	}
}

// TestReplies are the replies by which each command is refused, by default and with
// codes of their own.
func TestReplies(t *testing.T) {
	for _, c := range []struct{ at, step, want string }{
		{"connect", `"reject"`, "554 5.7.1 Refused by policy"},
		{"helo", `"reject"`, "550 5.7.1 Refused by policy"},
		{"auth", `"reject"`, "535 5.7.8 Refused by policy"},
		{"mail", `"reject"`, "550 5.7.1 Sender refused by policy"},
		{"rcpt", `"reject"`, "550 5.7.1 Recipient refused by policy"},
		{"data", `"reject"`, "554 5.7.1 Message refused by policy"},
		{"connect", `"defer"`, "421 4.7.1 Not now by policy, please try again later"},
		{"auth", `"defer"`, "454 4.7.0 Not now by policy, please try again later"},
		{"mail", `"defer"`, "450 4.7.1 Not now by policy, please try again later"},
		{"data", `"defer"`, "451 4.7.1 Not now by policy, please try again later"},
		{"mail", `{ reject = "No" }`, "550 5.7.1 No"},
		{"mail", `{ reject = "553 No" }`, "553 5.7.1 No"},
		{"mail", `{ reject = "553 5.1.8 ${smtp.mail.from}, $$5" }`, "553 5.1.8 joe@example.com, $5"},
		{"mail", `{ reject = "550" }`, "550 5.7.1 Sender refused by policy"},
		{"mail", `{ defer = "452 4.3.1 Full" }`, "452 4.3.1 Full"},
		{"mail", `{ reject = "5500 is a number" }`, "550 5.7.1 5500 is a number"},
		{"mail", `{ reject = "one\ntwo" }`, "550 5.7.1 one two"},
		{"rcpt", `{ reject = "` + strings.Repeat("x", 500) + `" }`, "550 5.7.1 " + strings.Repeat("x", 400)},
		{"data", `{ reject = "${message.subject}" }`, "554 5.7.1 Gr??e"},
	} {
		d := begin(t, compile(t, handler("rule", c.at, c.step)), "192.0.2.66").at(config.Command(c.at))
		if got := d.Reply.String(); got != c.want || d.Verdict == Accept {
			t.Errorf("%s at %s: %v %q, want %q", c.step, c.at, d.Verdict, got, c.want)
		}
	}
	for ending, want := range map[string]string{"accept": "no reply", "reject": "550 5.7.1 Sender refused by policy", "defer": "450 4.7.1 Not now by policy, please try again later"} {
		d := begin(t, compile(t, handler("rule", "mail", `{ tag = "x" }`, fmt.Sprintf("default = %q", ending))), "192.0.2.66").at(config.AtMail)
		if d.Reply.String() != want || d.Trail[1] != (mail.Decided{Rule: "rule", Place: "f:12", Step: "default", Effect: ending}) {
			t.Errorf("default %s: %v, %v", ending, d.Reply, d.Trail)
		}
	}
}

// TestControlCharacters: what a client sends cannot break a reply or a field.
func TestControlCharacters(t *testing.T) {
	e := compile(t, handler("field", "helo", `{ add_header = "X-Helo: ${smtp.helo.domain}" }`)+handler("reply", "mail", `{ reject = "No ${smtp.helo.domain}" }`))
	s := begin(t, e, "192.0.2.66")
	s.helo("a\r\nb\x00ü")
	if d := s.mail("joe@example.com"); d.Reply.Text != "No a  b ?" {
		t.Errorf("the reply is %q", d.Reply.Text)
	}
	if edit := s.lasting[1].treatment.Edits[0]; edit.Value != "a  b ü" {
		t.Errorf("the field is %q", edit.Value)
	}
}

// TestScopes: an effect of connect, helo and auth holds for the session, one of mail
// for the transaction, one of rcpt for the recipient, one of data for those recipients
// that have the handler.
func TestScopes(t *testing.T) {
	e := compile(t, handler("connect", "connect", `{ tag = "connect" }`)+handler("helo", "helo", `{ tag = "helo" }`)+handler("auth", "auth", `{ tag = "auth" }`)+
		handler("mail", "mail", `{ tag = "mail" }`, `sender = ["joe@*"]`)+handler("rcpt", "rcpt", `{ tag = "rcpt" }`, `recipient = ["ann@*"]`)+
		handler("data", "data", `{ tag = "data" }`, `recipient = ["bob@*"]`))
	s := begin(t, e, "192.0.2.66")
	s.connect()
	s.helo("a")
	s.helo("b") // takes the place of the first
	s.auth("joe")
	check := func(from string, want ...string) {
		t.Helper()
		s.mail(from)
		for _, to := range []string{"ann@example.org", "bob@example.org", "cid@example.org"} {
			s.rcpt(to)
		}
		for i, a := range s.data(content(sample)).Recipients {
			if got := strings.Join(a.Treatment.Tags, " "); got != want[i] {
				t.Errorf("from %s, recipient %d has the tags %q, want %q", from, i, got, want[i])
			}
		}
	}
	check("joe@example.com", "connect helo auth mail rcpt", "connect helo auth mail data", "connect helo auth mail")
	check("ann@example.com", "connect helo auth rcpt", "connect helo auth data", "connect helo auth")
	s.Reset()
	check("joe@example.com", "connect helo auth mail rcpt", "connect helo auth mail data", "connect helo auth mail")
}

// TestOverlay is what wins when two commands say different things.
func TestOverlay(t *testing.T) {
	e := compile(t, handler("connect", "connect", `{ redirect = "a@example.com" }, "quarantine", { route_via = "one:25" }, { add_header = "X: 1" }`)+
		handler("rcpt", "rcpt", `{ redirect = "b@example.com" }, { hold = "why" }, { route_via = "two:25" }, { add_header = "X: 2" }`, `recipient = ["ann@*"]`))
	s := begin(t, e, "192.0.2.66")
	s.connect()
	s.mail("joe@example.com")
	_, ann := s.rcpt("ann@example.org")
	_, bob := s.rcpt("bob@example.org")
	if ann.Address.Local != "b" || ann.Hold != mail.HoldQuarantine || ann.Route != "two:25" || len(ann.Edits) != 2 || ann.Edits[1].Value != "2" {
		t.Errorf("ann: %+v", ann)
	}
	if bob.Address.Local != "a" || bob.Hold != mail.HoldQuarantine || bob.Route != "one:25" || len(bob.Edits) != 1 {
		t.Errorf("bob: %+v", bob)
	}
}

// TestEachCommandIsNew: what EHLO, MAIL or RCPT did before is over when it comes again.
func TestEachCommandIsNew(t *testing.T) {
	e := compile(t, handler("helo", "helo", `{ add_header = "X-Helo: ${smtp.helo.domain}" }`)+
		handler("ann", "rcpt", `{ reject = "${smtp.rcpt.recipients.size()}" }`, `when = 'smtp.rcpt.to.startsWith("ann")'`)+
		handler("user", "auth", `"reject"`, `when = 'authentication.subject.id == "eve"'`)+
		handler("mail", "mail", `{ log = "${authentication.subject.id}" }`))
	s := begin(t, e, "192.0.2.66")
	s.helo("one")
	s.helo("two")
	s.auth("joe")
	s.auth("eve")
	for range 2 {
		if d := s.mail("joe@example.com"); d.Trail[0].Effect != `logs "joe"` {
			t.Errorf("after a refused AUTH: %v", d.Trail)
		}
		_, bob := s.rcpt("bob@example.org")
		if len(bob.Edits) != 1 || bob.Edits[0].Value != "two" {
			t.Errorf("after two EHLO: %+v", bob.Edits)
		}
		if d, _ := s.rcpt("ann@example.org"); d.Reply.Text != "1" {
			t.Errorf("ann: %v", d.Reply)
		}
		if d, _ := s.rcpt("cid@example.org"); d.Verdict != Accept {
			t.Errorf("cid: %v", d.Reply)
		}
	}
}

func TestTemplates(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "$$": "$", "a$$${client.address}$$b": "a$192.0.2.66$b", `${{"a": "b"}["a"]}!`: "b!", `${"}" + '}'}`: "}}", `${"\"}"}`: `"}`,
		"${client.port + 1}": "4712", "${client.trusted}": "false", "${[1, 2].map(i, string(i))}": "1, 2", "${now}": "2024-02-05T09:00:00Z", "${1.5}": "1.5",
	} {
		x, err := newExpressions(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		form, wrong := x.template(config.AtMail, text, true)
		if len(wrong) > 0 {
			t.Errorf("%s: %v", text, wrong)
			continue
		}
		s := begin(t, compile(t, handler("rule", "mail", `"accept"`)), "192.0.2.66")
		if got, err := form.render(s.Session); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", text, got, err, want)
		}
	}
}
