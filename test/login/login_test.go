// Package login logs in at the real binary, and tries to by guessing. It is no library.
//
// Clients come from loopback addresses of their own, so that each is a client of its own
// to the server. What is asserted is work and replies, never time.
package login

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/auth"
	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// limit bounds each test, and every wait in it.
const limit = 5 * time.Minute

// Who there is.
const (
	user     = "joe"
	password = "marked-password-of-joe"
)

// server is a Postern whose listener "login" offers AUTH in clear.
type server struct {
	*harness.Postern
	login, metrics string // addresses
}

const listener = `
[log]
level = "debug"

[[listener]]
name = "login"
address = "%s"
auth = "required"
auth_without_tls = true
max_connections_per_client = 50

[monitoring]
address = "%s"

[auth]
never_ban = []
delay = "0s"
`

// start starts a Postern with one user in its directory.
func start(ctx context.Context, t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{login: freeAddress(t), metrics: freeAddress(t)}
	binary, err := harness.BuildPostern(ctx, dir)
	mailtest.Must(t, err)
	s.Postern, err = harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: filepath.Join(dir, "instance"),
		Settings: fmt.Sprintf(listener, s.login, s.metrics)})
	mailtest.Must(t, err)
	addUser(ctx, t, filepath.Join(s.Data(), "directory"))
	mailtest.Must(t, s.Start(ctx))
	t.Cleanup(s.Kill)
	return s
}

func addUser(ctx context.Context, t *testing.T, dir string) {
	t.Helper()
	d, err := directory.Open(ctx, directory.Options{Dir: dir})
	mailtest.Must(t, err)
	c, err := auth.NewCredentials(password)
	mailtest.Must(t, err)
	mailtest.Must(t, d.Change(ctx, "test", func(tx *directory.Tx) error {
		return tx.PutUser(directory.User{Login: user, Password: c.Password, SCRAM: c.SCRAM, Enabled: true, Services: mail.Services{Submit: true, Relay: true}})
	}))
	mailtest.Must(t, d.Close())
}

// metric reads a metric without labels, or the sum of those with a label.
func (s *server) metric(t *testing.T, name string) int {
	t.Helper()
	response, err := http.Get("http://" + s.metrics + "/metrics")
	mailtest.Must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	mailtest.Must(t, err)
	sum, found := 0.0, false
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key != name && !strings.HasPrefix(key, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		mailtest.Must(t, err)
		sum, found = sum+v, true
	}
	if !found {
		t.Fatalf("there is no metric %s", name)
	}
	return int(sum)
}

// client is one connection from an address.
type client struct {
	net.Conn
	lines *bufio.Reader
}

// connect connects from an address, and returns the greeting; the client is nil when it
// refuses.
func (s *server) connect(ctx context.Context, from string) (*client, string, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(ctx, "tcp", s.login)
	if err != nil {
		return nil, "", err
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	c := &client{conn, bufio.NewReader(conn)}
	greeting, err := c.reply()
	if err == nil && strings.HasPrefix(greeting, "220") {
		_, err = c.say("EHLO client.example")
		return c, greeting, err
	}
	conn.Close()
	return nil, greeting, err
}

// reply reads a reply, and returns its last line.
func (c *client) reply() (string, error) {
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil || len(line) < 4 || line[3] != '-' {
			return strings.TrimSpace(line), err
		}
	}
}

func (c *client) say(line string) (string, error) {
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		return "", err
	}
	return c.reply()
}

// plain says AUTH PLAIN, and returns the code of the reply.
func (c *client) plain(user, password string) (string, error) {
	reply, err := c.say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
	return reply[:min(len(reply), 3)], err
}

// loginFrom logs in once from an address, and returns the code of what is said at last.
func (s *server) loginFrom(ctx context.Context, from, user, password string) (string, error) {
	c, greeting, err := s.connect(ctx, from)
	if c == nil {
		return greeting[:min(len(greeting), 3)], err
	}
	defer c.Close()
	code, err := c.plain(user, password)
	if err == nil {
		_, err = c.say("QUIT")
	}
	return code, err
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := harness.FreePort()
	mailtest.Must(t, err)
	return harness.Loopback(port)
}
