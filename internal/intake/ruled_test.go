package intake

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/smtp"
)

// by is a decision of a rule.
func by(rule string, reply mail.Reply) policy.Decision {
	d := policy.Decision{Reply: reply, Trail: []mail.Decided{{Rule: rule, Effect: "done"}}}
	switch {
	case reply.Permanent():
		d.Verdict = policy.Reject
	case reply.Temporary():
		d.Verdict = policy.Defer
	}
	return d
}

// joe is an account.
var joe = mail.Principal{Account: mail.Account{Name: "joe", Source: "directory", Mechanism: "PLAIN"}}

// TestTrails: every fact says what led to it: what was decided about the session
// and the message, and about that recipient, and nothing about others. What was
// decided about an earlier message is not told again.
func TestTrails(t *testing.T) {
	d := newDoor(t, Options{})
	ok := mail.Reply{}
	r := &ruling{
		say: map[string]policy.Decision{
			"connect": by("C", ok), "helo": by("H", ok), "auth": by("U", ok), "mail": by("M", ok), "data": by("D", ok), "a@x.example": by("A", ok), "b@x.example": by("B", ok),
		},
		treat: map[string]policy.Treatment{
			"a@x.example": {Hold: mail.HoldPolicy}, "b@x.example": {Discard: true}, "c@x.example": {Copies: []mail.Address{address(t, "z@z.example")}},
		},
	}
	s := d.under(r)
	send := func(to ...string) {
		s.Mail(t.Context(), smtp.Mail{})
		for _, a := range to {
			s.Rcpt(t.Context(), rcpt(t, a))
		}
		if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
			t.Fatal(reply)
		}
	}
	s.Begin(t.Context())
	s.Hello(t.Context(), s.origin)
	s.Auth(t.Context(), joe)
	send("a@x.example", "b@x.example", "c@x.example")
	first := len(d.facts())
	send("c@x.example")
	var got []string
	for _, f := range d.facts() {
		steps := string(f.Reason) + " " + strings.Join(f.To, " ") + ":"
		for _, step := range f.Trail {
			steps += " " + step.Rule
		}
		got = append(got, steps)
	}
	if diff := cmp.Diff([]string{
		"accepted a@x.example c@x.example b@x.example: C H U M D A", "held a@x.example: C H U M D A",
		"accepted z@z.example: C H U M D", "discarded b@x.example: C H U M D B",
	}, got[:first]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"accepted c@x.example: C H U M D", "accepted z@z.example: C H U M D"}, got[first:]); diff != "" {
		t.Errorf("the second message:\n%s", diff)
	}
	if r.resets != 2 {
		t.Errorf("policy heard of %d ends of transactions", r.resets)
	}
}

// TestRefusals: what policy refuses at each command is refused with its words,
// once with the trail, and nothing comes of it.
func TestRefusals(t *testing.T) {
	for _, reply := range []mail.Reply{mail.NewReply(550, "5.7.1", "Not you"), mail.NewReply(450, "4.7.1", "Not now")} {
		for _, at := range []string{"connect", "helo", "auth", "mail", "a@x.example", "data"} {
			d := newDoor(t, Options{})
			s := d.under(&ruling{say: map[string]policy.Decision{at: by(at, reply)}})
			for _, c := range []struct {
				name string
				ask  func() mail.Reply
				want mail.Reply
			}{
				{"connect", func() mail.Reply { return s.Begin(t.Context()) }, mail.Reply{}},
				{"helo", func() mail.Reply { return s.Hello(t.Context(), s.origin) }, mail.Reply{}},
				{"auth", func() mail.Reply { return s.Auth(t.Context(), joe) }, mail.Reply{}},
				{"mail", func() mail.Reply { return s.Mail(t.Context(), smtp.Mail{}) }, mail.Reply{}},
				{"a@x.example", func() mail.Reply { return s.Rcpt(t.Context(), rcpt(t, "a@x.example")) }, mail.Reply{}},
				{"data", func() mail.Reply { return s.Content(t.Context(), content(plainText)) }, mail.Reply{}},
			} {
				got := c.ask()
				if at != c.name {
					continue
				}
				if got != reply {
					t.Errorf("%s: %s, want %s", at, got, reply)
				}
				if trail := s.Trail(); len(trail) != 1 || trail[0].Rule != at {
					t.Errorf("%s: trail %v", at, trail)
				}
				if trail := s.Trail(); trail != nil {
					t.Errorf("%s: its trail is told twice: %v", at, trail)
				}
				break
			}
			d.wantNothing()
		}
	}
}

// TestRefusedRecipient: a recipient that policy refused gets nothing.
func TestRefusedRecipient(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.under(&ruling{say: map[string]policy.Decision{"a@x.example": by("A", mail.NewReply(550, "5.7.1", "no"))}})
	s.Mail(t.Context(), smtp.Mail{})
	s.Rcpt(t.Context(), rcpt(t, "a@x.example"))
	s.Rcpt(t.Context(), rcpt(t, "b@x.example"))
	s.Content(t.Context(), content(plainText))
	if diff := cmp.Diff([]string{"1 of 1 with 1: <> to b@x.example (x.example)"}, d.lines()); diff != "" {
		t.Error(diff)
	}
}

// TestNobodyIsRefusedWithNothing: a fault of a rule is an answer all the same.
func TestNobodyIsRefusedWithNothing(t *testing.T) {
	if got := replyOf(&policy.Decision{Verdict: policy.Reject}); got != mail.LocalError {
		t.Errorf("%s", got)
	}
}

// TestTrailOfARefusedCommand: EHLO that was refused is no part of what led to later mail;
// the one before it is.
func TestTrailOfARefusedCommand(t *testing.T) {
	d := newDoor(t, Options{})
	r := &ruling{say: map[string]policy.Decision{"helo": by("H", mail.Reply{})}}
	s := d.under(r)
	s.Hello(t.Context(), s.origin)
	r.say["helo"] = by("refused", mail.NewReply(550, "5.7.1", "no"))
	s.Hello(t.Context(), s.origin)
	s.Mail(t.Context(), smtp.Mail{})
	s.Rcpt(t.Context(), rcpt(t, "a@x.example"))
	s.Content(t.Context(), content(plainText))
	if diff := cmp.Diff([]string{"accepted 1: <> to a@x.example | H: done"}, d.factLines()); diff != "" {
		t.Error(diff)
	}
}

func TestGreeting(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.under(&ruling{say: map[string]policy.Decision{"helo": {Greeting: "Hello you"}}})
	if s.Hello(t.Context(), s.origin); s.Greeting() != "Hello you" {
		t.Errorf("%q", s.Greeting())
	}
	if plain := d.session(inside); plain.Greeting() != "" || plain.Trail() != nil || !plain.Begin(t.Context()).IsZero() || !plain.Auth(t.Context(), joe).IsZero() {
		t.Error("without policy there is a greeting, a trail, or a refusal")
	}
}

// TestPolicySeesWhatIsStored: with the fields that were added, without those
// that were dropped.
func TestPolicySeesWhatIsStored(t *testing.T) {
	d := newDoor(t, Options{DropFields: []string{"Bcc"}, AddMessageID: true})
	const text = "From: Joe <joe@sender.example>\r\nBcc: x@x.example\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n" +
		"Content-Type: text/plain; name=\"a.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\naGFsbG8g\r\nV2VsdA==\r\n"
	asked := false
	r := &ruling{data: func(to []policy.Addressee, m policy.Message) policy.Disposition {
		asked = true
		found, err := m.Inspect()
		if err != nil {
			t.Fatal(err)
		}
		if h := &found.Header; !h.Has("Received") || !h.Has("Message-ID") || h.Has("Bcc") {
			t.Errorf("the header is %q", h.AppendFields(nil))
		}
		if found.Subject() != "gr\u00fc\u00dfe" || strings.Join(found.Names(), " ") != "a.exe" {
			t.Errorf("found is %+v", found)
		}
		whole, err := m.Body(100)
		some, failed := m.Body(5)
		if whole != "hallo Welt" || some != "hallo" || err != nil || failed != nil {
			t.Errorf("the body is %q, %v, the begin of it %q, %v", whole, err, some, failed)
		}
		if m.Size() != d.store.drafts[0].Size() {
			t.Errorf("%d octets", m.Size())
		}
		return policy.Disposition{Recipients: to}
	}}
	if reply := d.sendUnder(r, text, "a@x.example"); reply.Code != 250 || !asked {
		t.Errorf("%s, asked %t", reply, asked)
	}
}

// TestBodies: that of parts is as it stands, of what is encoded wrongly there
// is what stands before the fault.
func TestBodies(t *testing.T) {
	for head, bodies := range map[string][2]string{
		"Content-Transfer-Encoding: Quoted-Printable ":                           {"a=20b=\r\nc", "a bc"},
		"Content-Transfer-Encoding: base64":                                      {"aGFsbG8g!!", "hallo "},
		"Content-Type: Multipart/mixed\r\nContent-Transfer-Encoding: base64":     {"aGFs", "aGFs"},
		"Content-Transfer-Encoding: 8bit":                                        {"aGFs", "aGFs"},
		"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: x-something": {"x", "x"},
	} {
		d := newDoor(t, Options{})
		draft, err := d.store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (message.Rewrite{}).Copy(draft, strings.NewReader(head+"\r\n\r\n"+bodies[0])); err != nil {
			t.Fatal(err)
		}
		got, err := inspected{draft}.Body(1000)
		if got = strings.TrimSuffix(got, "\r\n"); got != bodies[1] || err != nil {
			t.Errorf("%q: %q, %v, want %q", head, got, err, bodies[1])
		}
		draft.Discard()
		if _, err := (inspected{draft}).Body(1000); err == nil {
			t.Errorf("%q: what cannot be read has a body", head)
		}
	}
}

// TestInspections: no more messages are looked at than may be; who waits gets
// the first place that is free, or, when the time is over, is deferred.
func TestInspections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := NewInspections(1)
		began, end := make(chan string), make(chan struct{})
		look := func(name string, err error) func(context.Context) error {
			return func(ctx context.Context) error {
				if _, limited := ctx.Deadline(); !limited {
					t.Error("there is no end of the time")
				}
				began <- name
				<-end
				return err
			}
		}
		results := make(chan error, 3)
		start := func(name string, err error) {
			go func() { results <- x.run(t.Context(), time.Minute, look(name, err)) }()
		}
		failure := errors.New("seen")
		start("one", failure)
		<-began
		start("two", nil)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		select {
		case name := <-began:
			t.Fatalf("%s is looked at beside the first", name)
		default:
		}
		start("three", nil)
		time.Sleep(2 * time.Second)
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) || mail.ReplyOf(err).Code != 451 {
			t.Errorf("the second, which waited for a minute: %v", err)
		}
		end <- struct{}{}
		if err := <-results; err != failure {
			t.Errorf("the first: %v", err)
		}
		if name := <-began; name != "three" {
			t.Errorf("then %s has its turn", name)
		}
		end <- struct{}{}
		if err := <-results; err != nil {
			t.Errorf("the third: %v", err)
		}
	})
}

// TestBudgetCountsFromTheEndOfData: however slowly the content comes, policy has
// all of its time; and whoever has left by its end is not accepted.
func TestBudgetCountsFromTheEndOfData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Options{Budget: time.Minute})
		s := d.under(nil)
		for _, gone := range []bool{false, true} {
			s.ruled = &ruled{rules: &slowRuling{ruling: new(ruling), t: t}}
			s.Mail(t.Context(), smtp.Mail{})
			s.Rcpt(t.Context(), rcpt(t, "a@x.example"))
			reply := s.Content(t.Context(), arriving{Reader: slowly{strings.NewReader(plainText)}, gone: gone})
			if want := map[bool]int{false: 250, true: 421}[gone]; reply.Code != want {
				t.Errorf("gone %t: %s", gone, reply)
			}
		}
		if n := len(d.entries()); n != 1 {
			t.Errorf("%d entries", n)
		}
	})
}

// TestNothingIsStoredBehindTheBudget: what policy says too late is not done.
func TestNothingIsStoredBehindTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Options{Budget: 58 * time.Second})
		s := d.under(nil)
		s.ruled = &ruled{rules: &slowRuling{ruling: new(ruling), t: t}}
		s.Mail(t.Context(), smtp.Mail{})
		s.Rcpt(t.Context(), rcpt(t, "a@x.example"))
		if reply := s.Content(t.Context(), content(plainText)); reply.Code != 451 || reply.Enhanced != "4.3.2" {
			t.Errorf("%s", reply)
		}
		d.wantNothing()
	})
}

// slowly gives content an hour late.
type slowly struct{ src *strings.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(time.Hour)
	return s.src.Read(p)
}

// slowRuling takes nearly all of its time.
type slowRuling struct {
	*ruling
	t *testing.T
}

func (*slowRuling) AtData() bool { return true }

func (r *slowRuling) Data(ctx context.Context, to []policy.Addressee, m policy.Message) policy.Disposition {
	deadline, _ := ctx.Deadline()
	late := time.Until(deadline) < 59*time.Second
	time.Sleep(59 * time.Second)
	if !late && ctx.Err() != nil {
		r.t.Error("its time is over before it is")
	}
	return r.ruling.Data(ctx, to, m)
}

// TestLocalUnderPolicy: an address of this host that is nobody's is unknown,
// unless policy sends its mail elsewhere; whom a client may send to, policy says.
func TestLocalUnderPolicy(t *testing.T) {
	for _, c := range []struct {
		to        string
		treatment policy.Treatment
		code      int
		entries   []string
	}{
		{"nobody@gate.example", policy.Treatment{}, 550, nil},
		{"nobody@gate.example", policy.Treatment{Hold: mail.HoldPolicy}, 550, nil},
		{"nobody@gate.example", policy.Treatment{Discard: true}, 0, nil},
		{"nobody@gate.example", policy.Treatment{Route: "r.example:25"}, 0, []string{"1 of 1 with 1: <> to nobody@gate.example (gate.example/r.example:25)"}},
		{"nobody@gate.example", policy.Treatment{Address: address(t, "a@x.example")}, 0, []string{"1 of 1 with 1: <> to a@x.example (x.example was rfc822;nobody@gate.example)"}},
		{"a@x.example", policy.Treatment{Address: address(t, "nobody@gate.example"), Rewritten: true}, 550, nil},
		{"a@x.example", policy.Treatment{Address: address(t, "nobody@gate.example")}, 451, nil}, // a mistake of the administrator
		{"a@x.example", policy.Treatment{Address: address(t, "nobody@gate.example"), Rewritten: true, Route: "r.example:25"}, 0, []string{"1 of 1 with 1: <> to nobody@gate.example (gate.example/r.example:25 was rfc822;a@x.example)"}},
		{"a@x.example", policy.Treatment{Address: address(t, "nobody@gate.example"), Discard: true}, 0, nil},
		{"a@x.example", policy.Treatment{Address: address(t, "postmaster@gate.example")}, 0, []string{"1 of 1 with 1: <> to admin@example.com (example.com was rfc822;a@x.example)"}},
		{"postmaster@gate.example", policy.Treatment{}, 0, []string{"1 of 1 with 1: <> to admin@example.com (example.com was rfc822;postmaster@gate.example)"}},
		{"postmaster@gate.example", policy.Treatment{Hold: mail.HoldPolicy}, 0, []string{"1 of 1 with 1: <> to admin@example.com (example.com held policy  was rfc822;postmaster@gate.example)"}},
		{"a@elsewhere.example", policy.Treatment{}, 0, []string{"1 of 1 with 1: <> to a@elsewhere.example (elsewhere.example)"}},
	} {
		d := newDoor(t, Options{Policy: silent})
		s := d.session(outside)
		r := &ruling{treat: map[string]policy.Treatment{c.to: c.treatment}}
		s.ruled = &ruled{rules: r}
		s.Mail(t.Context(), smtp.Mail{})
		if reply := s.Rcpt(t.Context(), rcpt(t, c.to)); reply.Code != c.code {
			t.Errorf("%s with %+v: %s, want %d", c.to, c.treatment, reply, c.code)
		}
		if withdrawn := r.withdrawn == 1; withdrawn != (c.code != 0) {
			t.Errorf("%s with %+v: %s, and policy heard of it: %v", c.to, c.treatment, mail.Reply{Code: c.code}, withdrawn)
		}
		if c.code != 0 {
			continue
		}
		if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
			t.Errorf("%s with %+v: %s", c.to, c.treatment, reply)
		}
		if diff := cmp.Diff(c.entries, d.lines()); diff != "" {
			t.Errorf("%s with %+v:\n%s", c.to, c.treatment, diff)
		}
		if f := d.facts()[0]; len(f.To) != 1 {
			t.Errorf("%s with %+v: accepted to %q", c.to, c.treatment, f.To)
		}
	}
}

// TestPlainUnderPolicy: mail about which policy has nothing to do is stored as
// without it, and its fact has the trail.
func TestPlainUnderPolicy(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.under(&ruling{say: map[string]policy.Decision{"mail": by("M", mail.Reply{}), "a@x.example": by("A", mail.Reply{})}})
	s.in.Inspections = nil // it would fail
	s.Mail(t.Context(), smtp.Mail{})
	s.Rcpt(t.Context(), rcpt(t, "a@x.example"))
	s.Rcpt(t.Context(), rcpt(t, "a@x.example"))
	if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
		t.Fatal(reply)
	}
	want := []string{"accepted 1: <> to a@x.example | M: done | A: done"}
	if diff := cmp.Diff(want, d.factLines()); diff != "" {
		t.Error(diff)
	}
}
