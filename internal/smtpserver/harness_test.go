package smtpserver

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// patience is how long a test waits for what must come at once.
const patience = time.Minute

// scripted is a handler whose sessions answer from a script and keep what
// they were asked. Sessions of one handler share it all.
type scripted struct {
	// replies are by method ("Mail") or by verb of Command ("NOOP").
	replies map[string]mail.Reply
	// content, if set, answers Content.
	content func(ctx context.Context, c smtp.Content) mail.Reply
	// called, if set, is told each call before it is answered.
	called func(call string)

	mu       sync.Mutex
	calls    []string
	origins  []mail.Origin
	messages []string
	mails    []smtp.Mail
}

func (h *scripted) call(name string) mail.Reply {
	h.mu.Lock()
	h.calls = append(h.calls, name)
	r := h.replies[name]
	h.mu.Unlock()
	if h.called != nil {
		h.called(name)
	}
	return r
}

func (h *scripted) Begin(_ context.Context, o mail.Origin) (Session, mail.Reply) {
	h.keepOrigin(o)
	return h, h.call("Begin")
}

func (h *scripted) Hello(_ context.Context, o mail.Origin) mail.Reply {
	h.keepOrigin(o)
	return h.call("Hello")
}

func (h *scripted) keepOrigin(o mail.Origin) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.origins = append(h.origins, o)
}

func (h *scripted) Mail(_ context.Context, m smtp.Mail) mail.Reply {
	h.mu.Lock()
	h.mails = append(h.mails, m)
	h.mu.Unlock()
	return h.call("Mail")
}

func (h *scripted) Rcpt(_ context.Context, r smtp.Rcpt) mail.Reply {
	if reply := h.replies[r.Address.String()]; !reply.IsZero() {
		return reply
	}
	return h.call("Rcpt")
}

func (h *scripted) Data(context.Context) mail.Reply { return h.call("Data") }

func (h *scripted) Content(ctx context.Context, c smtp.Content) mail.Reply {
	h.call("Content")
	if h.content != nil {
		return h.content(ctx, c)
	}
	return h.keep(ctx, c)
}

// keep reads the content and accepts it.
func (h *scripted) keep(_ context.Context, c smtp.Content) mail.Reply {
	message, err := io.ReadAll(c)
	if err != nil {
		return mail.ReplyOf(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, string(message))
	return mail.NewReply(250, "2.0.0", "Kept %d octets", len(message))
}

func (h *scripted) Command(_ context.Context, c smtp.Command) mail.Reply { return h.call(c.Verb) }
func (h *scripted) Reset()                                               { h.call("Reset") }
func (h *scripted) End()                                                 { h.call("End") }

// counted returns how often a method or verb was called.
func (h *scripted) counted(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, call := range h.calls {
		if call == name {
			n++
		}
	}
	return n
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// running is a server on a loopback port.
type running struct {
	*Server
	addr string
	done chan error // what Serve returned
	t    testing.TB
}

// start serves until the test ends, and then expects a clean shutdown.
func start(t testing.TB, o Options, h Handler) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if o.Hostname == "" {
		o.Hostname = "mx.test"
	}
	r := &running{Server: New(o, h), addr: l.Addr().String(), done: make(chan error, 1), t: t}
	go func() { r.done <- r.Serve(context.Background(), l) }()
	t.Cleanup(r.stop)
	return r
}

// stop shuts the server down and waits for all its sessions.
func (r *running) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		r.t.Errorf("shutdown: %v", err)
	}
	if err := <-r.done; err != nil {
		r.t.Errorf("serve: %v", err)
	}
	r.done <- nil
}

// client is the other end.
type client struct {
	net.Conn
	br *bufio.Reader
	t  testing.TB
}

func (r *running) dial() *client {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return newClient(r.t, nc)
}

func newClient(t testing.TB, nc net.Conn) *client {
	return &client{Conn: nc, br: bufio.NewReader(nc), t: t}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("sending %.80q: %v", s, err)
	}
}

// expect reads a line for each of want and compares.
func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		got, err := c.br.ReadString('\n')
		if err != nil || got != w+"\r\n" {
			c.t.Fatalf("server says %q, %v; want %q", got, err, w)
		}
	}
}

// expectEnd expects that the server closes the connection, in good order: a
// reset is an error.
func (c *client) expectEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.br)
	if len(rest) > 0 || err != nil {
		c.t.Fatalf("server says %q, %v; want the end", rest, err)
	}
}

// open reads greeting and the reply to EHLO.
func (c *client) open() *client {
	c.t.Helper()
	c.expect("220 mx.test ESMTP Postern")
	c.send("EHLO client.test\r\n")
	for {
		line, err := c.br.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "250") {
			c.t.Fatalf("EHLO: %q, %v", line, err)
		}
		if line[3] == ' ' {
			return c
		}
	}
}

// play plays a dialogue. Lines are "C: " (the client sends it, with CRLF),
// "C= " (the client sends a Go string as it is), "S: " (the server says it)
// and "S." (the server closes). Lines of the client that follow each other go
// out in one piece.
func (c *client) play(dialogue string) {
	c.t.Helper()
	var out strings.Builder
	flush := func() {
		if out.Len() > 0 {
			c.send(out.String())
			out.Reset()
		}
	}
	for line := range strings.Lines(dialogue) {
		line = strings.TrimRight(strings.TrimLeft(line, "\t"), "\n")
		switch {
		case line == "":
		case line == "S.":
			flush()
			c.expectEnd()
		case strings.HasPrefix(line, "C: "):
			out.WriteString(line[3:] + "\r\n")
		case strings.HasPrefix(line, "C= "):
			raw, err := strconv.Unquote(line[3:])
			if err != nil {
				c.t.Fatalf("%s: %v", line, err)
			}
			out.WriteString(raw)
		case strings.HasPrefix(line, "S: "):
			flush()
			c.expect(line[3:])
		default:
			c.t.Fatalf("%q is no line of a dialogue", line)
		}
	}
	flush()
}

var loopback = netip.MustParseAddr("127.0.0.1")
