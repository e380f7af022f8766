package mailtest

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Sink is an SMTP server that takes every message and remembers it.
type Sink struct {
	*server
	options SinkOptions

	mu       sync.Mutex
	received []Received
	changed  chan struct{} // closed, and replaced, when a message has come
}

// SinkOptions are what a Sink offers.
type SinkOptions struct {
	// Keywords are the lines of the reply to EHLO; nil means PIPELINING,
	// SIZE, 8BITMIME, SMTPUTF8, DSN and ENHANCEDSTATUSCODES. STARTTLS is
	// added when TLS is set.
	Keywords []string
	// TLS is what STARTTLS uses; nil means that it is not offered.
	TLS *tls.Config
	// StartTLS is what is said to STARTTLS, as it stands, instead of starting it; empty: it
	// is started.
	StartTLS string
	// Passwords are those of the users that may send. Under TLS AUTH is
	// offered then, and MAIL refused without it.
	Passwords map[string]string
	// Tokens says what is wrong with the token of a user that may send; nil means that
	// none is taken. AUTH is offered as with Passwords.
	Tokens func(user, token string) error
	// Mechanisms are those of AUTH; nil means PLAIN and LOGIN, or OAUTHBEARER and XOAUTH2
	// with Tokens.
	Mechanisms []string
	// Address is where it listens; empty: at a free port of 127.0.0.1.
	Address string
	// Before is called before each command is answered, with its verb. It may wait, and
	// must not for longer than the context says. It may be nil.
	Before func(ctx context.Context, verb string)
	// AuthInClear offers AUTH without TLS, too.
	AuthInClear bool
}

// Received is a message that a Sink has taken.
type Received struct {
	// Mail and Rcpts are the commands as they came, without line ends.
	Mail  string
	Rcpts []string
	// Content is the message, without its added dots.
	Content []byte
	// Chunked says that it came by BDAT.
	Chunked bool
	// Connection is the number of its connection, 0 first.
	Connection int
	TLS        bool
	// User is who has proved that with AUTH.
	User string
}

// From returns what stood between the brackets of MAIL.
func (r Received) From() string { return path(r.Mail) }

// To returns what stood between the brackets of each RCPT.
func (r Received) To() []string {
	to := make([]string, len(r.Rcpts))
	for i, rcpt := range r.Rcpts {
		to[i] = path(rcpt)
	}
	return to
}

func path(command string) string {
	_, rest, _ := strings.Cut(command, "<")
	address, _, _ := strings.Cut(rest, ">")
	return address
}

// NewSink starts a sink that offers what SinkOptions says by default.
func NewSink(t testing.TB) *Sink {
	t.Helper()
	return NewSinkWith(t, SinkOptions{})
}

// NewSinkWith starts a sink.
func NewSinkWith(t testing.TB, o SinkOptions) *Sink {
	t.Helper()
	if o.Keywords == nil {
		o.Keywords = []string{"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"}
	}
	s := &Sink{options: o, changed: make(chan struct{})}
	connections := 0
	s.server = serveAt(t, "tcp", cmp.Or(o.Address, "127.0.0.1:0"), func(ctx context.Context, nc net.Conn) {
		s.mu.Lock()
		c := &sinkConn{ctx: ctx, sink: s, nc: nc, br: bufio.NewReader(nc), bw: bufio.NewWriter(nc), number: connections}
		connections++
		s.mu.Unlock()
		c.run()
	})
	return s
}

// Stop closes all connections and listens no more, as a server that is switched off.
func (s *Sink) Stop() { s.close() }

// Received returns the messages so far, in the order in which they came.
func (s *Sink) Received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// Wait waits until n messages have come, and returns all there are. It fails
// with the cause of ctx.
func (s *Sink) Wait(ctx context.Context, n int) ([]Received, error) {
	for {
		s.mu.Lock()
		received, changed := slices.Clone(s.received), s.changed
		s.mu.Unlock()
		if len(received) >= n {
			return received, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return received, context.Cause(ctx)
		}
	}
}

func (s *Sink) add(r Received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, r)
	close(s.changed)
	s.changed = make(chan struct{})
}

// sinkConn is one connection of a Sink.
type sinkConn struct {
	ctx     context.Context // ends with the test
	sink    *Sink
	nc      net.Conn
	br      *bufio.Reader
	bw      *bufio.Writer
	number  int
	tls     bool
	secured *tls.Conn // nil without tls
	user    string
	message Received
}

// run serves the connection until it ends. Replies are sent when there is no
// input left to answer (RFC 2920 3.2).
func (c *sinkConn) run() {
	c.reply("220 sink.example ESMTP")
	for {
		if c.br.Buffered() == 0 && c.bw.Flush() != nil {
			return
		}
		line, err := c.br.ReadString('\n')
		if err != nil {
			return
		}
		if !c.answer(strings.TrimRight(line, "\r\n")) {
			_ = c.bw.Flush()
			return
		}
	}
}

func (c *sinkConn) reply(line string) { _, _ = c.bw.WriteString(line + "\r\n") }

// answer answers a command. It returns false when the connection is to end.
func (c *sinkConn) answer(line string) bool {
	verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
	if before := c.sink.options.Before; before != nil {
		_ = c.bw.Flush() // what was answered is known while it waits; a failure shows with the next
		before(c.ctx, verb)
	}
	switch verb {
	case "EHLO":
		c.hello()
	case "AUTH":
		c.auth(line)
	case "MAIL":
		if c.sink.hasUsers() && c.user == "" {
			c.reply("530 5.7.0 Authentication required")
			break
		}
		c.message = Received{Mail: line, Connection: c.number, TLS: c.tls, User: c.user}
		c.reply("250 2.1.0 Ok")
	case "RCPT":
		c.message.Rcpts = append(c.message.Rcpts, line)
		c.reply("250 2.1.5 Ok")
	case "DATA":
		return c.data()
	case "BDAT":
		return c.chunk(line)
	case "STARTTLS":
		return c.startTLS()
	case "QUIT":
		c.reply("221 2.0.0 Bye")
		return false
	case "HELO", "RSET", "NOOP":
		c.reply("250 Ok")
	default:
		c.reply("500 5.5.2 Unknown command")
	}
	return true
}

func (c *sinkConn) hello() {
	lines := append([]string{"sink.example"}, c.sink.options.Keywords...)
	if (c.sink.options.TLS != nil || c.sink.options.StartTLS != "") && !c.tls {
		lines = append(lines, "STARTTLS")
	}
	if c.sink.hasUsers() && (c.tls || c.sink.options.AuthInClear) {
		lines = append(lines, "AUTH "+strings.Join(c.mechanisms(), " "))
	}
	for _, line := range lines[:len(lines)-1] {
		c.reply("250-" + line)
	}
	c.reply("250 " + lines[len(lines)-1])
}

func (c *sinkConn) data() bool {
	c.reply("354 Go ahead")
	if c.bw.Flush() != nil {
		return false
	}
	content, err := readContent(c.br)
	if err != nil {
		return false
	}
	c.message.Content = content
	c.sink.add(c.message)
	c.reply("250 2.0.0 Taken")
	return true
}

// chunk reads a chunk of content, which the last ends.
func (c *sinkConn) chunk(line string) bool {
	content, last, err := readChunk(c.br, line)
	if err != nil {
		return false
	}
	c.message.Content = append(c.message.Content, content...)
	if last {
		c.message.Chunked = true
		c.sink.add(c.message)
	}
	c.reply("250 2.0.0 Taken")
	return true
}

func (c *sinkConn) startTLS() bool {
	if said := c.sink.options.StartTLS; said != "" {
		c.reply(said)
		return true
	}
	c.reply("220 2.0.0 Ready")
	if c.bw.Flush() != nil {
		return false
	}
	secured := tls.Server(c.nc, c.sink.options.TLS)
	if secured.Handshake() != nil {
		return false
	}
	c.br, c.bw, c.tls, c.secured = bufio.NewReader(secured), bufio.NewWriter(secured), true, secured
	return true
}
