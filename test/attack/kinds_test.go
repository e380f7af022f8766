package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// long multiplies what an attack sends.
func long() int64 {
	if os.Getenv("LONG") != "" {
		return 10
	}
	return 1
}

const mib = 1 << 20

// attacks are all kinds.
var attacks = []attack{
	{name: "endless command", attackers: 10, memory: 40 * mib, files: 100,
		once: func(ctx, _ context.Context, c *client) error {
			if err := c.open(ctx, "EHLO attacker.example"); err != nil {
				return err
			}
			return c.pour("NOOP", 64*mib)
		}},
	{name: "endless line of content", attackers: 10, memory: 60 * mib, files: 100, once: endlessContent("x")},
	{name: "endless header", attackers: 10, memory: 60 * mib, files: 100, once: endlessContent("X-Fill: up\r\n")},
	{name: "endless header field", attackers: 10, memory: 60 * mib, files: 100, once: endlessContent(" folded\r\n")},
	{name: "endless body", attackers: 10, memory: 60 * mib, files: 100, once: endlessContent("\r\nx")},
	{name: "endless chunk", attackers: 10, memory: 60 * mib, files: 100,
		once: func(ctx, _ context.Context, c *client) error {
			if err := c.open(ctx, toContent...); err != nil {
				return err
			}
			if _, err := c.Write([]byte("BDAT 4000000000\r\n")); err != nil {
				return err
			}
			return c.pour("x", 64*mib)
		}},
	{name: "tiny commands", attackers: 10, memory: 40 * mib, files: 100, rounds: 1000 * long(), once: tinyCommands("NOOP\r\n", 250)},
	{name: "tiny transactions", attackers: 10, memory: 40 * mib, files: 100, rounds: 500 * long(),
		once: tinyCommands("MAIL FROM:<a@source.example>\r\nRCPT TO:<b@elsewhere.example>\r\nRSET\r\n", 400)},
	{name: "commands that are none", attackers: 10, memory: 40 * mib, files: 100, rounds: 1000 * long(), once: tinyCommands("X\r\n", 30)},
	{name: "strange recipients", attackers: 10, memory: 40 * mib, files: 100, rounds: 500 * long(),
		once: tinyCommands("MAIL FROM:<>\r\nRCPT TO:<nobody@postern.test.example>\r\n", 50)},
	{name: "empty chunks", attackers: 10, memory: 40 * mib, files: 100, rounds: 100 * long(), once: tinyChunks("BDAT 0\r\n")},
	{name: "tiny chunks", attackers: 10, memory: 40 * mib, files: 100, rounds: 100 * long(), once: tinyChunks("BDAT 1\r\nx")},
	{name: "silence before EHLO", attackers: 100, memory: 40 * mib, files: 250, once: drip("")},
	{name: "slow command", attackers: 100, memory: 40 * mib, files: 250, once: drip("EHLO attacker.example")},
	{name: "slow recipient", attackers: 100, memory: 40 * mib, files: 250, once: drip("RCPT TO:<b", toContent[:2]...)},
	{name: "slow handshake", attackers: 100, memory: 40 * mib, files: 250, once: drip("\x16\x03\x01\x40\x00", toContent[0], "STARTTLS")},
	{name: "no handshake", attackers: 100, memory: 40 * mib, files: 250, once: dripAtOnce(""), addr: secure, good: elsewhere},
	{name: "slow handshake from the first octet", attackers: 100, memory: 40 * mib, files: 250, once: dripAtOnce("\x16\x03\x01\x40\x00"), addr: secure, good: elsewhere},
	{name: "handshakes that stop in the midst", attackers: 100, memory: 60 * mib, files: 250, once: halfHandshake, addr: secure, good: elsewhere},
	{name: "flood of handshakes", attackers: 20, memory: 60 * mib, files: 250, rounds: 1000 * long(), once: handshake, addr: secure, good: elsewhere},
	{name: "slow PROXY header", attackers: 100, memory: 40 * mib, files: 250, once: dripAtOnce("PROXY TCP4 198.51.100.1 203.0.113.5 56224 "), addr: proxied},
	{name: "endless PROXY header", attackers: 10, memory: 40 * mib, files: 100, once: pourAtOnce("PROXY UNKNOWN "), addr: proxied},
	{name: "PROXY header of version 2 without end", attackers: 100, memory: 40 * mib, files: 250,
		once: dripAtOnce("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x0f\xf0"), addr: proxied},
	{name: "AUTH with long garbage", attackers: 10, memory: 60 * mib, files: 100, rounds: 100 * long(),
		once: tinyCommands("AUTH PLAIN "+strings.Repeat("A", 12_000)+"\r\n", 30)},
	{name: "slow content", attackers: 100, memory: 40 * mib, files: 400, once: drip("Subject: x\r\n", append(toContent[:3:3], "DATA")...)},
	{name: "slow chunk", attackers: 100, memory: 40 * mib, files: 400, once: slowChunk},
	{name: "replies that are not read", attackers: 5, memory: 60 * mib, files: 100, once: unread},
	{name: "flood from one address", attackers: 50, memory: 60 * mib, files: 700, rounds: 5000 * long(), once: flood(func(int) net.IP { return net.IPv4(127, 0, 1, 1) })},
	{name: "flood from many addresses", attackers: 50, memory: 60 * mib, files: 700, rounds: 5000 * long(),
		once: flood(func(n int) net.IP { return net.IPv4(127, 0, 1, byte(n)) })},
	{name: "connections held by one address", attackers: 400, memory: 60 * mib, files: 1000, once: holdFromOne},
	{name: "10,000 idle connections", attackers: idle, memory: idle * 40 << 10, files: idle + 100, once: idleConnection,
		addr: func(v *victim) string { return v.crowded }},
}

// idle is how many clients are connected at once and say nothing.
const idle = 10_000

// TestAttacks makes all attacks on one server, one after the other.
func TestAttacks(t *testing.T) {
	v := newVictim(t)
	v.must(v.Start(t.Context()))
	v.stopAtEnd()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	v.serve(ctx, v.attacked) // what the store opens at its first message is no attack's doing
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			whole := v.t
			defer func() { v.t = whole }()
			v.t = t
			a.run(v)
		})
	}
}

func endlessContent(text string) func(ctx, _ context.Context, c *client) error {
	return func(ctx, _ context.Context, c *client) error {
		if err := c.open(ctx, append(toContent[:3:3], "DATA")...); err != nil {
			return err
		}
		return c.pour(text, 64*mib)
	}
}

// tinyCommands sends commands without waiting, many times more than are
// answered: most is how many replies there may be before the connection ends.
func tinyCommands(text string, most int) func(ctx, _ context.Context, c *client) error {
	return func(ctx, _ context.Context, c *client) error {
		if err := c.open(ctx, "EHLO attacker.example"); err != nil {
			return err
		}
		return c.flooded([]byte(strings.Repeat(text, 1000)), most)
	}
}

// flooded sends a text and fails when there are more replies to it than most.
func (c *client) flooded(text []byte, most int) error {
	defer c.Close()
	go func() { _, _ = c.Write(text) }() // how far it comes is the server's choice
	if codes := c.replies(); len(codes) > most {
		return fmt.Errorf("%w: %d replies", errTaken, len(codes))
	}
	return nil
}

func tinyChunks(chunk string) func(ctx, _ context.Context, c *client) error {
	return func(ctx, _ context.Context, c *client) error {
		if err := c.open(ctx, toContent...); err != nil {
			return err
		}
		return c.flooded([]byte(strings.Repeat(chunk, 20_000)), 1100)
	}
}

func drip(text string, before ...string) func(ctx, _ context.Context, c *client) error {
	return func(ctx, _ context.Context, c *client) error {
		if err := c.open(ctx, before...); err != nil {
			return err
		}
		return c.drip(ctx, text)
	}
}

func slowChunk(ctx, _ context.Context, c *client) error {
	if err := c.open(ctx, toContent...); err != nil {
		return err
	}
	if _, err := c.Write([]byte("BDAT 100000\r\n")); err != nil {
		return err
	}
	return c.drip(ctx, "Subject: x\r\n")
}

// unread asks for replies that it never reads, until the server ends it.
func unread(ctx, _ context.Context, c *client) error {
	if err := c.open(ctx, "EHLO attacker.example"); err != nil {
		return err
	}
	defer c.Close()
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	transaction := "MAIL FROM:<a@source.example>\r\n" + strings.Repeat("RCPT TO:<b@elsewhere.example>\r\n", 1000) + "RSET\r\n"
	for range 1000 {
		_ = c.SetWriteDeadline(time.Now().Add(limit / 2))
		if _, err := c.Write([]byte(transaction)); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				return fmt.Errorf("the server waits for a client that reads nothing: %w", err)
			}
			return nil
		}
	}
	return errTaken
}

func flood(from func(number int) net.IP) func(ctx, _ context.Context, c *client) error {
	return func(ctx, _ context.Context, c *client) error {
		if _, err := c.dial(ctx, from(c.number)); err != nil && c.Conn == nil {
			return err
		}
		c.ready()
		return c.Close()
	}
}

// holdFromOne holds a connection as long as the server lets it. All come from
// one address.
func holdFromOne(ctx, hold context.Context, c *client) error {
	code, err := c.dial(ctx, net.IPv4(127, 0, 1, 1))
	if err != nil || code != "220" && code != "421" {
		return fmt.Errorf("the greeting is %q: %w", code, err)
	}
	c.ready()
	return c.drip(ctx, "")
}

// idleConnection holds a connection until the attack is over.
func idleConnection(ctx, hold context.Context, c *client) error {
	code, err := c.dial(ctx, net.IPv4(127, 0, 1, byte(c.number%250)))
	if err != nil || code != "220" {
		return fmt.Errorf("the greeting is %q: %w", code, err)
	}
	c.ready()
	<-hold.Done()
	code, err = c.say("NOOP")
	if err != nil || code != "250" {
		return fmt.Errorf("NOOP was answered %q: %w", code, err)
	}
	return c.Close()
}

// The listeners that begin with something else than SMTP.
func secure(v *victim) string  { return v.secure }
func proxied(v *victim) string { return v.proxied }

// elsewhere is for attacks on a listener that good clients, who speak in clear, do not
// use: theirs is the one beside it.
func elsewhere(*victim, context.Context) error { return nil }

// dripAtOnce drips a text as soon as it has connected.
func dripAtOnce(text string) func(ctx, _ context.Context, c *client) error {
	return func(ctx, _ context.Context, c *client) error {
		if err := c.connect(ctx, net.IPv4(127, 0, 1, byte(c.number))); err != nil {
			return err
		}
		c.ready()
		return c.drip(ctx, text)
	}
}

// pourAtOnce pours a text as soon as it has connected.
func pourAtOnce(text string) func(ctx, _ context.Context, c *client) error {
	return func(ctx, _ context.Context, c *client) error {
		if err := c.connect(ctx, net.IPv4(127, 0, 1, byte(c.number))); err != nil {
			return err
		}
		c.ready()
		return c.pour(text, 64*mib)
	}
}

var anyone = &tls.Config{InsecureSkipVerify: true} // whom an attacker shakes hands with

// handshake shakes hands, and goes.
func handshake(ctx, _ context.Context, c *client) error {
	if err := c.connect(ctx, net.IPv4(127, 0, 1, byte(c.number))); err != nil {
		return err
	}
	defer c.Close()
	c.ready()
	return tls.Client(c.Conn, anyone).HandshakeContext(ctx)
}

// halfHandshake lets the server do its part, and never ends the handshake.
func halfHandshake(ctx, _ context.Context, c *client) error {
	if err := c.connect(ctx, net.IPv4(127, 0, 1, byte(c.number))); err != nil {
		return err
	}
	defer c.Close()
	c.ready()
	// What the client writes behind its first message is lost.
	_ = tls.Client(&once{Conn: c.Conn}, anyone).HandshakeContext(ctx)
	return c.drip(ctx, "")
}

// once writes once.
type once struct {
	net.Conn
	written bool
}

func (o *once) Write(p []byte) (int, error) {
	if o.written {
		return len(p), nil
	}
	o.written = true
	return o.Conn.Write(p)
}
