package policy

import (
	"reflect"
	"testing"

	"postern/internal/mail"
)

// TestRefusedCommandChangesNothing: what a rule has done before EHLO or AUTH was
// refused, by itself or by a later layer, does not last; what it was before does.
func TestRefusedCommandChangesNothing(t *testing.T) {
	e := compileAll(t, relayHead+
		handler("h", "helo", `"allow_relay", { tag = "h" }, { reject = "550 5.7.1 Not by that name" }`, `when = 'smtp.helo.domain == "bad"'`)+
		handler("h2", "helo", `"allow_relay", { tag = "h2" }`, "priority = 1", `when = 'smtp.helo.domain == "good"'`)+
		handler("a", "auth", `"allow_relay", { tag = "a" }, "reject"`, `when = 'authentication.subject.id == "bad"'`)+
		handler("m", "rcpt", `"accept"`))
	relays := func(s *talk) bool {
		s.mail("x@example.com")
		d, _ := s.rcpt("joe@example.net")
		return d.Verdict == Accept
	}
	s := begin(t, e, "198.51.100.1")
	s.connect()
	s.helo("plain")
	if d := s.helo("bad"); d.Verdict != Reject {
		t.Fatalf("EHLO: %v", d)
	}
	if d := s.auth("bad"); d.Verdict != Reject {
		t.Fatalf("AUTH: %v", d)
	}
	if relays(s) || len(s.tags()) != 0 || s.called() != "plain" || s.user != "" {
		t.Errorf("behind refusals it may relay, or has tags %q, the name %q or the user %q", s.tags(), s.called(), s.user)
	}
	s.helo("good")
	s.helo("bad")
	if !relays(s) || len(s.tags()) != 1 || s.called() != "good" {
		t.Errorf("behind a refusal it has lost what it was: tags %q, name %q", s.tags(), s.called())
	}
	if s.helo("plain"); relays(s) {
		t.Error("behind another EHLO it may still relay")
	}
}

// called is the name of the client.
func (s *talk) called() string { return s.Session.helo() }

// TestRecipientsAtData: there are those of the message, and not those that were refused
// elsewhere.
func TestRecipientsAtData(t *testing.T) {
	e := compile(t, handler("h", "data", `{ add_header = "X-To: ${smtp.rcpt.recipients}" }`))
	s := begin(t, e, "192.0.2.66")
	s.mail("joe@example.com")
	s.rcpt("ann@example.org")
	s.rcpt("nobody@mail.postern.net")
	s.to = s.to[:1]
	d := s.data(content(sample))
	if got := d.Recipients[0].Treatment.Edits[0].Value; got != "ann@example.org" {
		t.Errorf("recipients are %q", got)
	}
}

// TestContentIsLookedAtOnce: however often loops ask for it, which no bound of costs
// counts; and anew with the next message.
func TestContentIsLookedAtOnce(t *testing.T) {
	e := compile(t, handler("h", "data", `{ tag = "seen" }`,
		`when = 'message.types.all(t, message.types.all(u, size(content.body) > 0 && header("X-Many") == "one" && "joe@example.com" in message.from))'`))
	s := begin(t, e, "192.0.2.66")
	for range 2 {
		s.mail("joe@example.com")
		s.rcpt("ann@example.org")
		s.rcpt("bob@example.org")
		m := content(sample)
		if d := s.data(m); len(d.Recipients) != 2 || len(d.Recipients[1].Treatment.Tags) != 1 {
			t.Fatalf("%+v", d)
		}
		if m.inspected != 1 || m.bodies != 1 {
			t.Errorf("it was inspected %d times, and its body read %d times", m.inspected, m.bodies)
		}
		one, _ := s.value("message.header")
		two, _ := s.value("message.header")
		if reflect.ValueOf(one).Pointer() != reflect.ValueOf(two).Pointer() {
			t.Error("its header is decoded at each look")
		}
	}
}

// TestFailureAtConnect: the connection ends by it, which is told with 421 (RFC 5321 3.8).
func TestFailureAtConnect(t *testing.T) {
	e := compile(t, handler("h", "connect", `"accept"`, `when = '1 / (client.port - 4711) == 1'`))
	want := mail.Reply{Code: 421, Enhanced: errEngine.Enhanced, Text: errEngine.Text}
	if d := begin(t, e, "192.0.2.66").connect(); d.Verdict != Defer || d.Reply != want {
		t.Errorf("%v", d)
	}
}
