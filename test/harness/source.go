package harness

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Outcome is what became of a submission, as its source saw it.
type Outcome int

// The outcomes.
const (
	Accepted Outcome = iota // 250 to the end of data
	Refused                 // another reply, to any command
	Unknown                 // sent whole, and no reply came
	Torn                    // the connection ended before it was sent whole
)

// Client is one SMTP connection to a relay. It sends commands one by one, as
// a simple application does.
type Client struct {
	conn   net.Conn
	br     *bufio.Reader
	wire   []byte
	unbind func() bool
}

// Dial connects, and reads the greeting and the reply to EHLO. The connection
// is cut when ctx ends.
func Dial(ctx context.Context, addr string) (*Client, error) {
	return (&Source{Addr: addr}).connect(ctx)
}

// connect makes one of the source's connections, up to the reply to EHLO.
func (s *Source) connect(ctx context.Context) (*Client, error) {
	var d net.Dialer
	if s.From != nil {
		d.LocalAddr = &net.TCPAddr{IP: s.From}
	}
	conn, err := d.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, br: bufio.NewReader(conn)}
	c.unbind = context.AfterFunc(ctx, func() { conn.Close() })
	if err := c.greet(ctx, s.TLS); err != nil {
		c.drop()
		return nil, err
	}
	return c, nil
}

// greet reads the greeting and says EHLO; with a configuration, once more
// under TLS (RFC 3207 4.2).
func (c *Client) greet(ctx context.Context, config *tls.Config) error {
	const hello = "EHLO source.example"
	if err := c.expect("220", ""); err != nil {
		return err
	}
	if err := c.expect("250", hello); err != nil || config == nil {
		return err
	}
	if err := c.expect("220", "STARTTLS"); err != nil {
		return err
	}
	encrypted := tls.Client(c.conn, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return err
	}
	c.conn, c.br = encrypted, bufio.NewReader(encrypted)
	return c.expect("250", hello)
}

// Close says QUIT and closes the connection.
func (c *Client) Close() error {
	defer c.drop()
	return c.expect("221", "QUIT")
}

// drop closes the connection without a word.
func (c *Client) drop() {
	c.unbind()
	c.conn.Close()
}

// Send submits a message. After any other outcome than Accepted the error
// says why, and the connection is of no further use.
func (c *Client) Send(m *Message) (Outcome, error) {
	for _, command := range envelope(m) {
		if err := c.expect("25", command); err != nil {
			return before(err), err
		}
	}
	if err := c.expect("354", "DATA"); err != nil {
		return before(err), err
	}
	c.wire = m.wire(c.wire)
	if _, err := c.conn.Write(c.wire[:len(c.wire)-m.Short]); err != nil {
		return Torn, err
	}
	if m.Short > 0 {
		return Torn, c.conn.Close()
	}
	err := c.expect("250", "")
	if err == nil {
		return Accepted, nil
	}
	if _, replied := err.(*replyError); replied {
		return Refused, err
	}
	return Unknown, err
}

// before tells what an error before the content means.
func before(err error) Outcome {
	if _, replied := err.(*replyError); replied {
		return Refused
	}
	return Torn
}

// envelope returns the commands that come before DATA.
func envelope(m *Message) []string {
	mail := "MAIL FROM:<" + m.From + ">"
	if m.eightBit() {
		mail += " BODY=8BITMIME"
	}
	if m.UTF8 {
		mail += " SMTPUTF8"
	}
	commands := []string{withOptions(mail, m.Options)}
	for i, to := range m.To {
		options := ""
		if i < len(m.ToOptions) {
			options = m.ToOptions[i]
		}
		commands = append(commands, withOptions("RCPT TO:<"+to+">", options))
	}
	return commands
}

func withOptions(command, options string) string {
	if options == "" {
		return command
	}
	return command + " " + options
}

// replyError is a reply other than the one that was hoped for.
type replyError struct{ command, reply string }

func (e *replyError) Error() string { return fmt.Sprintf("%q was answered %q", e.command, e.reply) }

// expect sends a command, unless it is empty, and reads a reply, which must
// begin with code.
func (c *Client) expect(code, command string) error {
	if command != "" {
		if _, err := c.conn.Write([]byte(command + "\r\n")); err != nil {
			return err
		}
	}
	for {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if !strings.HasPrefix(string(line), code) {
			return &replyError{command, strings.TrimSpace(string(line))}
		}
		return nil
	}
}

// Source submits messages on several sessions at once.
type Source struct {
	Addr     string
	Sessions int
	// From is the address that the relay sees; nil: whatever the system
	// chooses.
	From net.IP
	// TLS has each connection go on under TLS, after STARTTLS; nil: it stays
	// in clear.
	TLS *tls.Config
	// Keep keeps a connection for all messages of a session; otherwise each
	// message has its own.
	Keep bool
	// Redial makes a session go on with a new connection after one was lost
	// or could not be made. Otherwise that ends Run.
	Redial bool
	// Next returns the next message, or nil when there is none. Done is told
	// what became of it; it may be nil. Both are called by all sessions.
	Next func() *Message
	Done func(*Message, Outcome, error)
}

// Run submits until Next has no more. It fails when ctx ends, and, unless
// Redial is set, with the first submission that is not accepted.
func (s *Source) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sessions sync.WaitGroup
	for range s.Sessions {
		sessions.Go(func() {
			if err := s.session(ctx); err != nil {
				cancel(err)
			}
		})
	}
	sessions.Wait()
	return context.Cause(ctx)
}

func (s *Source) session(ctx context.Context) error {
	var c *Client
	for m := s.Next(); m != nil; m = s.Next() {
		if c == nil {
			var err error
			if c, err = s.dial(ctx); err != nil {
				return err
			}
		}
		outcome, err := c.Send(m)
		if s.Done != nil {
			s.Done(m, outcome, err)
		}
		switch {
		case outcome != Accepted && !s.Redial:
			c.drop()
			return fmt.Errorf("message %s: %w", m.ID, err)
		case outcome != Accepted:
			c.drop()
			c = nil
		case !s.Keep:
			if err := c.Close(); err != nil && !s.Redial {
				return err
			}
			c = nil
		}
	}
	if c == nil {
		return nil
	}
	if err := c.Close(); !s.Redial {
		return err
	}
	return nil
}

// redialEvery is the pause between attempts to reach a relay that is down.
const redialEvery = 10 * time.Millisecond

func (s *Source) dial(ctx context.Context) (*Client, error) {
	for {
		c, err := s.connect(ctx)
		if err == nil || !s.Redial {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the last attempt to connect: %w", ctx.Err(), err)
		case <-time.After(redialEvery):
		}
	}
}
