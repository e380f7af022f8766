package mailtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Peer is an SMTP server that says what its scripts tell it to.
type Peer struct {
	*server
	log
	t       testing.TB
	options PeerOptions
	mu      sync.Mutex
	begun   int // connections
}

// PeerOptions are what a Peer plays: Handle if it is set, else the scripts.
type PeerOptions struct {
	// Scripts are the parts of the connections in their order. The last one
	// serves all further connections too.
	Scripts []string
	// Handle plays each connection, number 0 first.
	Handle func(n int, c *PeerConn)
	// TLS is what STARTTLS uses.
	TLS *tls.Config
	// Socket is the path of the Unix socket at which it listens, in place of an address.
	Socket string
}

// NewPeer starts a peer that plays scripts; see PeerConn.Play for what they
// look like.
func NewPeer(t testing.TB, scripts ...string) *Peer {
	t.Helper()
	return NewPeerWith(t, PeerOptions{Scripts: scripts})
}

// NewPeerWith starts a peer.
func NewPeerWith(t testing.TB, o PeerOptions) *Peer {
	t.Helper()
	p := &Peer{t: t, options: o}
	if o.Socket != "" {
		p.server = serveAt(t, "unix", o.Socket, p.play)
	} else {
		p.server = serve(t, p.play)
	}
	return p
}

func (p *Peer) play(ctx context.Context, nc net.Conn) {
	p.mu.Lock()
	n := p.begun
	p.begun++
	p.mu.Unlock()
	c := newPeerConn(ctx, nc, p.options.TLS, &p.log)
	if p.options.Handle != nil {
		p.options.Handle(n, c)
	} else {
		c.Play(p.options.Scripts[min(n, len(p.options.Scripts)-1)])
	}
	if err := c.Err(); err != nil && ctx.Err() == nil {
		p.t.Errorf("connection %d: %v", n, err)
	}
}

// Connections returns how many connections there have been.
func (p *Peer) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun
}

// log is what clients said and sent.
type log struct {
	mu       sync.Mutex
	lines    []string
	contents [][]byte
}

func (l *log) line(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, s)
}

// Lines returns the command lines that were received, without line ends, in
// the order in which they came.
func (l *log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// Contents returns the messages that were received whole, without their
// added dots.
func (l *log) Contents() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.contents)
}

// PeerConn is one connection as the server sees it. After the first thing
// that goes wrong, its methods do nothing; Err tells what it was, and the
// peer fails its test with it.
type PeerConn struct {
	ctx context.Context
	nc  net.Conn
	br  *bufio.Reader
	tls *tls.Config
	log *log
	err error
}

func newPeerConn(ctx context.Context, nc net.Conn, config *tls.Config, l *log) *PeerConn {
	return &PeerConn{ctx: ctx, nc: nc, br: bufio.NewReader(nc), tls: config, log: l}
}

// PlayOn plays a script on a connection that is already there, such as one
// end of a net.Pipe. It returns the lines that were received.
func PlayOn(nc net.Conn, script string) ([]string, error) {
	var l log
	c := newPeerConn(context.Background(), nc, nil, &l)
	c.Play(script)
	return l.Lines(), errors.Join(c.Err(), nc.Close())
}

// Err returns what went wrong, nil if nothing did.
func (c *PeerConn) Err() error { return c.err }

// Play plays a script. Each of its lines is one of
//
//	S: text      send the text and CRLF
//	C: text      read a line that begins with the text
//	CONTENT      read a message, to CRLF.CRLF
//	BDAT         read a BDAT command and its content, which is the whole message
//	TLS          start TLS as the server
//	RAW "text"   send the text, a Go string
//	STALL        say no more; wait until the client closes
//	WAIT         do nothing, and read nothing, until the test ends
//	GARBLE text  send the text below TLS, where it is no record
//	CLOSED       the client must close, having sent nothing more
//	DROP         close the connection
//	RESET        reset it, so that the client may lose what it has not read
//	HALFCLOSE    say no more, and let the client know that
//	NARROW       make the receive window small
//
// Empty lines and space at the front of lines mean nothing. The connection is
// closed after the last line.
func (c *PeerConn) Play(script string) {
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" && c.err == nil {
			c.step(line)
		}
	}
}

func (c *PeerConn) step(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "S:":
		c.Send(rest)
	case "C:":
		c.Expect(rest)
	case "CONTENT":
		c.Content()
	case "BDAT":
		c.Chunk()
	case "TLS":
		c.StartTLS()
	case "RAW":
		var raw string
		if _, err := fmt.Sscanf(rest, "%q", &raw); err != nil {
			c.fail(fmt.Errorf("script line %q: %w", line, err))
		}
		c.SendRaw(raw)
	case "STALL":
		c.Stall()
	case "CLOSED":
		c.ExpectClosed()
	case "WAIT":
		<-c.ctx.Done()
	case "GARBLE":
		c.onSocket(func(s *net.TCPConn) error {
			_, err := io.WriteString(s, rest)
			return err
		})
	case "DROP":
		c.Drop()
	case "RESET":
		c.onSocket(func(s *net.TCPConn) error { return errors.Join(s.SetLinger(0), s.Close()) })
	case "HALFCLOSE":
		c.onSocket((*net.TCPConn).CloseWrite)
	case "NARROW":
		c.onSocket(func(s *net.TCPConn) error { return s.SetReadBuffer(16 << 10) })
	default:
		c.fail(fmt.Errorf("script line %q: unknown word", line))
	}
}

func (c *PeerConn) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Send sends a line and its CRLF.
func (c *PeerConn) Send(line string) { c.SendRaw(line + "\r\n") }

// SendRaw sends text as it is.
func (c *PeerConn) SendRaw(text string) {
	if c.err != nil {
		return
	}
	if _, err := io.WriteString(c.nc, text); err != nil {
		c.fail(fmt.Errorf("sending %q: %w", text, err))
	}
}

// Expect reads a line, which must end with CRLF and begin with prefix. It
// returns the line without its end.
func (c *PeerConn) Expect(prefix string) string {
	if c.err != nil {
		return ""
	}
	raw, err := c.br.ReadString('\n')
	if err != nil {
		c.fail(fmt.Errorf("expected %q, got %q and %w", prefix, raw, err))
		return ""
	}
	line, whole := strings.CutSuffix(raw, "\r\n")
	if !whole || !strings.HasPrefix(line, prefix) {
		c.fail(fmt.Errorf("expected %q, got %q", prefix, raw))
	}
	c.log.line(line)
	return line
}

// Content reads a message up to its end of data.
func (c *PeerConn) Content() []byte {
	if c.err != nil {
		return nil
	}
	content, err := readContent(c.br)
	return c.keepContent(content, err)
}

// Chunk reads a BDAT command, which must be the last of its message, and its
// content.
func (c *PeerConn) Chunk() []byte {
	command := c.Expect("BDAT ")
	if c.err != nil {
		return nil
	}
	content, last, err := readChunk(c.br, command)
	if err == nil && !last {
		err = fmt.Errorf("%q is not the last chunk", command)
	}
	return c.keepContent(content, err)
}

func (c *PeerConn) keepContent(content []byte, err error) []byte {
	if err != nil {
		c.fail(fmt.Errorf("reading a message: %w", err))
		return nil
	}
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.log.contents = append(c.log.contents, content)
	return content
}

// StartTLS starts TLS as the server. A handshake that fails is no failure of
// the test: the client may be right to refuse. The connection is then closed.
func (c *PeerConn) StartTLS() {
	if c.err != nil {
		return
	}
	server := tls.Server(c.nc, c.tls)
	if err := server.HandshakeContext(c.ctx); err != nil {
		c.Drop()
		return
	}
	c.nc, c.br = server, bufio.NewReader(server)
}

// Stall reads and drops whatever comes until the client closes.
func (c *PeerConn) Stall() {
	if c.err == nil {
		_, _ = io.Copy(io.Discard, c.br)
	}
}

// ExpectClosed waits for the client to close. Whatever it sends before is a
// failure.
func (c *PeerConn) ExpectClosed() {
	if c.err != nil {
		return
	}
	var rest bytes.Buffer
	_, _ = io.Copy(&rest, c.br)
	if rest.Len() > 0 {
		c.fail(fmt.Errorf("expected the client to close, got %.200q", rest.Bytes()))
	}
}

// onSocket does something to the socket, below TLS.
func (c *PeerConn) onSocket(do func(*net.TCPConn) error) {
	if c.err != nil {
		return
	}
	nc := c.nc
	if secured, is := nc.(*tls.Conn); is {
		nc = secured.NetConn()
	}
	socket, is := nc.(*net.TCPConn)
	if !is {
		c.fail(fmt.Errorf("%T is no socket", nc))
		return
	}
	if err := do(socket); err != nil {
		c.fail(err)
	}
}

// Drop closes the connection.
func (c *PeerConn) Drop() { _ = c.nc.Close() }
