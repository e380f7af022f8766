package smtpserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

const stopping = "421 4.3.2 mx.test is shutting down, try again later"

// TestShutdown: who waits is told to go, who is in a transaction may finish.
func TestShutdown(t *testing.T) {
	h := &scripted{}
	begun := make(chan bool, 1)
	h.content = func(ctx context.Context, c smtp.Content) mail.Reply {
		begun <- true
		return h.keep(ctx, c)
	}
	s := start(t, Options{}, h)
	greeted, idle, inMail, inData := s.dial(), s.dial().open(), s.dial().open(), s.dial().open()
	greeted.expect("220 mx.test ESMTP Postern")
	inMail.play(`
	C: MAIL FROM:<joe@example.com>
	S: 250 2.1.0 Ok
	`)
	inData.play(toContent)
	<-begun

	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	for _, c := range []*client{greeted, idle} {
		c.expect(stopping)
		c.expectEnd()
	}
	if _, err := net.Dial("tcp", s.addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new client gets %v, want a refused connection", err)
	}
	inData.send("Subject: last\r\n.\r\n")
	inData.expect("250 2.0.0 Kept 15 octets", stopping)
	inData.expectEnd()
	inMail.send("RSET\r\n")
	inMail.expect("250 2.0.0 Ok", stopping)
	inMail.expectEnd()
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if n := h.counted("End"); n != 4 {
		t.Errorf("%d sessions ended, want 4", n)
	}
}

// TestShutdownCuts: when its context ends, sessions are cut off, and their
// handlers told.
func TestShutdownCuts(t *testing.T) {
	h := &scripted{}
	begun, told := make(chan bool, 1), make(chan error, 1)
	h.content = func(ctx context.Context, c smtp.Content) mail.Reply {
		begun <- true
		_, err := io.ReadAll(c)
		<-ctx.Done()
		told <- ctx.Err()
		return mail.ReplyOf(err)
	}
	s := start(t, Options{}, h)
	c := s.dial().open()
	c.play(toContent)
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err != context.Canceled {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-told; err != context.Canceled {
		t.Errorf("handler: %v", err)
	}
	if n := h.counted("End"); n != 1 {
		t.Errorf("%d sessions ended, want 1", n)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &scripted{}
	s := New(Options{Hostname: "mx.test"}, h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := newClient(t, nc).open()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
	c.br.ReadByte()
	if n := h.counted("End"); n != 1 {
		t.Errorf("%d sessions ended, want 1", n)
	}
}

func TestServeAfterShutdown(t *testing.T) {
	s := New(Options{}, &scripted{})
	for range 2 {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
	l := &pipeListener{closed: make(chan struct{})}
	if err := s.Serve(context.Background(), l); err != nil {
		t.Error(err)
	}
	select {
	case <-l.closed:
	default:
		t.Error("the listener is still open")
	}
}

// TestEnterWhileStopping: a client that was accepted as the server began to
// stop is told so.
func TestEnterWhileStopping(t *testing.T) {
	s := New(Options{Hostname: "mx.test"}, &scripted{})
	s.beginStop()
	c := &conn{}
	s.join(c)
	if r := s.enter(c, &mail.Origin{Client: netip.AddrPortFrom(loopback, 1)}); r.String() != stopping {
		t.Errorf("enter: %v", r)
	}
	s.leave(c)
	if len(s.conns) != 0 || s.admitted != 0 || len(s.perClient) != 0 {
		t.Errorf("left behind: %d conns, %d admitted, %v", len(s.conns), s.admitted, s.perClient)
	}
}

// failing is a listener that fails a number of times before it serves.
type failing struct {
	*pipeListener
	left int
	at   []time.Time
}

func (l *failing) Accept() (net.Conn, error) {
	if l.left > 0 {
		l.left--
		l.at = append(l.at, time.Now())
		return nil, syscall.EMFILE
	}
	return l.pipeListener.Accept()
}

// TestAcceptErrors: no error of the listener but its end ends the server,
// and none makes it spin.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, nc := net.Pipe()
		l := &failing{&pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}, 12, nil}
		l.conns <- server
		s := New(Options{Hostname: "mx.test"}, &scripted{})
		done := make(chan error)
		begin := time.Now()
		go func() { done <- s.Serve(context.Background(), l) }()
		newClient(t, nc).expect("220 mx.test ESMTP Postern")
		nc.Close()
		if waited := time.Since(begin); waited < 4*time.Second || l.at[11].Sub(l.at[10]) != maxAcceptWait {
			t.Errorf("12 failures took %v", waited)
		}
		l.Close() // not by the server
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
	})
}

// TestPanic: a handler that panics ends its session alone, and no trace of
// it goes to the client.
func TestPanic(t *testing.T) {
	for _, method := range []string{"Begin", "Hello", "Mail", "Rcpt", "Data", "Content", "NOOP", "End"} {
		t.Run(method, func(t *testing.T) {
			var log logBuffer
			h := &scripted{}
			var once sync.Once
			h.called = func(call string) {
				if call == method {
					once.Do(func() { panic("secret of " + method) })
				}
			}
			s := start(t, Options{Logger: log.logger()}, h)
			c := s.dial()
			c.send("EHLO c\r\nNOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\nQUIT\r\n")
			said, _ := io.ReadAll(c.br)
			if !strings.HasSuffix(string(said), "421 4.3.0 mx.test: internal error, closing connection\r\n") ||
				strings.Contains(string(said), "secret") {
				t.Errorf("server says %q", said)
			}
			s.dial().open()
			if n := h.counted("End"); method != "Begin" && n != 1 {
				t.Errorf("End called %d times", n)
			}
			if !strings.Contains(log.String(), "secret of "+method) || !strings.Contains(log.String(), "harness_test.go") {
				t.Errorf("no trace in the log:\n%s", log.String())
			}
		})
	}
}

// TestBeginWithoutSession: a handler that accepts a client with nothing to
// serve it is mistaken; the client may come again.
func TestBeginWithoutSession(t *testing.T) {
	none := HandlerFunc(func(context.Context, mail.Origin) (Session, mail.Reply) { return nil, mail.Reply{} })
	c := start(t, Options{}, none).dial()
	c.expect("421 4.3.0 Local error in processing, please try again later")
	c.expectEnd()
}

// TestLogsCarryTheSession: every line of the log names the session.
func TestLogsCarryTheSession(t *testing.T) {
	var log logBuffer
	s := start(t, Options{Logger: log.logger(), MaxErrors: 2}, &scripted{})
	s.dial().play(`
	S: 220 mx.test ESMTP Postern
	C: XYZZY
	C: XYZZY
	S: 500 5.5.1 Command not recognized
	S: 421 4.7.0 mx.test: too many errors, closing connection
	S.
	`)
	s.stop()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 5 {
		t.Errorf("%d lines, want begin, two refusals, too many errors, end:\n%s", len(lines), log.String())
	}
	for _, line := range lines {
		if !strings.Contains(line, " session=") {
			t.Errorf("no session in %s", line)
		}
	}
}
