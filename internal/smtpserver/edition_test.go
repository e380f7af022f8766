package smtpserver

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
)

const reconfigured = "421 4.3.2 mx.test has new settings, connect again"

// serving is a server on pipes.
type serving struct {
	*Server
	clients chan net.Conn
	done    chan error
	t       *testing.T
}

func servePipes(t *testing.T, o Options, h Handler) *serving {
	s := &serving{New(o, h), make(chan net.Conn, 1), make(chan error, 1), t}
	l := &pipeListener{conns: s.clients, closed: make(chan struct{})}
	go func() { s.done <- s.Serve(context.Background(), l) }()
	return s
}

func (s *serving) dial() *client {
	server, nc := net.Pipe()
	s.clients <- server
	return newClient(s.t, nc)
}

// end expects that no session and no timer is left.
func (s *serving) end() {
	s.t.Helper()
	if err := s.Shutdown(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	if err := <-s.done; err != nil {
		s.t.Error(err)
	}
	if n := s.Connections(); n != 0 {
		s.t.Errorf("%d connections are left", n)
	}
}

// TestChange: sessions that run keep the options they began with for ten
// minutes, and end between two transactions; new ones have the new options.
func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := &scripted{}, &scripted{}
		s := servePipes(t, Options{Hostname: "mx.test", CommandTimeout: time.Hour, DataTimeout: time.Hour}, old)
		idle, busy := s.dial().open(), s.dial()
		beginData(busy)

		changed := time.Now()
		s.Change(Options{Hostname: "mx.test", MaxRecipients: 1, CommandTimeout: time.Hour, TLS: &tls.Config{}}, next)
		later := s.dial().open()
		time.Sleep(lastOfOld - time.Second)
		idle.play(`
			C: VRFY x
			S: 252 2.5.0 Cannot verify the address, send mail to find out
			C: STARTTLS
			S: 502 5.5.1 STARTTLS is not offered here
		`)
		if n := old.counted("VRFY"); n != 1 {
			t.Errorf("the old handler was asked %d times, want 1", n)
		}
		idle.expect(reconfigured)
		if waited := time.Since(changed); waited != lastOfOld {
			t.Errorf("the idle session ended after %v", waited)
		}
		idle.expectEnd()

		time.Sleep(time.Minute) // a message may go on
		busy.send("Subject: last\r\n.\r\n")
		busy.expect("250 2.0.0 Kept 15 octets", reconfigured)
		busy.expectEnd()

		later.play(`
			C: VRFY x
			S: 252 2.5.0 Cannot verify the address, send mail to find out
		`)
		if n := next.counted("VRFY"); n != 1 {
			t.Errorf("the new handler was asked %d times, want 1", n)
		}
		go later.expect(stopping)
		s.end()
	})
}

// TestChangeAgain: each change has its own ten minutes, and one that replaces
// options which nobody has starts no timer.
func TestChangeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, Options{Hostname: "mx.test", CommandTimeout: time.Hour}, &scripted{})
		first := s.dial().open()
		s.Change(Options{Hostname: "mx.test", CommandTimeout: time.Hour}, &scripted{})
		second := s.dial().open()
		for i := range 3 {
			time.Sleep(time.Minute)
			replaced := s.current
			s.Change(Options{Hostname: "mx.test", CommandTimeout: time.Hour}, &scripted{})
			if inUse := i == 0; (replaced.expiry != nil) != inUse {
				t.Errorf("options replaced by change %d: there is a timer: %t", i, !inUse)
			}
		}
		began := time.Now()
		first.expect(reconfigured)
		second.expect(reconfigured)
		if waited := time.Since(began); waited != lastOfOld-2*time.Minute { // it was replaced two minutes before
			t.Errorf("the second ended after %v", waited)
		}
		first.expectEnd()
		second.expectEnd()
		s.end()
	})
}

// TestChangeOfLimits: a limit that was lowered refuses new clients, and ends
// no session.
func TestChangeOfLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, Options{Hostname: "mx.test", CommandTimeout: time.Hour}, &scripted{})
		first, second := s.dial().open(), s.dial().open()
		s.Change(Options{Hostname: "mx.test", MaxConnections: 1}, &scripted{})
		for _, c := range []*client{first, second} {
			c.play(`
				C: MAIL FROM:<me@x.test>
				S: 250 2.1.0 Ok
				C: RSET
				S: 250 2.0.0 Ok
			`)
		}
		third := s.dial()
		third.expect("421 4.3.2 mx.test has too many connections, try again later")
		third.expectEnd()
		go first.expect(stopping)
		go second.expect(stopping)
		s.end()
	})
}

// TestRelease: no client comes in any more; those that are there have ten
// minutes, one that was accepted just before included.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, Options{Hostname: "mx.test", CommandTimeout: time.Hour}, &scripted{})
		c := s.dial().open()
		s.Release()
		s.Release()
		synctest.Wait()
		select {
		case s.clients <- nil:
		default:
			t.Fatal("the pipe is full: a client waits")
		}
		if len(s.clients) != 1 {
			t.Error("a client was accepted")
		}
		late := &conn{}
		s.join(late)
		if r := s.enter(late, &mail.Origin{}); !r.IsZero() {
			t.Errorf("a client that was accepted just before: %v", r)
		}
		if late.edition.expiry == nil {
			t.Error("it may stay for ever")
		}
		s.leave(late)
		c.expect(reconfigured)
		c.expectEnd()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
