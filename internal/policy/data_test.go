package policy

import (
	"errors"
	"slices"
	"testing"
)

// deliver goes to the end of a message for some recipients.
func deliver(t *testing.T, e *Engine, m Message, to ...string) Disposition {
	t.Helper()
	s := begin(t, e, "192.0.2.66")
	s.connect()
	s.helo("client.example")
	s.mail("joe@example.com")
	for _, r := range to {
		if d, _ := s.rcpt(r); d.Verdict != Accept {
			t.Fatalf("RCPT %s: %v", r, d.Reply)
		}
	}
	return s.data(m)
}

// TestGroups: a handler at data runs once for its recipients, and each gets its own.
func TestGroups(t *testing.T) {
	e := compile(t, handler("org", "data", `{ limit = "1/1h", per = "client.address" }, { add_header = "X-Org: yes" }`, `recipient = ["*@example.org"]`)+
		handler("net", "data", `"discard"`, `recipient = ["*@example.net"]`))
	d := deliver(t, e, content(sample), "ann@example.org", "bob@example.net", "cid@example.org", "dan@example.com")
	if d.Verdict != Accept || len(d.Recipients) != 4 {
		t.Fatalf("%+v", d)
	}
	for i, want := range []struct {
		edits   int
		discard bool
		rules   []string
	}{{1, false, []string{"org"}}, {0, true, []string{"net"}}, {1, false, []string{"org"}}, {0, false, nil}} {
		a := d.Recipients[i]
		if len(a.Treatment.Edits) != want.edits || a.Treatment.Discard != want.discard || !slices.Equal(rulesOf(a.Trail), want.rules) {
			t.Errorf("recipient %d: %+v", i, a)
		}
	}
}

// TestWholeMessage: a refusal at data is that of the message, whoever it is for.
func TestWholeMessage(t *testing.T) {
	e := compile(t, handler("one", "data", `{ add_header = "X: y" }`, `recipient = ["ann@*"]`)+handler("two", "data", `{ defer = "Later" }`, `recipient = ["bob@*"]`))
	if d := deliver(t, e, content(sample), "ann@example.org", "bob@example.net"); d.Verdict != Defer || d.Reply.String() != "451 4.7.1 Later" || d.Recipients != nil || rulesOf(d.Trail)[0] != "two" {
		t.Errorf("%+v", d)
	}
	if d := deliver(t, e, content(sample), "ann@example.org"); d.Verdict != Accept {
		t.Errorf("without bob: %+v", d)
	}
}

// TestDiscardIsFinal: nothing more is asked about mail that is dropped.
func TestDiscardIsFinal(t *testing.T) {
	refuse := handler("refuse at data", "data", `"reject"`) + handler("refuse at rcpt", "rcpt", `"reject"`, `recipient = ["ann@*"]`, "when = 'true'", "priority = -1")
	for _, at := range []string{"connect", "mail", "rcpt"} {
		pattern := ""
		if at == "rcpt" {
			pattern = "recipient = [\"ann@*\"]\nwhen = 'true'"
		}
		d := deliver(t, compile(t, handler("drop", at, `"discard"`, pattern)+refuse), content(sample), "ann@example.org")
		if d.Verdict != Accept || !d.Recipients[0].Treatment.Discard {
			t.Errorf("dropped at %s: %+v", at, d)
		}
	}
	e := compile(t, handler("drop", "rcpt", `"discard"`, `recipient = ["ann@*"]`, "when = 'true'")+refuse)
	if d := deliver(t, e, content(sample), "ann@example.org", "bob@example.org"); d.Verdict != Reject {
		t.Errorf("with one who is not dropped: %+v", d)
	}
}

// TestDiscardEndsTheLayers: a later layer is not asked about what is dropped.
func TestDiscardEndsTheLayers(t *testing.T) {
	e := compile(t, handler("drop", "mail", `"discard"`, "priority = 1")+handler("refuse", "mail", `"reject"`))
	rules := e.listeners["smtp"]
	both := rules.at["mail"][0].candidates
	rules.at["mail"] = []layerRules{{handlers, both[:1]}, {filters, both[1:]}}
	if d := begin(t, e, "192.0.2.66").mail("joe@example.com"); d.Verdict != Accept || len(d.Trail) != 1 {
		t.Errorf("%+v", d)
	}
}

// TestDataTwice: nothing of one message is taken for another's.
func TestDataTwice(t *testing.T) {
	s := begin(t, compile(t, handler("rule", "data", `{ log = "${message.subject}" }`, `when = 'message.subject != "none"'`)), "192.0.2.66")
	s.at("rcpt")
	for subject, want := range map[string]int{"none": 0, "one": 2, "two": 2} {
		d := s.data(content("Subject: " + subject + "\n\n"))
		if trail := d.Recipients[0].Trail; len(trail) != want || want > 0 && trail[0].Effect != `logs "`+subject+`"` {
			t.Errorf("%s: %v", subject, trail)
		}
	}
}

// TestInspectedOnce: a message is looked through when a condition asks, and once.
func TestInspectedOnce(t *testing.T) {
	m := content(sample)
	deliver(t, compile(t, handler("size", "data", `"accept"`, `when = 'message.size > 5'`)), m, "ann@example.org")
	if m.inspected != 0 {
		t.Errorf("for its size it was looked through %d times", m.inspected)
	}
	e := compile(t, handler("subject", "data", `{ add_header = "X: ${message.subject}" }`, `when = 'message.subject == "Grüße" && "bill.pdf" in message.attachments'`))
	if d := deliver(t, e, m, "ann@example.org", "bob@example.org"); len(d.Recipients[1].Treatment.Edits) != 1 || m.inspected != 1 {
		t.Errorf("%+v; it was looked through %d times", d, m.inspected)
	}
}

// TestFailure: what cannot be worked out defers the message, and the trail says so.
func TestFailure(t *testing.T) {
	broken := content(sample)
	broken.err = errors.New("the disk is gone")
	for name, c := range map[string]struct {
		text string
		m    Message
	}{
		"condition":     {handler("rule", "data", `"accept"`, `when = 'message.subject == ""'`), broken},
		"text":          {handler("rule", "data", `{ add_header = "X: ${message.subject}" }`), broken},
		"body":          {handler("rule", "data", `"accept"`, `when = 'content.body.contains("x")'`), broken},
		"no such field": {handler("rule", "data", `"accept"`, `when = 'message.header["x-none"][0] == ""'`), content(sample)},
		"division":      {handler("rule", "data", `"accept"`, `when = '1 / (message.size - message.size) == 1'`), content(sample)},
		"too much":      {handler("rule", "data", `"accept"`, `when = 'smtp.rcpt.recipients.all(a, smtp.rcpt.recipients.all(b, (content.body.matches("(a|b)*Q(a|b)*") || content.body.matches("(a|b)*V(a|b)*") || content.body.matches("(a|b)*W(a|b)*")) == false))'`), content(sample + longText())},
		"count":         {handler("rule", "data", `{ limit = "1/1h", per = "listener.name", count = "message.size / (message.size - message.size)" }`), content(sample)},
	} {
		d := deliver(t, compile(t, c.text), c.m, "ann@example.org", "bob@example.org", "cid@example.org")
		if d.Verdict != Defer || d.Reply.String() != "451 4.7.1 Policy cannot decide now, please try again later" || len(d.Trail) != 1 || d.Trail[0].Rule != "rule" {
			t.Errorf("%s: %v %v", name, d.Verdict, d.Trail)
		}
	}
}

// longText is more than conditions look at.
func longText() string {
	line := make([]byte, 0, maxBody*2)
	for len(line) < maxBody*2 {
		line = append(line, "ababababababababababababab\n"...)
	}
	return string(line)
}

// TestNobodyPays: a listener or a command that no rule is for allocates nothing and
// looks at nothing.
func TestNobodyPays(t *testing.T) {
	none, one := compile(t, ""), compile(t, handler("mail", "mail", `"accept"`))
	if s := none.Begin(origin("192.0.2.66")); s != nil {
		t.Fatal("a listener without rules has a session")
	}
	without, with := &talk{t: t, Session: none.Begin(origin("192.0.2.66"))}, &talk{t: t, Session: one.Begin(origin("192.0.2.66"))}
	with.mail("joe@example.com")
	ann := recipient(t, "ann@example.org")
	to, m := []Addressee{{Recipient: ann}}, content(sample)
	for name, run := range map[string]func(s *talk){
		"connect": func(s *talk) { s.Connect(t.Context()) },
		"helo":    func(s *talk) { s.Helo(t.Context(), origin("192.0.2.66")) },
		"auth":    func(s *talk) { s.Auth(t.Context(), accountOf("joe")) },
	} {
		a, b := testing.AllocsPerRun(100, func() { run(without) }), testing.AllocsPerRun(100, func() { run(with) })
		if a != 0 || b != 0 {
			t.Errorf("%s allocates %v times without rules, %v with those of another command", name, a, b)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		without.Mail(t.Context(), ann.Address, 1)
		without.Rcpt(t.Context(), ann)
		without.Data(t.Context(), to, m)
		without.Reset()
	}); n != 0 {
		t.Errorf("a transaction without rules allocates %v times", n)
	}
	if m.inspected != 0 {
		t.Error("the message was looked at")
	}
}
