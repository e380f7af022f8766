package smtpserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtp"
)

const toContent = `
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<ann@example.net>
	C: DATA
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 354 End data with <CR><LF>.<CR><LF>
`

// smuggling are endings that some servers take for the end of data, though
// they are none. What follows them would be commands of an attacker.
var smuggling = []string{
	"\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r\n\x00.\r\n",
	"\r\n.\x00\r\n", "\r\x00\n.\r\n", "\r\n.\r\r\n", "\r\n.\r\x00\n", "\r\r\n.\n", "\n\n.\n\n", "\r\n..\r\n", "\r\n. \r\n", "\r\n .\r\n",
}

// TestSmuggling sends each ending with the commands of another message
// behind it, cut in two at every place. In both modes there is one message
// and one reply.
func TestSmuggling(t *testing.T) {
	const inner = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<ann@example.net>\r\nDATA\r\nsmuggled"
	for _, newlines := range []smtp.Newlines{smtp.NewlinesRepair, smtp.NewlinesRefuse} {
		h := &scripted{}
		o := Options{Newlines: func(mail.Origin) smtp.Newlines { return newlines }, MaxErrors: 1 << 20}
		c := start(t, o, h).dial().open()
		for _, ending := range smuggling {
			message := "begin" + ending + inner
			for cut := range len(ending) + 1 {
				before := len(h.messages)
				c.play(toContent)
				at := len("begin") + cut
				c.send(message[:at])
				c.send(message[at:] + "\r\n.\r\nNOOP\r\n")
				reply, err := c.br.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				c.expect("250 2.0.0 Ok")
				bare := strings.ContainsAny(strings.ReplaceAll(message, "\r\n", ""), "\r\n\x00")
				switch refused := bare && newlines == smtp.NewlinesRefuse; {
				case refused && !strings.HasPrefix(reply, "550 5.6.0 "):
					t.Errorf("%q: %q, want 550 5.6.0", ending, reply)
				case !refused && (!strings.HasPrefix(reply, "250 ") || len(h.messages) != before+1):
					t.Errorf("%q: %q and %d messages, want one", ending, reply, len(h.messages)-before)
				case !refused && !strings.Contains(h.messages[before], "evil@example.com"):
					t.Errorf("%q: the message ends early: %q", ending, h.messages[before])
				}
			}
		}
		for _, m := range h.mails {
			if m.Envelope.From.Local == "evil" {
				t.Fatal("a message was smuggled in")
			}
		}
	}
}

func TestOversized(t *testing.T) {
	h := &scripted{}
	c := start(t, Options{MaxSize: 1000, MaxErrors: 50}, h).dial().open()
	for size, want := range map[int]string{
		998:     "250 2.0.0 Kept 1000 octets",
		999:     "552 5.3.4 The message is larger than 1000 octets",
		500_000: "552 5.3.4 The message is larger than 1000 octets",
	} {
		c.play(toContent)
		c.send(strings.Repeat("x", size) + "\r\n.\r\nNOOP\r\n")
		c.expect(want, "250 2.0.0 Ok")
	}
}

// TestFarOversized: dropping content has an end, too. The reply is one upon
// which no client tries again, even when it is the last error allowed.
func TestFarOversized(t *testing.T) {
	var f mailtest.Facts
	c := start(t, Options{MaxSize: 1000, MaxErrors: 1, Record: f.Record}, &scripted{}).dial().open()
	c.play(toContent)
	c.send(strings.Repeat("NOOP\r\n", (drainSlack+lingerOctets/2)/len("NOOP\r\n")))
	c.expect("552 5.3.4 The message is far larger than allowed, closing connection")
	c.expectEnd()
	if all := f.All(); len(all) != 1 || all[0].Reply.Code != 552 {
		t.Errorf("facts %+v", all)
	}
}

// TestVerdicts: what the handler says against what the content was.
func TestVerdicts(t *testing.T) {
	readAll := func(r mail.Reply) func(context.Context, smtp.Content) mail.Reply {
		return func(_ context.Context, c smtp.Content) mail.Reply {
			io.Copy(io.Discard, c)
			return r
		}
	}
	readNothing := func(r mail.Reply) func(context.Context, smtp.Content) mail.Reply {
		return func(context.Context, smtp.Content) mail.Reply { return r }
	}
	ok := mail.NewReply(250, "2.0.0", "Fine")
	spam := mail.NewReply(550, "5.7.1", "Spam")
	const local = "451 4.3.0 Local error in processing, please try again later"
	const bare = "550 5.6.0 Bare CR or LF in the message: lines must end with CRLF"
	for _, c := range []struct {
		name    string
		handler func(context.Context, smtp.Content) mail.Reply
		content string
		want    string
	}{
		{"success", readAll(ok), "good\r\n", "250 2.0.0 Fine"},
		{"refusal", readAll(spam), "good\r\n", "550 5.7.1 Spam"},
		{"no reply at all", readAll(mail.Reply{}), "good\r\n", local},
		{"a reply without sense", readAll(mail.NewReply(354, "", "Go on")), "good\r\n", local},
		{"success although the content is bad", readAll(ok), "bad\n", bare},
		{"refusal of bad content", readAll(spam), "bad\n", "550 5.7.1 Spam"},
		{"success unread", readNothing(ok), "good\r\n", "250 2.0.0 Fine"},
		{"success unread although the content is bad", readNothing(ok), "bad\n\r\n", bare},
		{"refusal unread", readNothing(spam), "good\r\n", "550 5.7.1 Spam"},
		{"success unread although too large", readNothing(ok), strings.Repeat("x", 2000) + "\r\n",
			"552 5.3.4 The message is larger than 1000 octets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &scripted{content: c.handler}
			cl := start(t, Options{MaxSize: 1000}, h).dial().open()
			cl.play(toContent)
			cl.send(c.content + ".\r\n")
			if !strings.HasSuffix(c.content, "\r\n") {
				cl.send("\r\n.\r\n")
			}
			cl.send("MAIL FROM:<a@b>\r\nQUIT\r\n")
			cl.expect(c.want, "250 2.1.0 Ok", "221 2.0.0 mx.test closing connection")
		})
	}
}

// TestNoReply: a commit whose outcome is unknown is not answered.
func TestNoReply(t *testing.T) {
	h := &scripted{}
	h.content = func(_ context.Context, c smtp.Content) mail.Reply {
		io.Copy(io.Discard, c)
		return mail.Reply{Code: mail.NoReply}
	}
	c := start(t, Options{}, h).dial().open()
	c.play(toContent + `
	C: .
	S.
	`)
}

func TestConnectionLostInContent(t *testing.T) {
	seen := make(chan error, 1)
	h := &scripted{}
	h.content = func(_ context.Context, c smtp.Content) mail.Reply {
		_, err := io.ReadAll(c)
		seen <- err
		return mail.NewReply(250, "2.0.0", "Fine")
	}
	var f mailtest.Facts
	s := start(t, Options{Record: f.Record}, h)
	c := s.dial().open()
	c.play(toContent)
	c.send("half of a mess")
	c.Close()
	if r := mail.ReplyOf(<-seen); r.Code != 421 || r.Enhanced != "4.4.2" {
		t.Errorf("handler reads %v", r)
	}
	s.stop()
	if all := f.All(); len(all) != 1 || all[0].Reply.Code != 421 || all[0].Command != "end of data" {
		t.Errorf("facts %+v", all)
	}
}

// TestClientGone: what the handler hears of its client just before it
// commits, in clear and under TLS.
func TestClientGone(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, c := range []struct {
			name string
			then func(*client)
			want bool
		}{
			{"still there", func(*client) {}, false},
			{"closed", func(c *client) { c.Close() }, true},
			{"QUIT sent, then closed for writing", func(c *client) {
				c.send("QUIT\r\n")
				c.Conn.(interface{ CloseWrite() error }).CloseWrite()
			}, false},
			{"reset", func(c *client) {
				socket(c).SetLinger(0)
				socket(c).Close()
			}, true},
		} {
			t.Run(fmt.Sprintf("%s, TLS %v", c.name, secure), func(t *testing.T) {
				testClientGone(t, secure, c.then, c.want)
			})
		}
	}
}

// socket returns the socket below TLS.
func socket(c *client) *net.TCPConn {
	if tc, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		return tc.NetConn().(*net.TCPConn)
	}
	return c.Conn.(*net.TCPConn)
}

func testClientGone(t *testing.T, secure bool, then func(*client), want bool) {
	h := &scripted{}
	read, acted, gone := make(chan bool), make(chan bool), make(chan bool, 1)
	h.content = func(_ context.Context, c smtp.Content) mail.Reply {
		io.Copy(io.Discard, c)
		read <- true
		<-acted
		if !want {
			gone <- c.ClientGone()
			return mail.NewReply(250, "2.0.0", "Fine")
		}
		for !c.ClientGone() { // the end of a connection takes its time, even here
			if t.Context().Err() != nil {
				break
			}
		}
		gone <- c.ClientGone()
		return mail.NewReply(451, "4.4.2", "Gone")
	}
	s := start(t, Options{TLS: testTLS(t)}, h)
	c := s.dial().open()
	if secure {
		c = c.startTLS()
	}
	c.play(toContent)
	c.send(".\r\n")
	<-read
	then(c)
	acted <- true
	if got := <-gone; got != want {
		t.Errorf("gone %v, want %v", got, want)
	}
}

func TestClientGoneWithoutSocket(t *testing.T) {
	server, client := net.Pipe()
	client.Close()
	if hungUp(server) {
		t.Error("a pipe cannot tell")
	}
}
