package smtpserver

import (
	"testing"

	"postern/internal/mail"
)

const ehlo = `
	S: 220 mx.test ESMTP Postern
	C: EHLO client.test
	S: 250-mx.test greets client.test
	S: 250-PIPELINING
	S: 250-SIZE 1000
	S: 250-8BITMIME
	S: 250-SMTPUTF8
	S: 250-DSN
	S: 250-ENHANCEDSTATUSCODES
	S: 250-CHUNKING
	S: 250-LIMITS RCPTMAX=2 MAILMAX=3
	S: 250 HELP
`

var dialogues = []struct {
	name     string
	replies  map[string]mail.Reply
	dialogue string
}{
	{name: "a message", dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com> SIZE=10 BODY=8BITMIME
	S: 250 2.1.0 Ok
	C: RCPT TO:<ann@example.net>
	S: 250 2.1.5 Ok
	C: DATA
	S: 354 End data with <CR><LF>.<CR><LF>
	C: Subject: hi
	C: .
	S: 250 2.0.0 Kept 13 octets
	C: QUIT
	S: 221 2.0.0 mx.test closing connection
	S.
	`},
	{name: "pipelined as one piece", dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<ann@example.net>
	C: RCPT TO:<bob@example.net>
	C: DATA
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 250 2.1.5 Ok
	S: 354 End data with <CR><LF>.<CR><LF>
	C: .
	C: MAIL FROM:<>
	C: RCPT TO:<ann@example.net>
	C: DATA
	C: ..
	C: .
	C: QUIT
	S: 250 2.0.0 Kept 0 octets
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 354 End data with <CR><LF>.<CR><LF>
	S: 250 2.0.0 Kept 3 octets
	S: 221 2.0.0 mx.test closing connection
	S.
	`},
	{name: "pipelined DATA without recipients", replies: map[string]mail.Reply{
		"no@example.net": mail.NewReply(550, "5.1.1", "No such user"),
	}, dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<no@example.net>
	C: DATA
	S: 250 2.1.0 Ok
	S: 550 5.1.1 No such user
	S: 554 5.5.1 No valid recipients
	C: RCPT TO:<ann@example.net>
	S: 250 2.1.5 Ok
	`},
	{name: "HELO has no extensions", dialogue: `
	S: 220 mx.test ESMTP Postern
	C: HELO client.test
	S: 250 mx.test
	C: MAIL FROM:<joe@example.com> SIZE=1
	S: 555 5.5.4 Unknown parameter SIZE
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	C: RCPT TO:<ann@example.net> NOTIFY=NEVER
	S: 555 5.5.4 Unknown parameter NOTIFY
	`},
	{name: "sequence", dialogue: `
	S: 220 mx.test ESMTP Postern
	C: MAIL FROM:<joe@example.com>
	S: 503 5.5.1 Send EHLO or HELO first
	C: RCPT TO:<joe@example.com>
	S: 503 5.5.1 Send EHLO or HELO first
	C: DATA
	S: 503 5.5.1 Send EHLO or HELO first
	C: STARTTLS
	S: 502 5.5.1 STARTTLS is not offered here
	C: EHLO
	S: 501 5.5.4 Syntax: EHLO domain
	C: HELO client.test
	S: 250 mx.test
	C: RCPT TO:<joe@example.com>
	S: 503 5.5.1 Send MAIL first
	C: DATA
	S: 503 5.5.1 Send MAIL first
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	C: MAIL FROM:<joe@example.com>
	S: 503 5.5.1 A transaction is open already
	C: STARTTLS
	S: 502 5.5.1 STARTTLS is not offered here
	C: RSET
	S: 250 2.0.0 Ok
	C: RCPT TO:<joe@example.com>
	S: 503 5.5.1 Send MAIL first
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	C: HELO other.test
	S: 250 mx.test
	C: DATA
	S: 503 5.5.1 Send MAIL first
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	C= "EHLO \t\r\n"
	S: 501 5.5.4 Syntax: EHLO domain
	C: RCPT TO:<joe@example.com>
	S: 250 2.1.5 Ok
	C: DATA now
	S: 501 5.5.4 DATA has no arguments
	C= "DATA \t\r\n"
	S: 354 End data with <CR><LF>.<CR><LF>
	`},
	{name: "commands without arguments", dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	C: RSET now
	S: 501 5.5.4 RSET has no arguments
	C: QUIT now
	S: 501 5.5.4 QUIT has no arguments
	C: RCPT TO:<ann@example.net>
	S: 250 2.1.5 Ok
	C= "RSET \t\r\n"
	S: 250 2.0.0 Ok
	C: RCPT TO:<ann@example.net>
	S: 503 5.5.1 Send MAIL first
	C= "QUIT \t\r\n"
	S: 221 2.0.0 mx.test closing connection
	S.
	`},
	{name: "a name that is no domain", dialogue: `
	S: 220 mx.test ESMTP Postern
	C= "HELO J\xf6rg's <PC>\x00\r\n"
	S: 250 mx.test
	C= "EHLO (a)\tb\r\n"
	S: 250-mx.test greets ?a??b
	S: 250-PIPELINING
	S: 250-SIZE 1000
	S: 250-8BITMIME
	S: 250-SMTPUTF8
	S: 250-DSN
	S: 250-ENHANCEDSTATUSCODES
	S: 250-CHUNKING
	S: 250-LIMITS RCPTMAX=2 MAILMAX=3
	S: 250 HELP
	`},
	{name: "addresses without brackets", dialogue: ehlo + `
	C: MAIL FROM: joe@example.com SIZE=10
	S: 250 2.1.0 Ok
	C: RCPT TO:ann@example.net NOTIFY=NEVER
	S: 250 2.1.5 Ok
	C: RCPT TO:ann
	S: 501 5.5.4 Syntax: RCPT TO:<address> [parameters]
	`},
	{name: "content behind BDAT that is not in its place", dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	C: BDAT 27 LAST
	C: RCPT TO:<ann@example.net>
	C: NOOP
	S: 554 5.5.1 No valid recipients
	S: 250 2.0.0 Ok
	C: RCPT TO:<ann@example.net>
	S: 503 5.5.1 Send MAIL first
	`},
	{name: "commands without mail", dialogue: `
	S: 220 mx.test ESMTP Postern
	C: NOOP anything
	S: 250 2.0.0 Ok
	C: HELP
	S: 214-2.0.0 Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT
	S: 214 2.0.0 See RFC 5321
	C: VRFY
	S: 501 5.5.4 Syntax: VRFY address
	C= "VRFY  \r\n"
	S: 501 5.5.4 Syntax: VRFY address
	C: vrfy joe
	S: 252 2.5.0 Cannot verify the address, send mail to find out
	C: EXPN list
	S: 502 5.5.1 Command not implemented
	C: TURN
	S: 502 5.5.1 Command not implemented
	C: SEND FROM:<a@b>
	S: 502 5.5.1 Command not implemented
	C: SOML FROM:<a@b>
	S: 502 5.5.1 Command not implemented
	C: SAML FROM:<a@b>
	S: 502 5.5.1 Command not implemented
	C: XYZZY
	S: 500 5.5.1 Command not recognized
	C= "\r\n"
	S: 500 5.5.2 Not a command: a verb of letters is expected
	C= "NOOP\n"
	S: 500 5.5.2 Lines must end with CRLF
	C= "\n"
	S: 500 5.5.2 Lines must end with CRLF
	C= "NO\x00OP\r\n"
	S: 500 5.5.2 Control character in the command
	C= "NOOP \xff\r\n"
	S: 500 5.5.2 The command is not valid UTF-8
	C: RSET
	S: 250 2.0.0 Ok
	`},
	{name: "SMTPUTF8 belongs to the transaction", dialogue: ehlo + `
	C: MAIL FROM:<jörg@example.com>
	S: 553 5.6.7 An address in UTF-8 needs SMTPUTF8
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	C: RCPT TO:<jörg@example.com>
	S: 553 5.6.7 An address in UTF-8 needs SMTPUTF8
	C: RSET
	S: 250 2.0.0 Ok
	C: MAIL FROM:<joe@example.com> SMTPUTF8
	S: 250 2.1.0 Ok
	C: RCPT TO:<jörg@example.com>
	S: 250 2.1.5 Ok
	`},
	{name: "size", dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com> SIZE=1001
	S: 552 5.3.4 The message is larger than 1000 octets
	C: MAIL FROM:<joe@example.com> SIZE=1000
	S: 250 2.1.0 Ok
	`},
	{name: "RCPTMAX", dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	C: RCPT TO:<a@example.net>
	C: RCPT TO:<b@example.net>
	C: RCPT TO:<c@example.net>
	C: DATA
	S: 250 2.1.5 Ok
	S: 250 2.1.5 Ok
	S: 452 4.5.3 Too many recipients: 2 are taken at a time
	S: 354 End data with <CR><LF>.<CR><LF>
	C: .
	S: 250 2.0.0 Kept 0 octets
	`},
	{name: "MAILMAX", dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: RSET
	C: MAIL FROM:<joe>
	C: MAIL FROM:<joe@example.com>
	C: RSET
	C: MAIL FROM:<joe@example.com>
	C: NOOP
	S: 250 2.1.0 Ok
	S: 250 2.0.0 Ok
	S: 501 5.1.7 Bad address: not an address of the form local-part@domain: no @
	S: 250 2.1.0 Ok
	S: 250 2.0.0 Ok
	S: 421 4.5.3 mx.test takes 3 messages in a session, reconnect for more
	S.
	`},
	{name: "an HTTP client", dialogue: `
	S: 220 mx.test ESMTP Postern
	C: POST / HTTP/1.1
	C: NOOP
	S: 554 5.5.1 This is an SMTP server
	S.
	`},
	{name: "a header field", dialogue: `
	S: 220 mx.test ESMTP Postern
	C: X-Header: value
	C: NOOP
	S: 554 5.5.1 This is an SMTP server
	S.
	`},
	{name: "refused client", replies: map[string]mail.Reply{
		"Begin": mail.NewReply(554, "5.7.1", "Not you"),
	}, dialogue: `
	S: 554 5.7.1 Not you
	S.
	`},
	{name: "421 of a handler ends the session", replies: map[string]mail.Reply{
		"Mail": mail.NewReply(421, "4.7.0", "Enough"),
	}, dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: NOOP
	S: 421 4.7.0 Enough
	S.
	`},
	{name: "DATA refused leaves the transaction open", replies: map[string]mail.Reply{
		"Data": mail.NewReply(451, "4.3.0", "Not now"),
	}, dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<a@example.net>
	C: DATA
	C: RCPT TO:<b@example.net>
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 451 4.3.0 Not now
	S: 250 2.1.5 Ok
	`},
	{name: "a success to DATA is none", replies: map[string]mail.Reply{
		"Data": mail.NewReply(250, "2.0.0", "Done"),
	}, dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<a@example.net>
	C: DATA
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 451 4.3.0 Local error in processing, please try again later
	`},
	{name: "replies without sense become a local error", replies: map[string]mail.Reply{
		"NOOP": mail.NewReply(1, "", "Hm"),
		"HELP": mail.NewReply(600, "", "Hm"),
	}, dialogue: `
	S: 220 mx.test ESMTP Postern
	C: NOOP
	S: 451 4.3.0 Local error in processing, please try again later
	C: HELP
	S: 451 4.3.0 Local error in processing, please try again later
	`},
	{name: "refused EHLO changes nothing", replies: map[string]mail.Reply{
		"Hello": mail.NewReply(550, "5.7.1", "Not by that name"),
	}, dialogue: `
	S: 220 mx.test ESMTP Postern
	C: EHLO client.test
	S: 550 5.7.1 Not by that name
	C: MAIL FROM:<joe@example.com>
	S: 503 5.5.1 Send EHLO or HELO first
	`},
	{name: "refused RSET keeps the transaction", replies: map[string]mail.Reply{
		"RSET": mail.NewReply(451, "4.3.0", "Not now"),
	}, dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: RSET
	C: RCPT TO:<a@example.net>
	S: 250 2.1.0 Ok
	S: 451 4.3.0 Not now
	S: 250 2.1.5 Ok
	`},
	{name: "QUIT ends the session whatever its reply", replies: map[string]mail.Reply{
		"QUIT": mail.NewReply(500, "5.5.1", "Stay"),
	}, dialogue: `
	S: 220 mx.test ESMTP Postern
	C: QUIT
	S: 500 5.5.1 Stay
	S.
	`},
}

func TestDialogues(t *testing.T) {
	for _, d := range dialogues {
		t.Run(d.name, func(t *testing.T) {
			h := &scripted{replies: d.replies}
			s := start(t, Options{MaxSize: 1000, MaxRecipients: 2, MaxMessages: 3}, h)
			c := s.dial()
			c.play(d.dialogue)
			c.Close()
			s.stop()
			if n := h.counted("End"); n != 1 {
				t.Errorf("End called %d times", n)
			}
		})
	}
}

// TestEarlyTalker sends all of a session before the greeting.
func TestEarlyTalker(t *testing.T) {
	h := &scripted{}
	c := start(t, Options{}, h).dial()
	c.play(`
	C: HELO client.test
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<ann@example.net>
	C: DATA
	C: .
	C: QUIT
	S: 220 mx.test ESMTP Postern
	S: 250 mx.test
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 354 End data with <CR><LF>.<CR><LF>
	S: 250 2.0.0 Kept 0 octets
	S: 221 2.0.0 mx.test closing connection
	S.
	`)
}

// TestReset says when a handler hears of a dropped transaction.
func TestReset(t *testing.T) {
	for _, c := range []struct {
		name, commands string
		want           int
	}{
		{"RSET without transaction", "RSET\r\n", 0},
		{"RSET", "MAIL FROM:<a@b>\r\nRSET\r\nRSET\r\n", 1},
		{"EHLO", "MAIL FROM:<a@b>\r\nEHLO c\r\n", 1},
		{"after content", "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\nRSET\r\n", 0},
		{"connection over", "MAIL FROM:<a@b>\r\n", 0},
	} {
		h := &scripted{}
		s := start(t, Options{}, h)
		cl := s.dial().open()
		cl.send(c.commands + "QUIT\r\n")
		for {
			line, err := cl.br.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line[:3] == "221" {
				break
			}
		}
		s.stop()
		if n := h.counted("Reset"); n != c.want {
			t.Errorf("%s: Reset called %d times, want %d", c.name, n, c.want)
		}
	}
}
