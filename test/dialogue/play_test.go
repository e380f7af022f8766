package dialogue

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/mailtest"
)

// patience bounds each wait for the other side.
const patience = time.Minute

// longestReply is the length of the longest line of a reply, with its CRLF, in
// octets (RFC 5321 4.5.3.1.5).
const longestReply = 512

// player is one side of a conversation.
type player struct {
	side byte // 'C' or 'S': whose lines it says
	tls  *tls.Config
	conn net.Conn
	in   *bufio.Reader
	out  bytes.Buffer // said, and sent as one piece when an answer is wanted
	// skipping says that any lines may come before the next one that is
	// expected, but for those with the word without.
	skipping bool
	without  string
	heard    []string
}

func newPlayer(side byte, conn net.Conn, config *tls.Config) *player {
	return &player{side: side, tls: config, conn: conn, in: bufio.NewReader(conn)}
}

// play plays a section to its end, and closes the connection. It fails with
// the line at which the other side did not do what it should.
func (p *player) play(s section) error {
	defer func() { p.conn.Close() }()
	for _, l := range s.lines {
		if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if err := p.step(l.text); err != nil {
			return fmt.Errorf("%d: %s: %w", l.number, l.text, err)
		}
	}
	return p.flush()
}

func (p *player) step(text string) error {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "", "#":
		return nil
	case "C:", "S:":
		if word[0] == p.side {
			p.out.WriteString(rest + "\r\n")
			return nil
		}
		return p.expect(rest)
	case "C=", "S=":
		octets, err := strconv.Unquote(rest)
		switch {
		case err != nil:
			return fmt.Errorf("a string of Go must stand behind %s: %w", word, err)
		case word[0] == p.side:
			p.out.WriteString(octets)
			return nil
		}
		return p.expectOctets(octets)
	case "...":
		p.skipping = true
		_, p.without, _ = strings.Cut(rest, "without ")
		return nil
	case "TLS":
		return p.startTLS()
	case "CLOSED":
		return p.expectClosed()
	}
	return fmt.Errorf(`a line is empty, a comment, "...", "TLS" or "CLOSED", or begins with "C: ", "S: ", "C= " or "S= "`)
}

func (p *player) flush() error {
	_, err := p.out.WriteTo(p.conn)
	return err
}

// expect reads the next line, or as many as there are up to one that matches.
func (p *player) expect(pattern string) error {
	if err := p.flush(); err != nil {
		return err
	}
	for {
		raw, err := p.in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("got %q and %w, after %q", raw, err, p.heard)
		}
		got, whole := strings.CutSuffix(raw, "\r\n")
		p.heard = append(p.heard, got)
		switch {
		case !whole:
			return fmt.Errorf("got %q, which does not end with CRLF", raw)
		case p.side == 'C' && len(raw) > longestReply:
			return fmt.Errorf("got a line of %d octets, %d are allowed (RFC 5321 4.5.3.1.5)", len(raw), longestReply)
		case matches(pattern, got):
			p.skipping, p.without = false, ""
			return nil
		case !p.skipping:
			return fmt.Errorf("got %q", got)
		case p.without != "" && strings.Contains(got, p.without):
			return fmt.Errorf("got %q, which must not come", got)
		}
	}
}

func (p *player) expectOctets(want string) error {
	if err := p.flush(); err != nil {
		return err
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(p.in, got)
	if string(got[:n]) != want {
		return fmt.Errorf("got %q (%v)", got[:n], err)
	}
	return nil
}

// expectClosed wants the other side to close, and to say nothing more.
func (p *player) expectClosed() error {
	if err := p.flush(); err != nil {
		return err
	}
	rest, err := io.ReadAll(p.in)
	if len(rest) > 0 || err != nil {
		return fmt.Errorf("got %q (%v)", rest, err)
	}
	return nil
}

func (p *player) startTLS() error {
	if err := p.flush(); err != nil {
		return err
	}
	conn := tls.Server(p.conn, p.tls)
	if p.side == 'C' {
		conn = tls.Client(p.conn, p.tls)
	}
	if err := conn.Handshake(); err != nil {
		return err
	}
	p.conn, p.in = conn, bufio.NewReader(conn)
	return nil
}

// TestPlayer shows that a player sees what is wrong with the other side.
func TestPlayer(t *testing.T) {
	for _, c := range []struct{ said, script, want string }{
		{"220 x\r\n", "S: 220 ...\nCLOSED", ""},
		{"220 x\r\n", "S: 250 ...", `1: S: 250 ...: got "220 x"`},
		{"220 x\n", "S: 220 x", `1: S: 220 x: got "220 x\n", which does not end with CRLF`},
		{"220-x\r\n220-y\r\n220 z\r\n", "...\nS: 220 ...\nCLOSED", ""},
		{"220-x\r\n220-y\r\n220 z\r\n", "... without -y\nS: 220 ...", `2: S: 220 ...: got "220-y", which must not come`},
		{"220-x\r\n", "...\nS: 220 ...", `2: S: 220 ...: got "" and EOF, after ["220-x"]`},
		{"220 x\r\n220 y\r\n", "S: 220 x\nCLOSED", `2: CLOSED: got "220 y\r\n" (<nil>)`},
		{strings.Repeat("2", 510) + "\r\n", "S: 2...", ""},
		{strings.Repeat("2", 511) + "\r\n", "S: 2...", "1: S: 2...: got a line of 513 octets, 512 are allowed (RFC 5321 4.5.3.1.5)"},
		{"220\x00", `S= "220\x00"`, ""},
		{"221\x00", `S= "220\x00"`, `1: S= "220\x00": got "221\x00" (<nil>)`},
		{"", "S= 220", `1: S= 220: a string of Go must stand behind S=: invalid syntax`},
		{"", "SAY", `1: SAY: a line is empty, a comment, "...", "TLS" or "CLOSED", or begins with "C: ", "S: ", "C= " or "S= "`},
	} {
		conn := saying(t, c.said)
		var s section
		for i, text := range strings.Split(c.script, "\n") {
			s.lines = append(s.lines, line{i + 1, text})
		}
		got := ""
		if err := newPlayer('C', conn, nil).play(s); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q to %q:\ngot  %s\nwant %s", c.said, c.script, got, c.want)
		}
	}
}

// saying returns a connection whose other end says something, and closes.
func saying(t *testing.T, said string) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mailtest.Must(t, err)
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	mailtest.Must(t, err)
	there, err := l.Accept()
	mailtest.Must(t, err)
	_, err = io.WriteString(there, said)
	mailtest.Must(t, err)
	mailtest.Must(t, there.Close())
	return here
}
