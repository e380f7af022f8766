package smtpserver

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtp"
)

// knowing is a scripted handler whose clients can authenticate. PLAIN takes one
// response, LOGIN two, ENDLESS as many as there are; the last must be "secret".
type knowing struct {
	scripted
	mechanisms smtp.Mechanisms
	tls        []*tls.ConnectionState
	begun      []string
	responses  []string
	ended      int
}

func newKnowing(mechanisms ...string) *knowing { return &knowing{mechanisms: mechanisms} }

func (h *knowing) Begin(ctx context.Context, o mail.Origin) (Session, mail.Reply) {
	_, r := h.scripted.Begin(ctx, o)
	return h, r
}

func (h *knowing) Mechanisms(mail.Origin) smtp.Mechanisms { return h.mechanisms }

func (h *knowing) Authenticate(_ context.Context, mechanism string, state *tls.ConnectionState) (smtp.Exchange, mail.Reply) {
	h.tls, h.begun = append(h.tls, state), append(h.begun, mechanism)
	return &knowingExchange{h, mechanism, map[string]int{"PLAIN": 1, "LOGIN": 2, "ENDLESS": 1 << 30}[mechanism]}, h.call("Authenticate")
}

type knowingExchange struct {
	*knowing
	mechanism string
	missing   int
}

func (x *knowingExchange) Next(_ context.Context, response []byte) ([]byte, *mail.Account, mail.Reply) {
	if r := x.call("Next"); !r.IsZero() {
		return nil, nil, r
	}
	if response != nil {
		x.responses = append(x.responses, string(response))
		x.missing--
	}
	switch {
	case x.missing > 0:
		return []byte(fmt.Sprint(x.missing, " more")), nil, mail.Reply{}
	case string(response) != "secret":
		return nil, nil, mail.NewReply(535, "5.7.8", "Wrong")
	}
	return nil, &mail.Account{Name: "joe", Source: "test", Mechanism: x.mechanism}, mail.NewReply(235, "2.7.0", "Welcome")
}

func (x *knowingExchange) End() { x.ended++ }

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

const (
	more1 = "334 MSBtb3Jl"
	more2 = "334 MiBtb3Jl"
)

func TestAuth(t *testing.T) {
	h := newKnowing("PLAIN", "LOGIN")
	s := start(t, Options{AuthInClear: true}, h)
	s.dial().open().play(`
	C: MAIL FROM:<a@b>
	S: 250 2.1.0 Ok
	C: AUTH PLAIN c2VjcmV0
	S: 503 5.5.1 A transaction is open already
	C: RSET
	S: 250 2.0.0 Ok
	C: AUTH CRAM-MD5
	S: 504 5.5.4 The mechanism is not offered here
	C: AUTH
	S: 501 5.5.4 Syntax: AUTH mechanism [initial-response]
	C: AUTH PLAIN c2VjcmV0 c2VjcmV0
	S: 501 5.5.2 Cannot decode base64
	C: AUTH PLAIN =
	S: 535 5.7.8 Wrong
	C: AUTH PLAIN
	S: ` + more1 + `
	C: *
	S: 501 5.7.0 Authentication cancelled
	C: AUTH PLAIN
	S: ` + more1 + `
	C: =
	S: 501 5.5.2 Cannot decode base64
	C: AUTH PLAIN
	S: ` + more1 + `
	C= "\r\n"
	S: 535 5.7.8 Wrong
	C: AUTH LOGIN
	S: ` + more2 + `
	C= "am9l\n"
	S: 500 5.5.2 Lines must end with CRLF
	C: auth login
	S: ` + more2 + `
	C: am9l
	S: ` + more1 + `
	C: c2VjcmV0
	S: 235 2.7.0 Welcome
	C: AUTH PLAIN c2VjcmV0
	S: 503 5.5.1 You have authenticated already
	C: MAIL FROM:<a@b> AUTH=a@b
	S: 250 2.1.0 Ok
	C: QUIT
	S: 221 2.0.0 mx.test closing connection
	S.
	`)
	s.stop()
	if got, want := fmt.Sprintf("%q", h.responses), `["" "" "joe" "secret"]`; got != want {
		t.Errorf("responses %s, want %s", got, want)
	}
	if h.ended != len(h.begun) || len(h.begun) != 6 {
		t.Errorf("%d exchanges were ended of %d", h.ended, len(h.begun))
	}
}

// TestAuthOffer: AUTH stands in EHLO where it can be had, with the protocol that
// belongs to it.
func TestAuthOffer(t *testing.T) {
	for _, c := range []struct {
		name       string
		mechanisms smtp.Mechanisms
		clear      bool
		inClear    string // what EHLO says
		refusal    string
		secure     string
	}{
		{"nothing", nil, true, "", "500 5.5.1 Command not recognized", ""},
		{"under TLS", smtp.Mechanisms{"PLAIN", "LOGIN"}, false, "", "538 5.7.11 Encryption required: send STARTTLS first", "AUTH PLAIN LOGIN"},
		{"everywhere", smtp.Mechanisms{"PLAIN"}, true, "AUTH PLAIN", "", "AUTH PLAIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newKnowing(c.mechanisms...)
			client := start(t, Options{TLS: testTLS(t), AuthInClear: c.clear}, h).dial()
			client.expect("220 mx.test ESMTP Postern")
			if got := client.authKeyword(); got != c.inClear {
				t.Errorf("in clear %q", got)
			}
			if c.refusal != "" {
				client.send("AUTH PLAIN c2VjcmV0\r\n")
				client.expect(c.refusal)
			}
			client = client.handshake(&tls.Config{InsecureSkipVerify: true})
			if got := client.authKeyword(); got != c.secure {
				t.Errorf("under TLS %q", got)
			}
			if len(h.begun) > 0 {
				t.Errorf("exchanges %q", h.begun)
			}
		})
	}
}

// authKeyword says EHLO and returns its line of AUTH.
func (c *client) authKeyword() (line string) {
	c.t.Helper()
	c.send("EHLO client.test\r\n")
	for {
		got, err := c.br.ReadString('\n')
		if err != nil || !strings.HasPrefix(got, "250") {
			c.t.Fatalf("EHLO: %q, %v", got, err)
		}
		if strings.HasPrefix(got[4:], "AUTH") {
			line = strings.TrimRight(got[4:], "\r\n")
		}
		if got[3] == ' ' {
			return line
		}
	}
}

// TestAuthIsForgotten by STARTTLS, with all else (RFC 3207 4.2).
func TestAuthIsForgotten(t *testing.T) {
	h := newKnowing("PLAIN")
	var recorded mailtest.Facts
	s := start(t, Options{TLS: testTLS(t), AuthInClear: true, Record: recorded.Record}, h)
	c := s.dial().open()
	c.play(`
	C: AUTH PLAIN c2VjcmV0
	S: 235 2.7.0 Welcome
	C: EXPN joe
	S: 502 5.5.1 Command not implemented
	C: HELO client.test
	S: 250 mx.test
	C: AUTH PLAIN c2VjcmV0
	S: 503 5.5.1 You have authenticated already
	`)
	c = c.startTLS()
	c.play(`
	C: EXPN joe
	S: 502 5.5.1 Command not implemented
	C: AUTH PLAIN c2VjcmV0
	S: 235 2.7.0 Welcome
	C: EXPN joe
	S: 502 5.5.1 Command not implemented
	C: HELO again.test
	S: 250 mx.test
	`)
	c.authKeyword()
	c.Close()
	s.stop()
	var who []string
	for _, f := range recorded.All() {
		if f.Command == "EXPN" {
			who = append(who, fmt.Sprint(f.Origin.Protocol, " ", f.Origin.Account != nil && f.Origin.Account.Name == "joe"))
		}
	}
	if got, want := strings.Join(who, ", "), "ESMTPA true, ESMTPS false, ESMTPSA true"; got != want {
		t.Errorf("facts have %s, want %s", got, want)
	}
	var hellos []string
	for _, o := range h.origins {
		hellos = append(hellos, fmt.Sprint(o.Hello, " ", o.Protocol, " ", o.Account != nil))
	}
	if got, want := strings.Join(hellos, ", "), " SMTP false, client.test ESMTP false, client.test SMTP true, client.test ESMTPS false, again.test SMTP true, client.test ESMTPSA true"; got != want {
		t.Errorf("the handler had %s, want %s", got, want)
	}
	if h.tls[0] != nil || h.tls[1] == nil || h.tls[1].Version < tls.VersionTLS12 {
		t.Errorf("exchanges had TLS %v", h.tls)
	}
}

// TestAuthNeedsEHLO: after HELO there are no extensions.
func TestAuthNeedsEHLO(t *testing.T) {
	start(t, Options{AuthInClear: true}, newKnowing("PLAIN")).dial().play(`
	S: 220 mx.test ESMTP Postern
	C: AUTH PLAIN c2VjcmV0
	S: 503 5.5.1 Send EHLO or HELO first
	C: HELO client.test
	S: 250 mx.test
	C: AUTH PLAIN c2VjcmV0
	S: 503 5.5.1 AUTH needs EHLO
	C: MAIL FROM:<a@b> AUTH=<>
	S: 555 5.5.4 Unknown parameter AUTH
	`)
}

// TestAuthLines: a response may have 12,288 octets, in the command and behind it
// (RFC 4954 3 and 4); a longer one fails the command with 500 5.5.6 (RFC 4954 6),
// and what follows is read as commands.
func TestAuthLines(t *testing.T) {
	h := newKnowing("LOGIN")
	c := start(t, Options{AuthInClear: true}, h).dial().open()
	longest := encoded(strings.Repeat("x", (smtp.MaxAuthLine-len("AUTH LOGIN \r\n"))/4*3))
	response := encoded(strings.Repeat("y", (smtp.MaxAuthLine-2)/4*3))
	c.send("AUTH LOGIN " + longest + "\r\n")
	c.expect(more1)
	c.send(response + "\r\n")
	c.expect("535 5.7.8 Wrong")
	const tooLong = "500 5.5.6 Line too long: the limit is 12288 octets"
	c.send("AUTH LOGIN " + longest + "AAAAAAAAAAAAAAAAAAAA\r\nNOOP\r\n")
	c.expect(tooLong, "250 2.0.0 Ok")
	c.send("AUTH LOGIN\r\n")
	c.expect(more2)
	c.send(response + "AAAAAAAA\r\nNOOP\r\n")
	c.expect(tooLong, "250 2.0.0 Ok")
	c.send("NOOP " + longest + "\r\n")
	c.expect("500 5.5.2 Line too long: the limit is 2048 octets")
	c.send("AUTH LOGIN\r\n")
	c.expect(more2)
	c.send(strings.Repeat("A", 100<<10))
	c.expect("421 4.7.0 Endless line, closing connection")
	if len(h.responses) != 2 || len(h.responses[0]) < 9000 || len(h.responses[1]) < 9000 {
		t.Errorf("%d responses", len(h.responses))
	}
}

// TestAuthEndless: a client cannot keep an exchange going for ever.
func TestAuthEndless(t *testing.T) {
	c := start(t, Options{AuthInClear: true}, newKnowing("ENDLESS")).dial().open()
	c.send("AUTH ENDLESS\r\n")
	for n := range maxRounds {
		c.expect("334 " + encoded(fmt.Sprint(1<<30-n, " more")))
		c.send("\r\n")
	}
	c.expect("500 5.5.6 Authentication takes too many lines")
	c.send("NOOP\r\n")
	c.expect("250 2.0.0 Ok")
}

// TestAuthPipelined: what stands behind AUTH in one packet is what it would be
// without: responses as long as there are challenges, and commands then.
func TestAuthPipelined(t *testing.T) {
	h := newKnowing("PLAIN", "LOGIN")
	start(t, Options{AuthInClear: true}, h).dial().open().play(`
	C: AUTH PLAIN d3Jvbmc=
	C: MAIL FROM:<a@b>
	S: 535 5.7.8 Wrong
	S: 250 2.1.0 Ok
	C: RSET
	C: AUTH LOGIN
	C: MAIL FROM:<a@b>
	C: RCPT TO:<c@d>
	S: 250 2.0.0 Ok
	S: ` + more2 + `
	S: 501 5.5.2 Cannot decode base64
	S: 503 5.5.1 Send MAIL first
	C: AUTH LOGIN am9l
	C: c2VjcmV0
	C: MAIL FROM:<a@b>
	S: ` + more1 + `
	S: 235 2.7.0 Welcome
	S: 250 2.1.0 Ok
	`)
}

// TestAuthAnswers: a handler's replies to AUTH are those of a refusal, or 235 with
// who it is; else the client hears that it did not work.
func TestAuthAnswers(t *testing.T) {
	const failure = "454 4.7.0 Temporary authentication failure"
	for _, c := range []struct {
		at    string
		reply mail.Reply
		want  string
	}{
		{"Authenticate", mail.NewReply(535, "5.7.8", "Banned"), "535 5.7.8 Banned"},
		{"Authenticate", mail.NewReply(454, "4.7.0", "Later"), "454 4.7.0 Later"},
		{"Authenticate", mail.NewReply(235, "2.7.0", "Ok"), failure},
		{"Authenticate", mail.NewReply(334, "", "Go on"), failure},
		{"Next", mail.NewReply(235, "2.7.0", "Nobody"), failure},
		{"Next", mail.NewReply(250, "2.0.0", "Ok"), failure},
		{"Next", mail.NewReply(334, "", "Go on"), failure},
		{"Next", mail.NewReply(432, "4.7.12", "Transition needed"), "432 4.7.12 Transition needed"},
		{"Next", mail.NewReply(534, "5.7.9", "Too weak"), "534 5.7.9 Too weak"},
	} {
		h := newKnowing("PLAIN")
		h.replies = map[string]mail.Reply{c.at: c.reply}
		client := start(t, Options{AuthInClear: true}, h).dial().open()
		client.send("AUTH PLAIN c2VjcmV0\r\nNOOP\r\n")
		client.expect(c.want, "250 2.0.0 Ok")
		if h.ended != 1 {
			t.Errorf("%s, %v: ended %d times", c.at, c.reply, h.ended)
		}
	}
}

// TestAuthEndsTheSession where the handler says so, or hangs up.
func TestAuthEndsTheSession(t *testing.T) {
	for _, r := range []mail.Reply{mail.NewReply(421, "4.7.0", "Too many"), {Code: mail.NoReply}} {
		h := newKnowing("PLAIN")
		h.replies = map[string]mail.Reply{"Next": r}
		c := start(t, Options{AuthInClear: true}, h).dial().open()
		c.send("AUTH PLAIN c2VjcmV0\r\n")
		if r.Code == 421 {
			c.expect("421 4.7.0 Too many")
		}
		c.expectEnd()
	}
}

// TestAuthIsSecret: nothing of an exchange is logged or recorded, whatever becomes
// of it, nor what a client says that is out of step.
func TestAuthIsSecret(t *testing.T) {
	var recorded mailtest.Facts
	var log logBuffer
	secrets := []string{"aHVudGVyMg", "SFVOVEVSMG", "hunter", "correcthorse", "CORRECTHORSE"}
	for _, o := range []Options{{AuthInClear: true}, {}, {TLS: testTLS(t), TLSRequired: true}} {
		o.Record, o.Logger = recorded.Record, log.logger()
		s := start(t, o, newKnowing("LOGIN"))
		c := s.dial().open()
		for _, said := range []string{
			"AUTH LOGIN aHVudGVyMg==", "aHVudGVyMg==", "AUTH aHVudGVyMg== hunter2", "AUTH LOGIN hunter2", "hunter2", "correcthorse", "correcthorse battery",
			"AUTH PLAIN correcthorse", "correcthorse\x01", "hunter2: x",
		} {
			c.send(said + "\r\n")
			if _, err := c.br.ReadString('\n'); err != nil {
				t.Fatalf("%s: %v", said, err)
			}
		}
		c.expectEnd()
		s.stop()
	}
	text := log.String() + fmt.Sprintf("%+v", recorded.All())
	for _, f := range recorded.All() {
		text += f.Command + f.Reply.String()
	}
	if len(recorded.All()) < 25 || !strings.Contains(text, "another protocol") {
		t.Errorf("%d facts", len(recorded.All()))
	}
	for _, secret := range secrets {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s stands in %q", secret, text[max(0, at-80):min(len(text), at+80)])
		}
	}
}
