package policy

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/message"
)

// verifyHead has a listener with the settings that follow it.
const verifyHead = relayHead + "relay = \"everybody\"\nsender_addresses = [\"*@bücher.example\", \"list:friends\"]\n"

// TestVerifySender: whose sender is verified, and what is done about strangers.
func TestVerifySender(t *testing.T) {
	const trusted, other = "192.0.2.1", "198.51.100.1"
	for _, c := range []struct{ verify, client, from, want string }{
		{"off", other, "x@y.example", "accept"},
		{"all", other, "joe@example.com", "accept"},
		{"all", other, "any@BÜCHER.example", "accept"},
		{"all", other, "any@xn--bcher-kva.example", "accept"},
		{"all", other, "any@a.bücher.example", "reject"},
		{"all", other, `"x@xn--bcher-kva.example"@y.example`, "reject"},
		{"all", other, "jim@example.com", "reject"},
		{"all", trusted, "jim@example.com", "reject"},
		{"all", other, "<>", "accept"},
		{"unlisted", trusted, "jim@example.com", "accept"},
		{"unlisted", other, "jim@example.com", "reject"},
		{"unlisted", other, "joe@example.com", "accept"},
	} {
		e := compileAll(t, verifyHead+fmt.Sprintf("verify_sender = %q\n", c.verify))
		d := begin(t, e, c.client).mail(c.from)
		if d.Verdict.String() != c.want {
			t.Errorf("%+v: %v", c, d)
		}
		if want := "550 5.7.1 The sender " + strings.ReplaceAll(c.from, "ü", "?") + " may not be used here"; d.Verdict == Reject && d.Reply.String() != want {
			t.Errorf("%+v: %q, want %q", c, d.Reply, want)
		}
		if d.Verdict == Reject && (d.Trail[0].Rule != "verify_sender of smtp" || d.Trail[0].Place != "f:10") {
			t.Errorf("%+v: %v", c, d.Trail)
		}
	}
	e := compileAll(t, verifyHead+"verify_sender = \"all\"\nverify_action = \"rewrite\"\nverify_rewrite = \"noreply@example.com\"\n")
	s := begin(t, e, other)
	s.mail("jim@example.com")
	if _, treatment := s.rcpt("ann@example.org"); treatment.Sender == nil || treatment.Sender.String() != "noreply@example.com" {
		t.Errorf("the sender is %v", treatment.Sender)
	}
}

// TestVerifyFrom: one author who is known passes. All else is refused, or gets another
// author; and where nobody knows what a reader would see, it is refused in any case.
func TestVerifyFrom(t *testing.T) {
	for _, c := range []struct{ header, rejected, rewritten string }{
		{"From: Joe <joe@example.com>", "accept", "accept"},
		{"From: any@bücher.example", "accept", "accept"},
		{"From: joe@example.com\nSubject: =?x-none?q?a?=", "accept", "accept"},
		{"From: Joe <jim@example.com>", "reject", "rewrite"},
		{"From: joe@example.com, any@bücher.example", "reject", "rewrite"},
		{"From: jim@example.com, joe@example.com", "reject", "rewrite"},
		{"From: friends: joe@example.com;", "reject", "rewrite"},
		{"From: nobody:;", "reject", "rewrite"},
		{"From: joe@example.com <jim@example.org>", "reject", "rewrite"},
		{"From: jim@example.org <joe@example.com>", "reject", "rewrite"},
		{"From: <@a.example:joe@example.com>", "reject", "rewrite"},
		{"Subject: none", "reject", "rewrite"},
		{"Sender: joe@example.com", "reject", "rewrite"},
		{"From: joe@example.com\nFrom: joe@example.com", "reject", "reject"},
		{"From: joe@example.com\nfrom : jim@example.com", "reject", "reject"},
		{"From: joe@example.com <", "reject", "reject"},
		{"From: =?utf-8?q?joe=40example.com?=", "reject", "reject"},
		{"From: joe@example.com\nSubject: a\rFrom: jim@example.com", "reject", "reject"},
		{"From joe Mon Jan  1 10:00:00 2024\nFrom: joe@example.com", "reject", "reject"},
	} {
		for action, want := range map[string]string{"reject": c.rejected, "rewrite": c.rewritten} {
			text := verifyHead + "verify_from = \"all\"\nverify_action = \"" + action + "\"\n"
			if action == "rewrite" {
				text += "verify_rewrite = \"noreply@example.com\"\n"
			}
			s := begin(t, compileAll(t, text), "192.0.2.1")
			s.mail("x@y.example")
			s.rcpt("ann@example.org")
			d := s.data(plainFrom(c.header))
			got := d.Verdict.String()
			if d.Verdict == Reject && (d.Reply.Code != 554 || d.Reply.Enhanced != "5.7.1" || !strings.Contains(d.Reply.Text, "From") && !strings.Contains(d.Reply.Text, "author")) {
				t.Errorf("%q: %v", c.header, d.Reply)
			}
			if d.Verdict == Accept && len(d.Recipients[0].Treatment.Edits) == 1 {
				got = "rewrite"
				if edit := d.Recipients[0].Treatment.Edits[0]; edit != (message.Edit{Op: message.ReplaceFrom, Name: "X-Original-From", Value: "noreply@example.com"}) {
					t.Errorf("%q: %+v", c.header, edit)
				}
			}
			if got != want {
				t.Errorf("%q with %s: %s, want %s", c.header, action, got, want)
			}
		}
	}
}

// TestVerifyFromOfListed: with unlisted, clients in trust are not asked about.
func TestVerifyFromOfListed(t *testing.T) {
	e := compileAll(t, verifyHead+"verify_from = \"unlisted\"\n")
	for client, want := range map[string]Verdict{"192.0.2.1": Accept, "198.51.100.1": Reject} {
		s := begin(t, e, client)
		s.mail("x@y.example")
		s.rcpt("ann@example.org")
		if d := s.data(plainFrom("From: jim@example.org")); d.Verdict != want {
			t.Errorf("%s: %v", client, d)
		}
	}
}

// TestBlockLists: who is refused at RCPT for the score that block lists give him.
func TestBlockLists(t *testing.T) {
	const list = "[[block_list]]\nzone = \"bl.example.org\"\n"
	const listed, trusted = "192.0.2.66", "192.0.2.66"
	for _, c := range []struct{ name, text, client, to, want string }{
		{"listed", relayHead + "relay = \"everybody\"\ntrust = []\n" + list, listed, "ann@example.org", "554 5.7.1 No mail is taken from you: 192.0.2.66 is listed by zen"},
		{"not listed", relayHead + "relay = \"everybody\"\ntrust = []\n" + list, "192.0.2.67", "ann@example.org", "no reply"},
		{"at the score", relayHead + "relay = \"everybody\"\ntrust = []\nblock_list_score = 7\n" + list, listed, "ann@example.org", "554 5.7.1 No mail is taken from you: 192.0.2.66 is listed by zen"},
		{"below the score", relayHead + "relay = \"everybody\"\ntrust = []\nblock_list_score = 8\n" + list, listed, "ann@example.org", "no reply"},
		{"off", relayHead + "relay = \"everybody\"\ntrust = []\nblock_list_score = 0\n" + list, listed, "ann@example.org", "no reply"},
		{"trusted", relayHead + "relay = \"everybody\"\n" + list, trusted, "ann@example.org", "no reply"},
		{"to a postmaster", relayHead + "relay = \"everybody\"\ntrust = []\n" + list, listed, "PostMaster@example.org", "no reply"},
		{"to postmaster", relayHead + "relay = \"everybody\"\ntrust = []\n" + list, listed, "postmaster", "no reply"},
		{"to one like a postmaster", relayHead + "relay = \"everybody\"\ntrust = []\n" + list, listed, "postmaster2@example.org", "554 5.7.1 No mail is taken from you: 192.0.2.66 is listed by zen"},
		{"to where it may not send", strings.Replace(relayHead, "192.0.2.0/24", "10.0.0.0/8", 1) + list, listed, "ann@example.org", "550 5.7.1 Relaying denied: 192.0.2.66 may not send to this domain from here"},
		{"to this host", strings.Replace(relayHead, "192.0.2.0/24", "10.0.0.0/8", 1) + list, listed, "ann@mail.postern.net", "554 5.7.1 No mail is taken from you: 192.0.2.66 is listed by zen"},
		{"no list of addresses", relayHead + "relay = \"everybody\"\ntrust = []\n" + list + "kind = \"domains\"\n", listed, "ann@example.org", "no reply"},
	} {
		s := begin(t, compileAll(t, strings.Replace(c.text, "trust = [\"192.0.2.0/24\"]\nrelay = \"everybody\"\ntrust = []", "relay = \"everybody\"\ntrust = []", 1)), c.client)
		s.mail("x@y.example")
		if d, _ := s.rcpt(c.to); d.Reply.String() != c.want {
			t.Errorf("%s: %q, want %q", c.name, d.Reply, c.want)
		}
	}
	s := begin(t, compileAll(t, strings.Replace(relayHead, "trust = [\"192.0.2.0/24\"]", "trust = []", 1)+"relay = \"everybody\"\n"+list), listed)
	s.auth("joe")
	s.mail("x@y.example")
	if d, _ := s.rcpt("ann@example.org"); d.Verdict != Accept {
		t.Errorf("a user who has authenticated: %v", d)
	}
}

// TestRates: what each rate counts, at its edge, and for whom apart.
func TestRates(t *testing.T) {
	rate := func(settings ...string) string {
		return "[[rate]]\nname = \"r\"\n" + strings.Join(settings, "\n") + "\n"
	}
	const later = " Too much at once, please try again in 60 minutes"
	for _, c := range []struct {
		name, rate string
		second     func(s, other *talk) string // what is said when it is too much
		want       string
	}{
		{"connections", rate(`limit = "1 connections per 1h"`), func(s, _ *talk) string { s.connect(); return s.connect().Reply.String() }, "421 4.7.1" + later},
		{"messages", rate(`limit = "1 messages per 1h"`), func(s, _ *talk) string { s.mail("a@b.example"); return s.mail("c@d.example").Reply.String() }, "450 4.7.1" + later},
		{"an amount alone", rate(`limit = "1/1h"`), func(s, _ *talk) string { s.mail("a@b.example"); return s.mail("c@d.example").Reply.String() }, "450 4.7.1" + later},
		{"recipients", rate(`limit = "1 recipients per 1h"`), func(s, _ *talk) string {
			s.mail("a@b.example")
			s.rcpt("ann@example.org")
			d, _ := s.rcpt("bob@example.org")
			return d.Reply.String()
		}, "450 4.7.1" + later},
		{"octets", rate(`limit = "1KiB/1h"`), func(s, _ *talk) string {
			for range 2 {
				s.mail("a@b.example")
				s.rcpt("ann@example.org")
				if d := s.data(content(strings.Repeat("x\n", 300))); d.Verdict != Accept {
					return d.Reply.String()
				}
			}
			return "no reply"
		}, "451 4.7.1" + later},
		{"reject", rate(`limit = "1/1h"`, `over = "reject"`), func(s, _ *talk) string { s.mail("a@b.example"); return s.mail("c@d.example").Reply.String() }, "550 5.7.1 Too much: at most 1 messages per 1h is allowed"},
		{"hold", rate(`limit = "1/1h"`, `over = "hold"`), func(s, _ *talk) string {
			s.mail("a@b.example")
			s.mail("a@b.example")
			_, treatment := s.rcpt("ann@example.org")
			return formatTime(treatment.NotBefore)
		}, "2024-02-05T10:00:00Z"},
		{"of another client", rate(`limit = "1/1h"`), func(s, o *talk) string { s.mail("a@b.example"); return o.mail("a@b.example").Reply.String() }, "no reply"},
		{"of the network", rate(`limit = "1/1h"`, `per = "network"`), func(s, o *talk) string { s.mail("a@b.example"); return o.mail("a@b.example").Reply.String() }, "450 4.7.1" + later},
		{"of the listener", rate(`limit = "1/1h"`, `per = "listener"`), func(s, o *talk) string { s.mail("a@b.example"); return o.mail("c@d.example").Reply.String() }, "450 4.7.1" + later},
		{"of the sender", rate(`limit = "1/1h"`, `per = "sender"`), func(s, o *talk) string { s.mail("a@b.example"); return o.mail("A@B.example").Reply.String() }, "450 4.7.1" + later},
		{"of another sender", rate(`limit = "1/1h"`, `per = "sender"`), func(s, _ *talk) string { s.mail("a@b.example"); return s.mail("c@b.example").Reply.String() }, "no reply"},
		{"exempt", rate(`limit = "1/1h"`, `exempt = ["192.0.2.66"]`), func(s, _ *talk) string { s.mail("a@b.example"); return s.mail("c@d.example").Reply.String() }, "no reply"},
		{"not exempt", rate(`limit = "1/1h"`, `exempt = ["192.0.2.66"]`), func(_, o *talk) string { o.mail("a@b.example"); return o.mail("c@d.example").Reply.String() }, "450 4.7.1" + later},
		{"exempt by a list", rate(`limit = "1/1h"`, `exempt = ["10.0.0.0/8", "list:partners"]`), func(s, _ *talk) string { s.mail("a@b.example"); return s.mail("c@d.example").Reply.String() }, "no reply"},
		{"all are counted", rate(`limit = "5/1h"`) + strings.Replace(rate(`limit = "1/1h"`), `"r"`, `"s"`, 1), func(s, _ *talk) string { s.mail("a@b.example"); return s.mail("c@d.example").Reply.String() }, "450 4.7.1" + later},
	} {
		e := compile(t, c.rate)
		if got := c.second(begin(t, e, "192.0.2.66"), begin(t, e, "192.0.2.67")); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestRateTrail: the trail has the rate with its place.
func TestRateTrail(t *testing.T) {
	e := compile(t, "[[rate]]\nname = \"slow\"\nlimit = \"1/1h\"\n")
	d := begin(t, e, "192.0.2.66").mail("a@b.example")
	if want := (mail.Decided{Rule: "rate slow", Place: "f:12", Step: "limit", Effect: "1 for 192.0.2.66; at most 1 messages per 1h"}); len(d.Trail) == 0 || d.Trail[0] != want {
		t.Errorf("%v", d.Trail)
	}
}
