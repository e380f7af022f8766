package mailtest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// maxReply bounds the replies a Client reads, in octets.
const maxReply = 64 << 10

// Client is an SMTP client that says what it is told, right or wrong. When
// the connection fails, it ends its test; so it is used by the goroutine of
// the test alone.
type Client struct {
	t  testing.TB
	nc net.Conn
	br *bufio.Reader
}

// NewClient connects to a server and reads its greeting. The connection is
// closed when the test ends.
func NewClient(t testing.TB, address netip.AddrPort) (*Client, mail.Reply) {
	t.Helper()
	return NewClientFrom(t, netip.Addr{}, address)
}

// NewClientFrom is NewClient from an address of this machine, which may be any of
// 127.0.0.0/8; the zero Addr is any.
func NewClientFrom(t testing.TB, from netip.Addr, address netip.AddrPort) (*Client, mail.Reply) {
	t.Helper()
	var d net.Dialer
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	nc, err := d.DialContext(t.Context(), "tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{t: t, nc: nc, br: bufio.NewReader(nc)}
	t.Cleanup(func() { _ = c.nc.Close() })
	return c, c.Reply()
}

// Command sends a line and its CRLF, and reads a reply.
func (c *Client) Command(line string) mail.Reply {
	c.t.Helper()
	c.SendRaw(line + "\r\n")
	return c.Reply()
}

// SendRaw sends text as it is, and reads nothing.
func (c *Client) SendRaw(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, text); err != nil {
		c.t.Fatalf("sending %.80q: %v", text, err)
	}
}

// Reply reads a reply.
func (c *Client) Reply() mail.Reply {
	c.t.Helper()
	reply, err := smtp.ReadReply(c.br, maxReply)
	if err != nil {
		c.t.Fatalf("reading a reply: %v", err)
	}
	return reply
}

// Content sends a message with its dots and end of data, and reads the reply.
// The content must end with CRLF, or be empty.
func (c *Client) Content(content []byte) mail.Reply {
	c.t.Helper()
	c.SendRaw(string(stuff(content)))
	return c.Reply()
}

// Send sends a message with EHLO, MAIL, RCPT and DATA, each in its turn. It
// returns the first reply that was a refusal, or the one to the content.
// Addresses are what stands between the brackets.
func (c *Client) Send(from string, to []string, content []byte) mail.Reply {
	c.t.Helper()
	commands := []string{"EHLO client.example", "MAIL FROM:<" + from + ">"}
	for _, address := range to {
		commands = append(commands, "RCPT TO:<"+address+">")
	}
	for _, command := range append(commands, "DATA") {
		if reply := c.Command(command); reply.Temporary() || reply.Permanent() {
			return reply
		}
	}
	return c.Content(content)
}

// StartTLS says STARTTLS and does the handshake.
func (c *Client) StartTLS(config *tls.Config) {
	c.t.Helper()
	if reply := c.Command("STARTTLS"); !reply.Success() {
		c.t.Fatalf("STARTTLS: %s", reply)
	}
	client := tls.Client(c.nc, config)
	if err := client.Handshake(); err != nil {
		c.t.Fatalf("handshake: %v", err)
	}
	c.nc, c.br = client, bufio.NewReader(client)
}

// Closed waits until the server closes, and reports whether it did so having
// sent nothing more.
func (c *Client) Closed() bool {
	n, _ := io.Copy(io.Discard, c.br)
	return n == 0
}
