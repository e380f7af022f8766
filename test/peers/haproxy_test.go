package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// balancer is what HAProxy is told. Each frontend passes connections on to one
// listener, in another way, from the address that is known as that of a proxy, and
// looks for itself whether that is there.
const balancer = `
global
  maxconn 200
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
`

// frontends are the ways to pass a connection on.
var frontends = []struct {
	name, listener, options string
	tls                     bool
}{
	{name: "version 1", listener: "proxied", options: "send-proxy"},
	{name: "version 2", listener: "proxied", options: "send-proxy-v2"},
	{name: "version 2 with extras", listener: "proxied", options: "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"},
	{name: "version 2 before TLS", listener: "secure", options: "send-proxy-v2", tls: true},
	{name: "version 1 before TLS", listener: "secure", options: "send-proxy", tls: true},
}

// TestHAProxy: clients behind a real balancer are known by their own addresses, and
// trusted for these alone.
func TestHAProxy(t *testing.T) {
	haproxy := program(t, "haproxy")
	ctx := bounded(t)
	dir := directory(t)
	s := startProxied(ctx, t, dir)
	config := balancer
	fronts := make([]string, len(frontends))
	for i, f := range frontends {
		fronts[i] = freeLoopback(t)
		config += fmt.Sprintf("listen f%d\n  bind %s\n  unique-id-format %%{+X}o%%rt\n  server postern %s %s source 127.0.0.7 check inter 200ms\n", i, fronts[i], s.addresses[f.listener], f.options)
	}
	startHAProxy(ctx, t, haproxy, dir, config)
	for i, f := range frontends {
		t.Run(f.name, func(t *testing.T) {
			if code := send(ctx, t, fronts[i], f.tls, "127.0.3.7"); code != 250 {
				t.Errorf("a client that is trusted hears %d", code)
			}
			if code := send(ctx, t, fronts[i], f.tls, "127.0.3.8"); code != 550 {
				t.Errorf("a client that is not trusted hears %d", code)
			}
		})
	}
	if err := s.postern.Stop(); err != nil {
		t.Fatal(err)
	}
	facts, err := harness.ReadJournal(s.postern.Journal())
	if err != nil {
		t.Fatal(err)
	}
	var accepted, refused int
	for _, fact := range facts {
		switch {
		case fact.Reason == mail.ReasonAccepted && fromBehind(fact.Origin, "127.0.3.7"):
			accepted++
		case fact.Reason == mail.ReasonRefused && fact.Command == "RCPT" && fromBehind(fact.Origin, "127.0.3.8"):
			refused++
		case fact.Reason == mail.ReasonAccepted, fact.Reason == mail.ReasonRefused:
			t.Errorf("a fact of somebody else: %s of %+v, %v", fact.Command, fact.Origin, fact.Reply)
		}
	}
	if accepted != len(frontends) || refused != len(frontends) {
		t.Errorf("%d messages were accepted and %d refused, want %d of each", accepted, refused, len(frontends))
	}
}

func fromBehind(o *mail.Origin, client string) bool {
	return o.Client.Addr().String() == client && o.Proxy.Addr().String() == "127.0.0.7"
}

// proxied is a Postern behind proxies.
type proxied struct {
	postern   *harness.Postern
	addresses map[string]string // of its listeners, by name
}

const proxiedSettings = `
[[listener]]
name = "proxied"
address = "%s"
trust = ["127.0.3.7", "127.0.0.7"]
proxy_from = ["127.0.0.7"]

[[listener]]
name = "secure"
address = "%s"
trust = ["127.0.3.7", "127.0.0.7"]
proxy_from = ["127.0.0.7"]
tls = "implicit"
tls_certificate = "%s"
tls_key = "%s"
`

func startProxied(ctx context.Context, t *testing.T, dir string) *proxied {
	t.Helper()
	binary, err := harness.BuildPostern(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	sink := &harness.Sink{}
	if err := sink.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	server, _ := mailtest.ServerTLS(t, "postern.test.example")
	if err := errors.Join(os.WriteFile(certificate, mailtest.CertificatePEM(server), 0o600), os.WriteFile(key, mailtest.KeyPEM(t, server), 0o600)); err != nil {
		t.Fatal(err)
	}
	s := &proxied{addresses: map[string]string{"proxied": freeLoopback(t), "secure": freeLoopback(t)}}
	s.postern, err = harness.NewPostern(harness.PosternOptions{
		Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: sink.Addr(),
		Settings: fmt.Sprintf(proxiedSettings, s.addresses["proxied"], s.addresses["secure"], certificate, key),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.postern.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.postern.Stop() }) // when the test has ended before
	return s
}

func freeLoopback(t *testing.T) string {
	t.Helper()
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return harness.Loopback(port)
}

// startHAProxy runs it until the test ends, in the foreground.
func startHAProxy(ctx context.Context, t *testing.T, haproxy, dir, config string) {
	t.Helper()
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, haproxy, "-db", "-f", file)
	said, err := os.Create(filepath.Join(dir, "haproxy.log"))
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = said, said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait() // how it ends is its own affair
		said.Close()
	})
}

// send sends a message from an address to a frontend, and returns the code of the
// reply to its recipient, or of the end of data. It tries again until the frontend
// passes connections on.
func send(ctx context.Context, t *testing.T, front string, secure bool, from string) int {
	t.Helper()
	var code int
	err := harness.Until(ctx, "HAProxy passes connections on", func() (bool, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.DialContext(ctx, "tcp", front)
		if err != nil {
			return false, nil
		}
		if secure {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		defer conn.Close()
		code, err = converse(conn)
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// converse brings a message, and returns the code of the first reply that refuses
// something, or of the last.
func converse(conn net.Conn) (int, error) {
	c := textproto.NewConn(conn)
	code, _, err := c.ReadResponse(0)
	for _, line := range []string{"EHLO client.example", "MAIL FROM:<a@source.example>", "RCPT TO:<b@elsewhere.example>", "DATA", "Subject: x\r\n\r\nx\r\n."} {
		if err == nil && code < 400 {
			err = c.PrintfLine("%s", line)
		}
		if err != nil || code >= 400 {
			return code, err
		}
		code, _, err = c.ReadResponse(0)
	}
	return code, err
}
