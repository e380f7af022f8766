package smtpserver

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
)

// TestLastReplyArrives: whatever a client sends behind the command that ends
// its session, it reads the reply and then the end, not a reset.
func TestLastReplyArrives(t *testing.T) {
	refused := &scripted{replies: map[string]mail.Reply{"Mail": mail.NewReply(421, "4.7.0", "Enough")}}
	for _, c := range []struct{ name, said, want string }{
		{"221", "QUIT\r\n", "221 2.0.0 mx.test closing connection"},
		{"421 of the handler", "MAIL FROM:<a@b>\r\n", "421 4.7.0 Enough"},
		{"421 after too many errors", "XYZZY\r\n", "421 4.7.0 mx.test: too many errors, closing connection"},
		{"501 to BDAT", "BDAT long LAST\r\n", "501 5.5.4 Syntax: BDAT size [LAST]"},
		{"552 to BDAT", "BDAT 1000000000 LAST\r\n", "552 5.3.4 The chunk is far larger than allowed, closing connection"},
		{"554", "POST / HTTP/1.1\r\n", "554 5.5.1 This is an SMTP server"},
		{"421 to a line without end", strings.Repeat("x", maxLongLine), "421 4.7.0 Endless line, closing connection"},
	} {
		for _, secure := range []bool{false, true} {
			name := c.name + " in clear"
			if secure {
				name = c.name + " under TLS"
			}
			t.Run(name, func(t *testing.T) {
				cl := start(t, Options{TLS: testTLS(t), MaxErrors: 1}, refused).dial().open()
				if secure {
					cl = cl.startTLS()
				}
				cl.send(c.said + strings.Repeat("x", lingerOctets/2))
				cl.expect(c.want)
				cl.expectEnd()
			})
		}
	}
}

// TestRefusedEarlyTalker: a client that is refused, but has sent its session
// already, reads why.
func TestRefusedEarlyTalker(t *testing.T) {
	held := make(chan bool)
	h := &scripted{replies: map[string]mail.Reply{"Begin": mail.NewReply(554, "5.7.1", "Not you")}}
	h.called = func(call string) {
		if call == "Begin" {
			<-held
		}
	}
	c := start(t, Options{}, h).dial()
	c.send("EHLO c\r\nMAIL FROM:<a@b>\r\n")
	close(held)
	c.expect("554 5.7.1 Not you")
	c.expectEnd()
}

// TestEndOfTLS: the end of the connection is announced under TLS as well, so
// that it cannot be taken for one that an attacker made.
func TestEndOfTLS(t *testing.T) {
	c := start(t, Options{TLS: testTLS(t)}, &scripted{}).dial().open()
	// The reply to STARTTLS is read through br, the records are not.
	raw := &recorder{Conn: c.Conn}
	c.Conn = raw
	// In TLS 1.3 an alert looks like data.
	c = c.handshake(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	c.send("QUIT\r\n")
	c.expect("221 2.0.0 mx.test closing connection")
	c.expectEnd()
	const alert = 21 // the content type
	var last byte
	for records := raw.read; len(records) >= 5; {
		last = records[0]
		records = records[min(len(records), 5+int(binary.BigEndian.Uint16(records[3:5]))):]
	}
	if last != alert {
		t.Errorf("the last record is of type %d, want an alert", last)
	}
}

// recorder keeps what is read.
type recorder struct {
	net.Conn
	read []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.read = append(r.read, p[:n]...)
	return n, err
}

// halfPipe is a pipe of which one direction can be closed, as of a socket.
type halfPipe struct{ net.Conn }

func (halfPipe) CloseWrite() error { return nil }

// TestLingerIsBounded: how long a connection outlives its session when the
// client neither closes nor stops to send.
func TestLingerIsBounded(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name string
		then func(*Server, *client) // after the last reply
		want time.Duration
	}{
		{"silent", func(*Server, *client) {}, lingerTime},
		{"closes", func(_ *Server, c *client) { time.Sleep(second); c.Close() }, second},
		{"sends little, late", func(_ *Server, c *client) { time.Sleep(second); c.send("x") }, lingerTime},
		{"sends all that is taken", func(_ *Server, c *client) { c.send(strings.Repeat("x", lingerOctets)) }, 0},
		{"the server stops", func(s *Server, _ *client) { time.Sleep(second); s.beginStop() }, second + lingerStopping},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Options{Hostname: "mx.test"}, &scripted{})
				cl, ended := quitting(t, s)
				begin := time.Now()
				c.then(s, cl)
				if waited := (<-ended).Sub(begin); waited != c.want {
					t.Errorf("ended after %v, want %v", waited, c.want)
				}
			})
		})
	}
}

// quitting serves a client up to the reply to QUIT, and tells when its
// connection ends.
func quitting(t *testing.T, s *Server) (*client, <-chan time.Time) {
	t.Helper()
	server, nc := net.Pipe()
	t.Cleanup(func() { nc.Close() })
	ended := make(chan time.Time, 1)
	go func() {
		s.serve(context.Background(), halfPipe{server})
		ended <- time.Now()
	}()
	c := newClient(t, nc)
	c.expect("220 mx.test ESMTP Postern")
	c.send("QUIT\r\n")
	c.expect("221 2.0.0 mx.test closing connection")
	return c, ended
}

// TestLingerWhileStopping: a session that ends because the server stops has
// the shorter time from the beginning.
func TestLingerWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, nc := net.Pipe()
		defer nc.Close()
		s := New(Options{Hostname: "mx.test"}, &scripted{})
		ended := make(chan time.Time, 1)
		begin := time.Now()
		go func() {
			s.serve(context.Background(), halfPipe{server})
			ended <- time.Now()
		}()
		c := newClient(t, nc)
		c.expect("220 mx.test ESMTP Postern")
		s.beginStop()
		c.expect(stopping)
		if waited := (<-ended).Sub(begin); waited != lingerStopping {
			t.Errorf("ended after %v", waited)
		}
	})
}

// TestLingerHoldsNoPlace: a client whose session is over is not counted, so
// that it may come again; but neither may such connections heap up.
func TestLingerHoldsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Hostname: "mx.test", MaxConnections: 1}, &scripted{})
		begin := time.Now()
		for _, want := range []time.Duration{lingerTime, lingerTime, 0} {
			_, ended := quitting(t, s)
			defer func() {
				if waited := (<-ended).Sub(begin); waited != want {
					t.Errorf("ended after %v, want %v", waited, want)
				}
			}()
			synctest.Wait()
		}
	})
}
