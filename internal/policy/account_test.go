package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/limit"
	"postern/internal/mail"
)

// own is an account with addresses, and the services that it names.
func own(services string, addresses ...string) mail.Principal {
	p := accountOf("joe")
	p.Services = mail.Services{Submit: strings.Contains(services, "submit"), Relay: strings.Contains(services, "relay"), POP: strings.Contains(services, "pop")}
	p.Addresses = addresses
	return p
}

// TestAuthRelay is the table of auth and relay: what a client in trust, another, an
// account that may relay, and one that may not, may send to here, near and elsewhere,
// with what each is refused with.
func TestAuthRelay(t *testing.T) {
	const none = "530 530 530"
	for _, c := range []struct{ auth, relay, trusted, other, relays, submits string }{
		{"off", "nobody", "ok 550 550", "ok 550 550", "ok 550 550", "ok 550 550"},
		{"off", "clients", "ok ok ok", "ok 550 550", "ok 550 550", "ok 550 550"},
		{"off", "everybody", "ok ok ok", "ok ok ok", "ok ok ok", "ok ok ok"},
		{"optional", "nobody", "ok 550 550", "ok 550 550", "ok ok ok", "ok 550 550"},
		{"optional", "near", "ok ok 550", "ok ok 550", "ok ok ok", "ok ok 550"},
		{"optional", "clients", "ok ok ok", "ok 550 550", "ok ok ok", "ok 550 550"},
		{"optional", "both", "ok ok ok", "ok ok 550", "ok ok ok", "ok ok 550"},
		{"optional", "everybody", "ok ok ok", "ok ok ok", "ok ok ok", "ok 550 550"},
		{"relay", "nobody", "ok 550 550", "ok 550 550", "ok ok ok", "ok 550 550"},
		{"relay", "clients", "ok 550 550", "ok 550 550", "ok ok ok", "ok 550 550"},
		{"relay", "both", "ok ok 550", "ok ok 550", "ok ok ok", "ok ok 550"},
		{"relay_and_local", "clients", none, none, "ok ok ok", "ok 550 550"},
		{"relay_and_local", "both", none, none, "ok ok ok", "ok ok 550"},
		{"required", "clients", none, none, "ok ok ok", "ok 550 550"},
		{"required", "everybody", none, none, "ok ok ok", "ok 550 550"},
	} {
		e := compileAll(t, relayHead+fmt.Sprintf("relay = %q\nauth = %q\nnear = [\"near.example\"]\n", c.relay, c.auth))
		const trusted, other = "192.0.2.66", "198.51.100.1"
		for _, who := range []struct {
			client string
			is     mail.Principal
			want   string
		}{
			{trusted, mail.Principal{}, c.trusted}, {other, mail.Principal{}, c.other},
			{other, own("relay", "x@example.com"), c.relays}, {other, own("submit", "x@example.com"), c.submits},
			// Who has an account is judged by it, whatever his address is.
			{trusted, own("submit", "x@example.com"), map[bool]string{true: c.trusted, false: c.submits}[c.auth == "off"]},
		} {
			s := begin(t, e, who.client)
			if who.is.Name != "" {
				s.authAs(who.is)
			}
			var got []string
			for _, to := range []string{"ann@mail.postern.net", "ann@near.example", "ann@elsewhere.example"} {
				d := s.mail("x@example.com")
				if d.Verdict == Accept {
					d, _ = s.rcpt(to)
				}
				got = append(got, map[bool]string{true: "ok", false: fmt.Sprint(d.Reply.Code)}[d.Verdict == Accept])
				if d.Verdict != Accept && d.Reply.Enhanced != map[int]string{530: "5.7.0", 550: "5.7.1"}[d.Reply.Code] {
					t.Errorf("the reply is %v", d.Reply)
				}
			}
			if strings.Join(got, " ") != who.want {
				t.Errorf("auth %s, relay %s, client %s, account %+v: %v, want %s", c.auth, c.relay, who.client, who.is.Services, got, who.want)
			}
		}
	}
}

// TestAuthPostmaster: a postmaster of this host is reached without an account where
// mail for it needs one, and nowhere with required; allow_relay stands for an account
// at the former alone.
func TestAuthPostmaster(t *testing.T) {
	const allow = "[[handler]]\nname = \"h\"\nat = \"connect\"\nsteps = [\"allow_relay\"]\n"
	for _, c := range []struct{ auth, handler, to, want string }{
		{"relay_and_local", "", "PostMaster@mail.postern.net", "ok"},
		{"relay_and_local", "", "postmaster@elsewhere.example", "530"},
		{"relay_and_local", "", "xpostmaster@mail.postern.net", "530"},
		{"relay_and_local", allow, "ann@elsewhere.example", "ok"},
		{"required", "", "postmaster@mail.postern.net", "530"},
		{"required", allow, "ann@elsewhere.example", "530"},
	} {
		s := begin(t, compileAll(t, relayHead+fmt.Sprintf("auth = %q\n", c.auth)+c.handler), "198.51.100.1")
		s.connect()
		d := s.mail("<>")
		if d.Verdict == Accept {
			d, _ = s.rcpt(c.to)
		}
		got := "ok"
		if d.Verdict != Accept {
			got = fmt.Sprint(d.Reply.Code)
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestAuthServices: an account for mail that is fetched sends nothing.
func TestAuthServices(t *testing.T) {
	e := compileAll(t, relayHead+"auth = \"optional\"\n")
	s := begin(t, e, "192.0.2.66")
	s.authAs(own("pop"))
	d := s.mail("x@example.com")
	if d.Reply.String() != "550 5.7.1 joe may not send mail" || len(d.Trail) != 1 || d.Trail[0].Rule != "auth of smtp (services)" || d.Trail[0].Place != "f:8" {
		t.Errorf("%+v", d)
	}
}

// TestSendAs: as whom an account may send.
func TestSendAs(t *testing.T) {
	mine := []string{"joe@example.com", "*@bücher.example", `"a b"@example.com`, "*@[192.0.2.1]", "nonsense", "*", "*@", "@example.net"}
	for _, c := range []struct {
		auth, verify string
		own          []string
		from, want   string
	}{
		{"optional", "off", mine, "joe@example.com", "accept"},
		{"optional", "off", mine, "JOE@Example.COM", "accept"},
		{"optional", "off", mine, `"joe"@example.com`, "accept"},
		{"optional", "off", mine, "any@BÜCHER.example", "accept"},
		{"optional", "off", mine, "any@xn--bcher-kva.example", "accept"},
		{"optional", "off", mine, `"A B"@example.com`, "accept"},
		{"optional", "off", mine, "root@[192.0.2.1]", "accept"},
		{"optional", "off", mine, "<>", "accept"},
		{"optional", "off", mine, "jim@example.com", "reject"},
		{"optional", "off", mine, "joe+tag@example.com", "reject"},
		{"optional", "off", mine, "any@a.bücher.example", "reject"},
		{"optional", "off", mine, `"joe@example.com"@example.org`, "reject"},
		{"optional", "off", mine, "any@example.net", "reject"},
		{"required", "off", mine, "jim@example.com", "reject"},
		{"optional", "off", nil, "jim@example.com", "accept"},
		{"optional", "account", nil, "jim@example.com", "reject"},
		{"optional", "account", mine, "joe@example.com", "accept"},
		{"optional", "account", nil, "<>", "accept"},
		{"relay_and_local", "off", nil, "jim@example.com", "reject"},
		{"relay_and_local", "off", mine, "joe@example.com", "accept"},
	} {
		s := begin(t, compileAll(t, relayHead+fmt.Sprintf("auth = %q\nverify_sender = %q\n", c.auth, c.verify)), "198.51.100.1")
		s.authAs(own("relay", c.own...))
		d := s.mail(c.from)
		if d.Verdict.String() != c.want {
			t.Errorf("%+v: %v", c, d)
		}
		if d.Verdict == Reject && !strings.HasPrefix(d.Reply.String(), "553 5.7.1 joe may not send as ") {
			t.Errorf("%+v: %v", c, d.Reply)
		}
	}
}

// TestSendAsOfNobody: the sender of a client without an account is not asked about by
// verify_sender = "account", and the other words ask as they did.
func TestSendAsOfNobody(t *testing.T) {
	for verify, want := range map[string]Verdict{"account": Accept, "all": Reject} {
		e := compileAll(t, relayHead+fmt.Sprintf("auth = \"optional\"\nsender_addresses = [\"*@known.example\"]\nverify_sender = %q\n", verify))
		if d := begin(t, e, "192.0.2.1").mail("joe@example.com"); d.Verdict != want {
			t.Errorf("%s: %v", verify, d)
		}
	}
	// With an account, both are asked where the preset verifies as well.
	e := compileAll(t, relayHead+"auth = \"relay_and_local\"\nsender_addresses = [\"*@known.example\"]\nverify_sender = \"all\"\n")
	for from, want := range map[string]string{"joe@known.example": "accept", "jim@known.example": "553", "joe@example.com": "550"} {
		s := begin(t, e, "192.0.2.1")
		s.authAs(own("relay", "joe@known.example", "joe@example.com"))
		if d := s.mail(from); d.Verdict.String() != want && fmt.Sprint(d.Reply.Code) != want {
			t.Errorf("%s: %v, want %s", from, d, want)
		}
	}
}

// TestVerifyFromOfAccount: each author is the account's own, unless Sender is (RFC
// 6409 8.1); and it is certain.
func TestVerifyFromOfAccount(t *testing.T) {
	for _, c := range []struct{ header, rejected, rewritten string }{
		{"From: Joe <joe@example.com>", "accept", "accept"},
		{"From: JOE@EXAMPLE.COM (Joe)", "accept", "accept"},
		{"From: joe@example.com, Sales <sales@own.example>", "accept", "accept"},
		{"From: us: joe@example.com, any@own.example;", "accept", "accept"},
		{"From: jim@example.com", "reject", "rewrite"},
		{"From: joe@example.com, jim@example.com", "reject", "rewrite"},
		{"From: us: joe@example.com, jim@example.com;", "reject", "rewrite"},
		{"From: jim@example.com\nSender: joe@example.com", "accept", "accept"},
		{"From: jim@example.com, ann@example.com\nSender: Joe <joe@example.com>", "accept", "accept"},
		{"From: joe@example.com\nSender: jim@example.com", "reject", "rewrite"},
		{"From: joe@example.com\nSender: joe@example.com, any@own.example", "reject", "rewrite"},
		{"From: joe@example.com\nSender: nobody:;", "reject", "rewrite"},
		{"Sender: joe@example.com", "accept", "accept"},
		{"From: nobody:;", "reject", "rewrite"},
		{"From: nobody:;\nSender: joe@example.com", "accept", "accept"},
		{"Subject: none", "reject", "rewrite"},
		{"From: joe@example.com\nSubject: =?x-none?q?a?=", "accept", "accept"},
		{"From: joe@example.com\nFrom: joe@example.com", "reject", "reject"},
		{"From: jim@example.com\nSender: joe@example.com\nSender: joe@example.com", "reject", "reject"},
		{"From: =?utf-8?q?joe=40example.com?=", "reject", "reject"},
		{"From: joe@example.com <jim@example.org>", "reject", "rewrite"},
	} {
		for action, want := range map[string]string{"reject": c.rejected, "rewrite": c.rewritten} {
			for _, settings := range []string{"auth = \"optional\"\nverify_from = \"account\"\n", "auth = \"relay_and_local\"\n"} {
				text := relayHead + settings + "verify_action = \"" + action + "\"\n"
				if action == "rewrite" {
					text += "verify_rewrite = \"noreply@example.com\"\n"
				}
				s := begin(t, compileAll(t, text), "198.51.100.1")
				s.authAs(own("relay", "joe@example.com", "*@own.example"))
				s.mail("joe@example.com")
				s.rcpt("ann@example.org")
				d := s.data(plainFrom(c.header))
				got := d.Verdict.String()
				if d.Verdict == Reject && !strings.HasPrefix(d.Reply.String(), "554 5.7.1 joe may not send") {
					t.Errorf("%q: %v", c.header, d.Reply)
				}
				if d.Verdict == Accept && len(d.Recipients[0].Treatment.Edits) == 1 {
					got = "rewrite"
				}
				if got != want {
					t.Errorf("%q with %s and %s: %s, want %s: %+v", c.header, settings, action, got, want, d)
				}
			}
		}
	}
}

// TestAccountLimits: each account has its own counts, which outlast sessions and
// engines, and are those that are recorded.
func TestAccountLimits(t *testing.T) {
	clock := mail.NewManualClock(start)
	counts := limit.NewSet(clock)
	begins := func() *talk {
		o := options(load(t, relayHead+"auth = \"required\"\n"))
		o.Clock, o.AccountLimits = clock, counts
		e, problems := Compile(o)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return begin(t, e, "198.51.100.1")
	}
	as := func(name string, l mail.AccountLimits) *talk {
		s := begins()
		p := accountOf(name)
		p.Limits = l
		s.authAs(p)
		return s
	}
	two := mail.AccountLimits{MessagesPerHour: 2, RecipientsPerDay: 3, MaxSize: 1000}
	for i, want := range []string{"", "", "451 4.7.1 Too much for this account: at most 2 messages per 1h is allowed; please try again in 60 minutes"} {
		d := as("joe", two).mail("joe@example.com") // of 1000 octets
		if got := d.Reply.String(); d.Verdict != Accept && got != want || (want == "") != (d.Verdict == Accept) {
			t.Errorf("message %d: %v, want %q", i, d, want)
		}
	}
	if d := as("ann", two).mail("ann@example.com"); d.Verdict != Accept {
		t.Errorf("another account: %v", d)
	}
	if d := as("joe", mail.AccountLimits{MessagesPerHour: 5}).mail("joe@example.com"); d.Verdict != Accept {
		t.Errorf("the same with a larger limit: %v", d)
	}
	clock.Advance(time.Hour)
	s := as("joe", two)
	if d := s.mail("joe@example.com"); d.Verdict != Accept {
		t.Errorf("an hour later: %v", d)
	}
	for i, want := range []string{"accept", "accept", "accept", "452 4.7.1"} {
		d, _ := s.rcpt(fmt.Sprintf("r%d@example.org", i))
		if d.Verdict.String() != want && !strings.HasPrefix(d.Reply.String(), want) {
			t.Errorf("recipient %d: %v, want %s", i, d, want)
		}
	}
	if d := as("bob", mail.AccountLimits{MaxSize: 999}).mail("bob@example.com"); d.Reply.Code != 552 || d.Reply.Enhanced != "5.3.4" {
		t.Errorf("too large: %v", d)
	}
	if s := as("bob", mail.AccountLimits{MaxSize: 999}); s.MaxSize() != 999 {
		t.Errorf("the limit is %d", s.MaxSize())
	}
	if d := as("bob", mail.AccountLimits{}).mail("bob@example.com"); d.Verdict != Accept {
		t.Errorf("without limits: %v", d)
	}
}

// TestKnow: who is known without AUTH is an account, and no handler at auth is asked.
func TestKnow(t *testing.T) {
	e := compileAll(t, relayHead+"auth = \"required\"\n"+handler("no", "auth", `"reject"`))
	s := begin(t, e, "198.51.100.1")
	if d := s.authAs(own("relay")); d.Verdict != Reject {
		t.Errorf("auth: %v", d)
	}
	if d := s.mail("x@example.com"); d.Reply.Code != 530 {
		t.Errorf("who was refused at AUTH: %v", d)
	}
	s.Know(own("relay"))
	if d := s.mail("x@example.com"); d.Verdict != Accept {
		t.Errorf("who is known: %v", d)
	}
	// TLS begins, and the client is nobody; unless its EHLO has an account again.
	o := origin("198.51.100.1")
	if s.Helo(t.Context(), o); s.mail("x@example.com").Reply.Code != 530 {
		t.Error("an account outlasts STARTTLS")
	}
	s.Know(own("relay"))
	o.Account = &mail.Account{Name: "joe"}
	if s.Helo(t.Context(), o); s.mail("x@example.com").Verdict != Accept {
		t.Error("an account does not outlast EHLO")
	}
	var none *Session
	none.Know(own("relay"))
	if none.MaxSize() != 0 {
		t.Error("without policy there is a limit")
	}
}
