package smtpserver

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

var loopbacks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

const (
	proxyLine = "PROXY TCP4 192.0.2.1 203.0.113.5 56224 25\r\n"
	localV2   = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// TestProxied: the client is who the proxy says, for the handler, the limits and the
// facts.
func TestProxied(t *testing.T) {
	h := &scripted{}
	var recorded mailtest.Facts
	s := start(t, Options{ProxyFrom: loopbacks, MaxConnectionsPerClient: 1, Record: recorded.Record}, h)
	c := s.dial()
	c.send(proxyLine + "EHLO client.test\r\n")
	c.open2()
	c.send("EXPN joe\r\n")
	c.expect("502 5.5.1 Command not implemented")
	second := s.dial()
	second.send(proxyLine)
	second.expect("421 4.7.0 Too many connections from 192.0.2.1, try again later")
	other := s.dial()
	other.send(strings.Replace(proxyLine, "192.0.2.1", "192.0.2.2", 1))
	other.expect("220 mx.test ESMTP Postern")
	for _, o := range []mail.Origin{h.origins[0], h.origins[1], *recorded.All()[0].Origin} {
		if o.Client.String() != "192.0.2.1:56224" || o.Local.String() != "203.0.113.5:25" || o.Proxy.Addr() != loopback || o.Proxy.Port() == 0 {
			t.Errorf("origin %+v", o)
		}
	}
}

// open2 reads the greeting and the reply to an EHLO that was said already.
func (c *client) open2() {
	c.t.Helper()
	c.expect("220 mx.test ESMTP Postern")
	for line := ""; !strings.HasPrefix(line, "250 "); {
		var err error
		if line, err = c.br.ReadString('\n'); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestProxySpeaksForItself when it only looks whether the server is there.
func TestProxySpeaksForItself(t *testing.T) {
	for _, header := range []string{localV2, "PROXY UNKNOWN\r\n"} {
		h := &scripted{}
		s := start(t, Options{ProxyFrom: loopbacks}, h)
		c := s.dial()
		c.send(header + "QUIT\r\n")
		c.expect("220 mx.test ESMTP Postern", "221 2.0.0 mx.test closing connection")
		c.expectEnd()
		if o := h.origins[0]; o.Client != o.Proxy || o.Client.Addr() != loopback {
			t.Errorf("origin %+v", o)
		}
	}
}

// TestProxyFromStrangers: a header from elsewhere is no command, and changes nothing.
func TestProxyFromStrangers(t *testing.T) {
	for _, from := range [][]netip.Prefix{nil, {netip.MustParsePrefix("192.0.2.0/24")}} {
		h := &scripted{}
		s := start(t, Options{ProxyFrom: from}, h)
		c := s.dial()
		c.send(proxyLine + "EHLO client.test\r\n")
		c.expect("220 mx.test ESMTP Postern", "500 5.5.1 Command not recognized")
		c.send("QUIT\r\n")
		c.br.ReadString('\n')
		if o := h.origins[0]; o.Client.Addr() != loopback || o.Proxy.IsValid() {
			t.Errorf("origin %+v", o)
		}
		c = s.dial()
		c.send(localV2)
		c.expect("220 mx.test ESMTP Postern", "500 5.5.2 Not a command: a verb of letters is expected")
	}
}

// TestProxyWithoutHeader: from a proxy a header is required. What is wrong is the
// proxy's, so that the client may come again.
func TestProxyWithoutHeader(t *testing.T) {
	for _, said := range []string{"EHLO client.test\r\n", "PROXY TCP4 1 2 3 4\r\n", strings.Replace(localV2, "\x20", "\x29", 1), strings.Repeat("P", 5000), "\x16\x03\x01\x00\x05hello"} {
		for _, implicit := range []bool{false, true} {
			h := &scripted{}
			var recorded mailtest.Facts
			s := start(t, Options{ProxyFrom: loopbacks, TLS: testTLS(t), Implicit: implicit, Record: recorded.Record}, h)
			c := s.dial()
			c.send(said)
			if !implicit {
				c.expect("421 4.3.5 mx.test expects a PROXY header from 127.0.0.1")
			}
			if rest, _ := io.ReadAll(c.br); len(rest) > 0 {
				t.Errorf("%.20q: server says %q", said, rest)
			}
			s.stop()
			if len(h.calls) > 0 || len(recorded.All()) != 1 || recorded.All()[0].Reply.Code != 421 {
				t.Errorf("%.20q: calls %q, facts %+v", said, h.calls, recorded.All())
			}
		}
	}
}

// TestProxyIsSlow: a header has ten seconds, however it trickles in.
func TestProxyIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		s := New(Options{Hostname: "mx.test", ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, &scripted{})
		begin := time.Now()
		var both sync.WaitGroup
		defer both.Wait()
		both.Go(func() { s.serve(context.Background(), fromLoopback{far}) })
		both.Go(func() {
			for _, b := range []byte(proxyLine) {
				if _, err := near.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		said, _ := io.ReadAll(near)
		if took := time.Since(begin); took != proxyTimeout || !strings.HasPrefix(string(said), "421 4.3.5 ") {
			t.Errorf("after %v the server says %q", took, said)
		}
	})
}

// fromLoopback is a connection that seems to come from this host.
type fromLoopback struct{ net.Conn }

func (fromLoopback) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1000}
}

// TestProxyBeforeTLS: with implicit TLS the header stands before the handshake, also
// in one packet with it.
func TestProxyBeforeTLS(t *testing.T) {
	h := &scripted{}
	s := start(t, Options{ProxyFrom: loopbacks, TLS: testTLS(t), Implicit: true}, h)
	for _, together := range []bool{false, true} {
		c := s.dial()
		conn := net.Conn(&prefixed{Conn: c.Conn, prefix: proxyLine})
		if !together {
			c.send(proxyLine)
			conn = c.Conn
		}
		tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		c = newClient(t, tc)
		c.expect("220 mx.test ESMTP Postern")
		c.send("QUIT\r\n")
		c.expect("221 2.0.0 mx.test closing connection")
		c.expectEnd()
	}
	for _, o := range h.origins {
		if o.Client.String() != "192.0.2.1:56224" || o.TLS == nil {
			t.Errorf("origin %+v", o)
		}
	}
}

// prefixed writes something before the first that is written.
type prefixed struct {
	net.Conn
	prefix string
}

func (p *prefixed) Write(b []byte) (int, error) {
	n := len(p.prefix)
	written, err := p.Conn.Write(append([]byte(p.prefix), b...))
	p.prefix = ""
	return max(0, written-n), err
}

func TestIsProxy(t *testing.T) {
	o := Options{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fe80::/10")}}
	for client, want := range map[string]bool{"192.0.2.7": true, "192.0.2.8": false, "fe80::1%eth0": true, "2001:db8::1": false} {
		if got := o.isProxy(netip.MustParseAddr(client)); got != want {
			t.Errorf("%s: %v", client, got)
		}
	}
	if o.isProxy(netip.Addr{}) {
		t.Error("a user of this host is a proxy")
	}
}

// TestProxiesThatWait have no place yet, and there are only so many of them.
func TestProxiesThatWait(t *testing.T) {
	s := start(t, Options{ProxyFrom: loopbacks, MaxConnections: 1}, &scripted{})
	first, second := s.dial(), s.dial()
	for s.Connections() < 2 {
		first.SetReadDeadline(time.Now().Add(time.Millisecond))
		first.br.Peek(1)
	}
	first.SetReadDeadline(time.Now().Add(patience))
	s.dial().expect("421 4.3.2 mx.test has too many connections, try again later")
	second.send(proxyLine)
	second.expect("220 mx.test ESMTP Postern")
	first.send(proxyLine)
	first.expect("421 4.3.2 mx.test has too many connections, try again later")
}
