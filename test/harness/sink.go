package harness

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
)

// Arrival is one message as a client handed it over.
type Arrival struct {
	At     netip.Addr     // where the client connected to
	Client netip.AddrPort // from where
	Hello  string         // what it called itself
	From   string         // as given, without brackets
	To     []string       // those that were accepted, likewise
	// Content is header and body, doubled dots undone. It is valid until
	// Take returns.
	Content []byte
}

// Sink takes mail for anybody on a loopback address. It keeps to the letter of
// RFC 5321: a line ends with CRLF, and content with CRLF.CRLF, nothing else.
//
// It may listen at many addresses of 127.0.0.0/8, and so be as many servers.
type Sink struct {
	// Rcpt answers a recipient, Take a message; "" accepts. Any of these may
	// be nil. They are called by all connections at once, and may take their
	// time: a reply is sent when the client waits for it.
	Rcpt func(from, to string) string
	Take func(*Arrival) string
	// Connect is told of a connection to one of the sink's addresses. One for
	// which it returns false is never greeted, and stays until the client
	// goes.
	Connect func(at netip.Addr) bool
	// Reply is told of each reply before it is made, by the verb that it
	// answers: "" for the greeting, "." for a message.
	Reply func(at netip.Addr, verb string)
	// Answer may answer a command line in place of the sink. Such a command does
	// nothing; with an empty reply the connection is closed. One under TLS begins
	// with "TLS ".
	Answer func(line string) (reply string, answered bool)
	// TLS is what STARTTLS begins; nil: it is not offered.
	TLS *tls.Config
	// LMTP says that it speaks that (RFC 2033): LHLO, and a reply for each recipient
	// of a message.
	LMTP bool

	listeners []net.Listener
	running   sync.WaitGroup
	open      atomic.Int64
}

// Listen starts the sink, at a port of its own.
func (s *Sink) Listen() error { return s.ListenAt(Loopback(0)) }

// ListenAt starts the sink at one address, or several. When one of them cannot
// be had, it is at none.
func (s *Sink) ListenAt(addresses ...string) error {
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return errors.Join(err, s.stopListening())
		}
		s.listeners = append(s.listeners, l)
	}
	for _, l := range s.listeners {
		s.running.Go(func() { s.accept(l) })
	}
	return nil
}

// Addr is where the sink listens, as host:port; the first of its addresses.
func (s *Sink) Addr() string { return s.listeners[0].Addr().String() }

// Close stops listening and waits until the clients have gone.
func (s *Sink) Close() error {
	err := s.stopListening()
	s.running.Wait()
	return err
}

func (s *Sink) stopListening() error {
	var failures []error
	for _, l := range s.listeners {
		failures = append(failures, l.Close())
	}
	return errors.Join(failures...)
}

// Settle waits until everything that clients which are gone had sent has
// been taken, and no connection is open.
func (s *Sink) Settle(ctx context.Context) error {
	// Connections are accepted in order: when this one was, so were those
	// that a dead client had left waiting.
	c, err := Dial(ctx, s.Addr())
	if err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	return Until(ctx, "no client is connected to the sink", func() (bool, error) { return s.open.Load() == 0, nil })
}

func (s *Sink) accept(l net.Listener) {
	at := l.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		s.open.Add(1)
		s.running.Go(func() {
			defer s.open.Add(-1)
			defer conn.Close()
			if s.Connect != nil && !s.Connect(at) {
				_, _ = io.Copy(io.Discard, conn)
				return
			}
			c := &sinkConn{sink: s, at: at, client: conn.RemoteAddr().(*net.TCPAddr).AddrPort()}
			c.over(conn)
			c.serve()
		})
	}
}

// sinkConn is one connection to the sink.
type sinkConn struct {
	sink    *Sink
	at      netip.Addr
	client  netip.AddrPort
	hello   string
	conn    net.Conn
	secure  bool // under TLS
	br      *bufio.Reader
	bw      *bufio.Writer
	arrival Arrival
}

// over lets what follows be said over a connection.
func (c *sinkConn) over(conn net.Conn) {
	c.conn, c.br, c.bw = conn, bufio.NewReaderSize(conn, 32<<10), bufio.NewWriter(conn)
}

// serve answers commands until the client goes. Replies wait until the
// client waits for them (RFC 2920).
func (c *sinkConn) serve() {
	c.before("")
	c.reply("220 sink.example ready")
	for {
		if c.br.Buffered() == 0 && c.bw.Flush() != nil {
			return
		}
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return
		}
		command := strings.TrimRight(string(line), "\r\n")
		verb, rest, _ := strings.Cut(command, " ")
		verb = strings.ToUpper(verb)
		c.before(verb)
		if reply, answered := c.answer(command); answered {
			if reply == "" {
				return
			}
			c.reply(reply)
			continue
		}
		switch verb {
		case c.sink.hello():
			c.hello = rest
			c.reply(c.offers())
		case "STARTTLS":
			if !c.startTLS() {
				return
			}
		case "MAIL":
			c.arrival = Arrival{At: c.at, Client: c.client, Hello: c.hello, From: path(command), To: c.arrival.To[:0], Content: c.arrival.Content[:0]}
			c.reply("250 ok")
		case "RCPT":
			c.rcpt(path(command))
		case "DATA":
			if !c.data() {
				return
			}
		case "RSET", "NOOP", "HELO":
			c.arrival.To = c.arrival.To[:0]
			c.reply("250 ok")
		case "QUIT":
			c.reply("221 bye")
			c.bw.Flush()
			return
		default:
			c.reply("500 no such command")
		}
	}
}

// answer is what the owner of the sink answers to a command line.
func (c *sinkConn) answer(command string) (reply string, answered bool) {
	if c.sink.Answer == nil {
		return "", false
	}
	if c.secure {
		command = "TLS " + command
	}
	return c.sink.Answer(command)
}

// offers is the reply to the command that begins a session.
func (c *sinkConn) offers() string {
	offers := "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n"
	if c.sink.TLS != nil && !c.secure {
		offers += "250-STARTTLS\r\n"
	}
	return offers + "250 SMTPUTF8"
}

// startTLS begins TLS, and forgets what was said in clear (RFC 3207 4.2). It reports whether
// the connection is still there.
func (c *sinkConn) startTLS() bool {
	if c.sink.TLS == nil || c.secure {
		c.reply("502 no TLS")
		return true
	}
	c.reply("220 go on")
	if c.bw.Flush() != nil {
		return false
	}
	secure := tls.Server(c.conn, c.sink.TLS)
	if secure.Handshake() != nil {
		return false
	}
	c.over(secure)
	c.hello, c.secure = "", true
	return true
}

// before tells of a reply that will be made.
func (c *sinkConn) before(verb string) {
	if c.sink.Reply != nil {
		c.sink.Reply(c.at, verb)
	}
}

// reply queues a reply. An error of the connection shows at the next flush.
func (c *sinkConn) reply(text string) {
	c.bw.WriteString(text)
	c.bw.WriteString("\r\n")
}

func (c *sinkConn) rcpt(to string) {
	if c.sink.Rcpt != nil {
		if reply := c.sink.Rcpt(c.arrival.From, to); reply != "" {
			c.reply(reply)
			return
		}
	}
	c.arrival.To = append(c.arrival.To, to)
	c.reply("250 ok")
}

// data takes the content. It reports whether the connection is still there.
func (c *sinkConn) data() bool {
	if len(c.arrival.To) == 0 {
		c.reply("554 no recipient")
		return true
	}
	c.reply("354 go on")
	if c.bw.Flush() != nil || !c.content() {
		return false
	}
	c.before(".")
	reply := ""
	if c.sink.Take != nil {
		reply = c.sink.Take(&c.arrival)
	}
	if reply == "" {
		reply = "250 taken"
	}
	for range c.sink.repliesTo(&c.arrival) {
		c.reply(reply)
	}
	return true
}

// repliesTo is how many replies a message gets (RFC 2033 4.2).
func (s *Sink) repliesTo(a *Arrival) int {
	if s.LMTP {
		return len(a.To)
	}
	return 1
}

// hello is the command that begins a session.
func (s *Sink) hello() string {
	if s.LMTP {
		return "LHLO"
	}
	return "EHLO"
}

// content reads up to the end-of-data mark. It reports whether that came.
func (c *sinkConn) content() bool {
	content := c.arrival.Content[:0]
	for lineStart := true; ; lineStart = bytes.HasSuffix(content, []byte("\r\n")) {
		line, err := c.br.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return false
		}
		if lineStart && line[0] == '.' {
			if string(line) == ".\r\n" {
				c.arrival.Content = content
				return true
			}
			line = line[1:]
		}
		content = append(content, line...)
	}
}

// path returns what stands between the brackets of a MAIL or RCPT command.
func path(command string) string {
	_, rest, _ := strings.Cut(command, "<")
	end := strings.LastIndexByte(rest, '>')
	return rest[:max(end, 0)]
}
