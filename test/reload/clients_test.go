package reload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

// ledger is what was sent and what arrived, by id.
type ledger struct {
	mu           sync.Mutex
	number       int
	acknowledged map[string]bool
	arrived      map[string]int
	pool         *x509.CertPool // the certificates that were issued
}

func newLedger() *ledger {
	return &ledger{acknowledged: make(map[string]bool), arrived: make(map[string]int), pool: x509.NewCertPool()}
}

func (l *ledger) newID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	return fmt.Sprint(l.number)
}

func (l *ledger) acknowledge(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged[id] = true
}

func (l *ledger) arrive(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived[id]++
}

func (l *ledger) trust(c *x509.Certificate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pool.AddCert(c)
}

// trusted is the configuration of a client, which trusts what has been issued by the time of its
// handshake: the certificate may be replaced while it connects.
func (l *ledger) trusted() *tls.Config {
	return &tls.Config{ServerName: hostname, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: l.pool, DNSName: hostname})
		return err
	}}
}

// compare wants everything that was acknowledged to have arrived once, and
// nothing else to have arrived. It returns how much that is.
func (l *ledger) compare(t *testing.T) int {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.acknowledged {
		if n := l.arrived[id]; n != 1 {
			t.Errorf("message %s was acknowledged and arrived %d times", id, n)
		}
	}
	for id := range l.arrived {
		if !l.acknowledged[id] {
			t.Errorf("message %s arrived and was not acknowledged", id)
		}
	}
	return len(l.acknowledged)
}

// rounds tells those who wait of the end of each reload.
type rounds struct {
	mu    sync.Mutex
	over  chan struct{}
	ended bool
}

func newRounds() *rounds { return &rounds{over: make(chan struct{})} }

// next is closed when the next reload is over, and after the last one always.
func (r *rounds) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

func (r *rounds) advance() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.over)
	r.over = make(chan struct{})
}

func (r *rounds) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	close(r.over)
}

func (r *rounds) done() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// client is a session with the server under test.
type client struct {
	*textproto.Conn
	nc     net.Conn
	unbind func() bool
}

// dial connects and goes as far as EHLO. The connection is cut when ctx ends.
// errNotGreeted says that it did not come so far.
func dial(ctx context.Context, address string) (*client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, errNotGreeted{err}
	}
	c := &client{Conn: textproto.NewConn(nc), nc: nc, unbind: context.AfterFunc(ctx, func() { nc.Close() })}
	if _, _, err := c.ReadResponse(220); err != nil {
		c.drop()
		return nil, errNotGreeted{err}
	}
	return c, c.hello()
}

type errNotGreeted struct{ error }

func (e errNotGreeted) Unwrap() error { return e.error }

func (c *client) drop() {
	c.unbind()
	c.nc.Close()
}

func (c *client) hello() error { return c.say(250, "EHLO client.example") }

func (c *client) say(code int, command string) error {
	if err := c.PrintfLine("%s", command); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if _, _, err := c.ReadResponse(code); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

func (c *client) startTLS(config *tls.Config) error {
	if err := c.say(220, "STARTTLS"); err != nil {
		return err
	}
	tc := tls.Client(c.nc, config)
	if err := tc.Handshake(); err != nil {
		return err
	}
	c.nc, c.Conn = tc, textproto.NewConn(tc)
	return c.hello()
}

func (c *client) certificate() *x509.Certificate {
	return c.nc.(*tls.Conn).ConnectionState().PeerCertificates[0]
}

func (c *client) quit() error {
	defer c.drop()
	return c.say(221, "QUIT")
}

// send sends a message, and calls between in the midst of its content.
func (r *rig) send(c *client, to string, between func()) error {
	id := r.newID()
	for _, command := range []string{"MAIL FROM:<me@source.example>", "RCPT TO:<" + to + ">"} {
		if err := c.say(250, command); err != nil {
			return err
		}
	}
	if err := c.say(354, "DATA"); err != nil {
		return err
	}
	head, tail := string(harness.Header(id, "me@source.example", to)), string(harness.Text(2000))
	for _, part := range []string{head, tail} {
		if err := c.PrintfLine("%s", strings.TrimSuffix(part, "\r\n")); err != nil {
			return err
		}
		between()
	}
	if err := c.say(250, "."); err != nil {
		return fmt.Errorf("message %s: %w", id, err)
	}
	r.acknowledge(id)
	return nil
}
