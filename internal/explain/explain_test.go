package explain

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"postern/internal/mail"
)

// questions are messages with what explain says first of them, and what stands
// somewhere in its text.
var questionHandlers = head + `[[handler]]
name = "tls"
at = "helo"
when = 'tls.version == "" && client.address == "10.1.1.2"'
steps = [{ defer = "Begin TLS first" }]
[[handler]]
name = "no-joe"
at = "auth"
when = 'authentication.subject.id == "joe"'
steps = ["reject"]
[[handler]]
name = "rate"
at = "mail"
when = 'dnsbl.score < 5'
steps = [{ limit = "1/1h", per = "client.address" }]
[[handler]]
name = "judge"
at = "data"
when = 'message.subject.startsWith("win")'
steps = [{ quarantine = "too good" }, { add_recipient = "more@z.example" }, { rewrite_sender = "*@new.example" }]
[[handler]]
at = "rcpt"
recipient = ["x@x.example"]
steps = [{ route_via = "r.example" }, { require_tls = "verify" }, "accept"]
`

func TestWalk(t *testing.T) {
	s := server(t, questionHandlers)
	a, x := addresses(t, "ann@y.example"), addresses(t, "x@x.example", "ann@y.example")
	joe := address(t, "joe@a.example")
	for _, c := range []struct {
		name  string
		mail  Mail
		first string
		some  []string
	}{
		{"accepted", Mail{Client: client("10.1.1.1"), From: joe, To: a}, "accepted, to go to y.example",
			[]string{"note: no message was given", "note: block lists were not asked", "note: limits were looked at", "limit: not counted: 1 for 10.1.1.1; at most 1/1h", "dnsbl.score = 0"}},
		{"a route", Mail{Client: client("10.1.1.1"), From: joe, To: x[:1]}, "accepted, to go to x.example/r.example:25",
			[]string{"  leaves by TLS only: verify"}},
		{"quarantine", Mail{Client: client("10.1.1.1"), From: joe, To: x, Content: []byte("Subject: win\n\nx\n")}, "accepted for all 2 recipients, as 2 messages",
			[]string{"<x@x.example>    accepted and held (quarantine) too good, by handler judge (f:32)\n",
				"the sender is <joe@new.example>", "goes to more@z.example as well", "held (quarantine) too good, by handler judge (f:32) [message 2]"}},
		{"refused at once", Mail{Client: client("10.6.6.6"), From: joe, To: a}, "refused at CONNECT: 554 5.7.1 No mail is taken from 10.6.6.6, by reject_clients of smtp (f:9)",
			[]string{"stands for: at = \"connect\"; listeners = [\"smtp\"]; when = 'client.rejected'", "NOT REACHED", "rate (f:27)", "the session did not come to mail"}},
		{"EHLO in clear before TLS", Mail{Client: client("10.1.1.2"), TLS: "TLS 1.3", From: joe, To: a}, "refused at EHLO: 450 4.7.1 Begin TLS first, by handler tls (f:17)", nil},
		{"a user", Mail{Client: client("10.1.1.1"), User: "joe", From: joe, To: a}, "refused at AUTH: 535 5.7.8 Refused by policy, by handler no-joe (f:22)", nil},
		{"too large", Mail{Client: client("10.1.1.1"), From: joe, To: a, Content: []byte(strings.Repeat("x\n", 40_000))}, "refused at MAIL: 552 5.3.4 The message is larger than 100000 octets, by the server itself",
			[]string{"rate (f:27)  not asked: it was decided before"}},
		{"too many", Mail{Client: client("10.1.1.1"), From: joe, To: addresses(t, "a@x.example", "b@x.example", "c@x.example", "d@x.example", "e@x.example", "f@x.example")}, "accepted for 5 of 6 recipients",
			[]string{"<f@x.example>  refused at RCPT: 452 4.5.3 Too many recipients: 5 are taken at a time, by the server itself"}},
		{"nobody is left", Mail{Client: client("203.0.113.7"), From: joe, To: x}, "refused at RCPT for all recipients", nil},
		{"sendmail", Mail{Listener: SendmailListener, User: "root", From: joe, To: a}, "accepted, to go to y.example", []string{"at listener sendmail by root, on this host"}},
		{"not for this listener", Mail{Listener: "inside", Client: client("203.0.113.7"), From: joe, To: a}, "accepted, to go to y.example", []string{"  - 1 handler is for another listener\n"}},
	} {
		var text bytes.Buffer
		if err := walkIt(t, s, &c.mail).Write(&text); err != nil {
			t.Fatal(err)
		}
		first, rest, _ := strings.Cut(text.String(), "\n")
		if first != c.first {
			t.Errorf("%s: %q, want %q\n%s", c.name, first, c.first, rest)
		}
		for _, want := range c.some {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, text.String())
			}
		}
	}
}

// TestWalkFails: what no client can do is not answered.
func TestWalkFails(t *testing.T) {
	s := server(t, questionHandlers)
	joe, to := address(t, "joe@a.example"), addresses(t, "x@x.example")
	for want, m := range map[string]Mail{
		`there is no listener "smpt"; there are smtp, inside, sendmail`: {Listener: "smpt", Client: client("10.1.1.1"), From: joe, To: to},
		"there is no recipient":          {Client: client("10.1.1.1"), From: joe},
		"name him as user":               {Listener: SendmailListener, From: joe, To: to},
		"has neither an address nor TLS": {Listener: SendmailListener, User: "root", TLS: "TLS 1.3", From: joe, To: to},
		"the client has no address":      {From: joe, To: to},
	} {
		if _, err := s.Walk(t.Context(), &m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestTextIsSafe: what came from outside does nothing to a terminal.
func TestTextIsSafe(t *testing.T) {
	s := server(t, questionHandlers)
	r := walkIt(t, s, &Mail{Client: client("10.1.1.1"), Hello: "a\x1b[31mb\nc", From: address(t, "joe@a.example"), To: addresses(t, "x@x.example"),
		Content: []byte("Subject: =?utf-8?q?win=1b=5b31m?=\n\nx\n")})
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if line = strings.TrimSuffix(line, "\n"); line != mail.Printable(line) {
			t.Errorf("%q", line)
		}
	}
	if !strings.Contains(text.String(), "EHLO a\ufffd[31mb\ufffdc: accepted") {
		t.Errorf("%s", text.String())
	}
}

// TestNothingIsKept: a limit is not used up, however often it is asked about.
func TestNothingIsKept(t *testing.T) {
	s := server(t, questionHandlers)
	m := &Mail{Client: client("10.1.1.1"), From: address(t, "joe@a.example"), To: addresses(t, "x@x.example")}
	for range 3 {
		if r := walkIt(t, s, m); r.Recipients[0].Outcome != Queued {
			t.Errorf("%s", r.Summary())
		}
	}
	if got := happen(t, s, m).lines; !strings.Contains(strings.Join(got, "\n"), "x@x.example queued") {
		t.Errorf("the first that is sent: %q", got)
	}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]string{"1.3": "TLS 1.3", "TLS 1.2": "TLS 1.2", "tls1.3": "TLS 1.3", "1.1": "", "": ""} {
		if got, err := ParseTLS(s); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{"<>": "<>", "": "<>", "<a@b.example>": "<a@b.example>", "a@b.example": "<a@b.example>", "Postmaster": "<Postmaster>"} {
		if got, err := ParseFrom(s); err != nil || got.Path() != want {
			t.Errorf("%q: %s, %v", s, got.Path(), err)
		}
	}
	if _, err := ParseTo("<>"); err == nil {
		t.Error("the null sender is a recipient")
	}
	if _, err := ReadContent(zeros{}); err == nil {
		t.Error("a message without an end was read")
	}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestAccountsAndMembers: explain tells who the account is, for whom a recipient stands,
// and what refuses him.
func TestAccountsAndMembers(t *testing.T) {
	s := server(t, strings.Replace(head, "max_recipients = 5\n", "max_recipients = 5\nauth = \"required\"\n", 1))
	s.Door.Local.Directory, s.Account = people(t), account
	for _, c := range []struct {
		user, from, to string
		want           []string
	}{
		{"joe", "joe@a.example", "two@gate.example", []string{
			"accepted, for 2 addresses: <seller@home.example>, <second@home.example>\n", "  nobody here is at nobody@gate.example\n", "AUTH joe: accepted\n", "authentication.relay = true"}},
		{"joe", "joe@a.example", "staff@gate.example", []string{"accepted, for 2 addresses of the list staff: <s1@home.example>, <s2@home.example>\n", "  the sender is <boss@home.example>\n"}},
		{"joe", "joe@a.example", "sales@gate.example", []string{"accepted, for <seller@home.example> instead, to go to home.example\n"}},
		{"joe", "joe@a.example", "loop@gate.example", []string{"451 4.4.6", "by the server itself"}},
		{"joe", "sue@b.example", "x@x.example", []string{"refused at MAIL: 553 5.7.1 joe may not send as sue@b.example, by auth of smtp (sender) (f:13)\n", "smtp.mail.own = false"}},
		{"ann", "sue@b.example", "x@x.example", []string{"refused at RCPT: 550 5.7.1 Relaying denied: ann may not send to this domain, by relay of smtp"}},
		{"ann", "sue@b.example", "two@gate.example", []string{"limit_account: not counted for ann; at most 3 messages per 1h"}},
		{"joe", "joe@a.example", "clerk@gate.example", []string{"refused at RCPT: 550 5.1.1",
			"from 203.0.113.7 as joe, in clear, 47 octets\nnote: clerk@gate.example is an address of the user clerk, and there are no mailboxes here"}},
		{"", "sue@b.example", "two@gate.example", []string{"refused at MAIL: 530 5.7.0 Authentication required, by auth of smtp (account) (f:13)\n"}},
	} {
		m := &Mail{Client: client("203.0.113.7"), User: c.user, From: address(t, c.from), To: addresses(t, c.to)}
		var text strings.Builder
		if err := walkIt(t, s, m).Write(&text); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s to %s: no %q in\n%s", c.from, c.to, want, text.String())
			}
		}
	}
	s.Account = nil
	r := walkIt(t, s, &Mail{Client: client("203.0.113.7"), User: "max", From: address(t, "sue@b.example"), To: addresses(t, "x@x.example")})
	if r.Refused != nil || len(r.Notes) < 2 || !strings.Contains(r.Notes[0]+r.Notes[1], "there is no account max that may log in") {
		t.Errorf("an account that there is not: %+v, %q", r.Refused, r.Notes)
	}
}

// TestManyMembers: of many members the first are told of.
func TestManyMembers(t *testing.T) {
	r := Recipient{Outcome: Expanded, List: "staff"}
	for i := range maxMembersTold + 2 {
		r.Members = append(r.Members, fmt.Sprintf("m%d@x.example", i))
	}
	if got := r.Summary(); !strings.HasPrefix(got, "accepted, for 12 addresses of the list staff: <m0@x.example>, ") || !strings.HasSuffix(got, "<m9@x.example> and 2 more") {
		t.Error(got)
	}
}

// TestOneContentForAll: recipients of the same content share it: with a thousand of them a large message
// would not fit into memory.
func TestOneContentForAll(t *testing.T) {
	s := server(t, head)
	m := Mail{Client: client("10.1.1.1"), From: address(t, "a@a.example"), To: addresses(t, "b@x.example", "c@y.example"), Content: []byte("Subject: x\r\n\r\nx\r\n")}
	r := walkIt(t, s, &m)
	if a, b := r.Recipients[0].content, r.Recipients[1].content; len(a) == 0 || &a[0] != &b[0] {
		t.Errorf("%q and %q are two", a, b)
	}
}
