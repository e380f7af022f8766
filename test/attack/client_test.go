package attack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// client is an attacker's end of a connection.
type client struct {
	addr   string
	number int    // of the attacker
	ready  func() // says that the attack has begun

	net.Conn
	br *bufio.Reader
}

// dial connects from an address and reads the greeting, whose code it returns.
func (c *client) dial(ctx context.Context, from net.IP) (string, error) {
	if err := c.connect(ctx, from); err != nil {
		return "", err
	}
	return c.reply()
}

// open connects as an attacker of one address of its own, and says what
// stands in lines; each is answered before the next.
func (c *client) open(ctx context.Context, lines ...string) error {
	code, err := c.dial(ctx, net.IPv4(127, 0, 1, byte(c.number)))
	if err != nil || code != "220" {
		return fmt.Errorf("the greeting is %q: %w", code, err)
	}
	for _, line := range lines {
		code, err := c.say(line)
		if err != nil || code[0] != '2' && code[0] != '3' {
			return fmt.Errorf("%s was answered %q: %w", line, code, err)
		}
	}
	c.ready()
	return nil
}

// toContent are the commands up to the content.
var toContent = []string{"EHLO attacker.example", "MAIL FROM:<a@source.example>", "RCPT TO:<b@elsewhere.example>"}

// say sends a line and returns the code of its reply.
func (c *client) say(line string) (string, error) {
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	return c.reply()
}

// reply reads a reply and returns its code.
func (c *client) reply() (string, error) {
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(line) < 4 {
			return "", fmt.Errorf("a reply is %q", line)
		}
		if line[3] != '-' {
			return line[:3], nil
		}
	}
}

// replies reads until the connection ends, and returns the codes.
func (c *client) replies() []string {
	var codes []string
	for {
		code, err := c.reply()
		if err != nil {
			return codes
		}
		codes = append(codes, code)
	}
}

// errTaken is the fault of a server that takes what has no end.
var errTaken = errors.New("the server took all of it")

// pour writes a text again and again, up to so many octets, and fails when the
// server has taken them all.
func (c *client) pour(text string, most int) error {
	defer c.Close()
	block := strings.Repeat(text, 64<<10/len(text)+1)
	for n := 0; n < most; n += len(block) {
		if _, err := c.Write([]byte(block)); err != nil {
			return nil // the server had enough
		}
	}
	return fmt.Errorf("%w: %d octets", errTaken, most)
}

// drip writes an octet of a text now and then, until the server has ended the
// connection. It is at most until the test ends.
func (c *client) drip(ctx context.Context, text string) error {
	defer c.Close()
	ended := make(chan struct{})
	go func() { c.replies(); close(ended) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if text != "" {
				_, _ = c.Write([]byte{text[i%len(text)]}) // the end shows above
			}
		}
	}
}
