package smtpserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// proxy is a handler that relays each command to another server and answers
// with that server's replies.
type proxy struct {
	upstream string // its address
}

func (p proxy) Begin(ctx context.Context, _ mail.Origin) (Session, mail.Reply) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", p.upstream)
	if err != nil {
		return nil, mail.NewReply(421, "4.4.1", "No answer from upstream")
	}
	s := &proxySession{nc: nc, br: bufio.NewReader(nc)}
	return s, s.reply()
}

type proxySession struct {
	nc net.Conn
	br *bufio.Reader
}

func (s *proxySession) reply() mail.Reply {
	r, err := smtp.ReadReply(s.br, 64<<10)
	if err != nil {
		return mail.NewReply(421, "4.4.2", "Upstream lost")
	}
	return r
}

func (s *proxySession) ask(command string) mail.Reply {
	fmt.Fprintf(s.nc, "%s\r\n", command)
	return s.reply()
}

func (s *proxySession) Hello(_ context.Context, o mail.Origin) mail.Reply {
	if o.Protocol == smtp.ProtocolSMTP {
		return s.ask("HELO " + o.Hello)
	}
	return s.ask("EHLO " + o.Hello)
}

func (s *proxySession) Mail(_ context.Context, m smtp.Mail) mail.Reply {
	return s.ask(smtp.FormatMail(m.Envelope, m.Size, smtp.Extensions{HasSize: true, DSN: true}))
}

func (s *proxySession) Rcpt(_ context.Context, r smtp.Rcpt) mail.Reply {
	return s.ask(smtp.FormatRcpt(r.Recipient, smtp.Extensions{DSN: true}))
}

func (s *proxySession) Data(context.Context) mail.Reply { return s.ask("DATA") }

func (s *proxySession) Content(_ context.Context, c smtp.Content) mail.Reply {
	bw := bufio.NewWriter(s.nc)
	dots := smtp.NewDotWriter(bw)
	if _, err := io.Copy(dots, c); err != nil {
		return mail.ReplyOf(err)
	}
	dots.Close()
	bw.Flush()
	return s.reply()
}

func (s *proxySession) Command(_ context.Context, c smtp.Command) mail.Reply {
	return s.ask(strings.TrimSuffix(c.Verb+" "+c.Args, " "))
}

func (s *proxySession) Reset() {}
func (s *proxySession) End()   { s.nc.Close() }

// upstream plays the other side of a dialogue: it waits for each "C:" line
// and sends the "S:" lines after it.
func upstream(t *testing.T, dialogue string) (addr string, done chan error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	done = make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer nc.Close()
		done <- playUpstream(nc, dialogue)
	}()
	return l.Addr().String(), done
}

func playUpstream(nc net.Conn, dialogue string) error {
	br := bufio.NewReader(nc)
	for line := range strings.Lines(dialogue) {
		line = strings.Trim(line, "\t\n")
		if text, found := strings.CutPrefix(line, "S: "); found {
			fmt.Fprintf(nc, "%s\r\n", text)
		}
		if text, found := strings.CutPrefix(line, "C: "); found {
			if got, err := br.ReadString('\n'); err != nil || got != text+"\r\n" {
				return fmt.Errorf("upstream hears %q, %v; want %q", got, err, text)
			}
		}
	}
	return nil
}

// TestProxy: every reply is that of another server, word for word. One
// dialogue is played at both ends.
func TestProxy(t *testing.T) {
	const dialogue = `
	S: 220-far.test ESMTP of another make
	S: 220 no UBE
	C: EHLO client.test
	S: 250-far.test at your service
	S: 250-XSPECIAL a b
	S: 250 SIZE 12345
	C: MAIL FROM:<joe@example.com> SIZE=20 RET=HDRS
	S: 250 2.1.5 sender fine
	C: RCPT TO:<ann@example.net> NOTIFY=NEVER
	S: 251 2.1.5 will forward to <anna@example.net>
	C: RCPT TO:<bob@example.net>
	S: 550-5.1.1 no bob
	S: 550 5.1.1 here
	C: XSPECIAL c
	S: 299 special
	C: VRFY ann
	S: 250 2.1.5 <ann@example.net>
	C: NOOP
	S: 250 still here
	C: DATA
	S: 354 give it to me
	C: Subject: hi
	C: 
	C: ..
	C: .
	S: 250-2.6.0 taken as 4711
	S: 250 2.6.0 thanks
	C: HELP
	S: 214-one
	S: 214 two
	C: RSET
	S: 250 flushed
	C: EXPN all
	S: 252 2.0.0 maybe
	C: QUIT
	S: 221 2.0.0 farewell
	`
	addr, done := upstream(t, dialogue)
	c := start(t, Options{}, proxy{addr}).dial()
	c.play(dialogue)
	c.expectEnd()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestProxyUpstreamLost: 421 of whatever origin ends the session.
func TestProxyUpstreamLost(t *testing.T) {
	addr, done := upstream(t, "S: 220 far.test\nC: EHLO client.test\n")
	c := start(t, Options{}, proxy{addr}).dial()
	c.play(`
	S: 220 far.test
	C: EHLO client.test
	S: 421 4.4.2 Upstream lost
	S.
	`)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
