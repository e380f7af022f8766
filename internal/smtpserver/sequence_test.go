package smtpserver

import (
	"context"
	"io"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtp"
)

// Faults that TestModel has found, each by itself.

// TestFactNamesNobodyOfBefore: a command that cannot be read has no address,
// and must not be recorded with that of the command before.
func TestFactNamesNobodyOfBefore(t *testing.T) {
	var f mailtest.Facts
	c := start(t, Options{Record: f.Record}, &scripted{}).dial().open()
	c.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<\xff@example.net>\r\nRSET\r\nMAIL FROM:<x\x01@example.com>\r\n")
	c.expect("250 2.1.0 Ok", "500 5.5.2 The command is not valid UTF-8", "250 2.0.0 Ok", "500 5.5.2 Control character in the command")
	all := f.All()
	if len(all) != 2 || len(all[0].To) > 0 || all[1].From != "" {
		t.Errorf("facts %+v", all)
	}
}

// TestFactOfRefusedChunkNamesTheSender, as that of a refused DATA does.
func TestFactOfRefusedChunkNamesTheSender(t *testing.T) {
	var f mailtest.Facts
	c := start(t, Options{Record: f.Record}, &scripted{}).dial().open()
	c.send("MAIL FROM:<joe@example.com>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
	c.expect("250 2.1.0 Ok", "554 5.5.1 No valid recipients", "250 2.0.0 Ok")
	if all := f.All(); len(all) != 1 || all[0].From != "<joe@example.com>" {
		t.Errorf("facts %+v", all)
	}
}

// TestOnly354LetsContentCome: any other 3xx is nonsense, and no client knows
// what to do with it.
func TestOnly354LetsContentCome(t *testing.T) {
	h := &scripted{replies: map[string]mail.Reply{"Data": mail.NewReply(334, "", "Go on")}}
	c := start(t, Options{}, h).dial().open()
	c.play(`
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<ann@example.net>
	C: DATA
	C: NOOP
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 451 4.3.0 Local error in processing, please try again later
	S: 250 2.0.0 Ok
	`)
}

// TestOtherProtocolBetweenChunks ends the session, as it does elsewhere: a client
// whose content is longer than it said is out of step, and what it sends may
// have been written by anybody.
func TestOtherProtocolBetweenChunks(t *testing.T) {
	h := &scripted{}
	c := start(t, Options{}, h).dial().open()
	c.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.net>\r\nBDAT 2\r\n\r\nSubject: hi\r\nRSET\r\n" +
		"MAIL FROM:<evil@example.com>\r\n")
	c.expect("250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.0.0 2 octets received", "554 5.5.1 This is an SMTP server")
	c.expectEnd()
	if len(h.messages) > 0 || len(h.mails) > 1 {
		t.Errorf("messages %q, mails %+v", h.messages, h.mails)
	}
}

// TestHangUpOverMessageGivenUp: a handler that hangs up is obeyed although the
// client no longer waits for its answer: its store may have failed.
func TestHangUpOverMessageGivenUp(t *testing.T) {
	h := &scripted{}
	h.content = func(_ context.Context, c smtp.Content) mail.Reply {
		io.Copy(io.Discard, c)
		return mail.Reply{Code: mail.NoReply}
	}
	c := start(t, Options{}, h).dial().open()
	c.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.net>\r\nBDAT 2\r\nHiRSET\r\nNOOP\r\n")
	c.expect("250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.0.0 2 octets received")
	c.expectEnd()
}

// TestHangUpBeforeChunk is at once, and without a word: the content is not waited
// for, and that it would be too large is not said.
func TestHangUpBeforeChunk(t *testing.T) {
	h := &scripted{replies: map[string]mail.Reply{"Data": {Code: mail.NoReply}}}
	for _, size := range []string{"1000", "2000000000"} {
		c := start(t, Options{}, h).dial().open()
		c.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.net>\r\nBDAT " + size + "\r\n")
		c.expect("250 2.1.0 Ok", "250 2.1.5 Ok")
		c.expectEnd()
	}
}

// TestCommandsAreVerbs: whatever is a command here is one of SMTP, or facts would not
// name it behind AUTH.
func TestCommandsAreVerbs(t *testing.T) {
	for _, c := range commands {
		if !smtp.IsVerb(c.verb) {
			t.Errorf("%s is none of package smtp", c.verb)
		}
	}
}
