package smtpserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

// testTLS returns a configuration with a certificate of its own.
func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "mx.test"},
		DNSNames:     []string{"mx.test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// startTLS takes an open session into TLS, up to its second EHLO.
func (c *client) startTLS() *client {
	c.t.Helper()
	tc := c.handshake(&tls.Config{InsecureSkipVerify: true, ServerName: "mx.test"})
	tc.send("EHLO client.test\r\n")
	for {
		line, err := tc.br.ReadString('\n')
		if err != nil || strings.Contains(line, "STARTTLS") {
			c.t.Fatalf("EHLO under TLS: %q, %v", line, err)
		}
		if line[3] == ' ' {
			return tc
		}
	}
}

func (c *client) handshake(config *tls.Config) *client {
	c.t.Helper()
	c.send("STARTTLS\r\n")
	c.expect("220 2.0.0 Ready to start TLS")
	tc := tls.Client(c.Conn, config)
	if err := tc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return newClient(c.t, tc)
}

// TestHelpNamesStartTLS where it is on offer, and only there.
func TestHelpNamesStartTLS(t *testing.T) {
	const commands = "214-2.0.0 Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT"
	const rest = "214 2.0.0 See RFC 5321"
	c := start(t, Options{TLS: testTLS(t)}, &scripted{}).dial().open()
	c.send("HELP\r\n")
	c.expect(commands+" STARTTLS", rest)
	c = c.startTLS()
	c.send("HELP\r\n")
	c.expect(commands, rest)
}

func TestStartTLS(t *testing.T) {
	h := &scripted{}
	s := start(t, Options{TLS: testTLS(t)}, h)
	c := s.dial().open()
	c.play(`
	C: STARTTLS now
	S: 501 5.5.4 STARTTLS has no arguments
	C: MAIL FROM:<a@b>
	S: 250 2.1.0 Ok
	`)
	c = c.handshake(&tls.Config{InsecureSkipVerify: true, ServerName: "mx.test", MaxVersion: tls.VersionTLS13})
	c.play(`
	C: MAIL FROM:<a@b>
	S: 503 5.5.1 Send EHLO or HELO first
	C: HELO client.test
	S: 250 mx.test
	C: STARTTLS
	S: 503 5.5.1 TLS is on already
	C: EHLO client.test
	S: 250-mx.test greets client.test
	S: 250-PIPELINING
	S: 250-SIZE 52428800
	S: 250-8BITMIME
	S: 250-SMTPUTF8
	S: 250-DSN
	S: 250-ENHANCEDSTATUSCODES
	S: 250-CHUNKING
	S: 250-LIMITS RCPTMAX=1000 MAILMAX=10000
	S: 250 HELP
	C: QUIT
	S: 221 2.0.0 mx.test closing connection
	S.
	`)
	if n := h.counted("Reset"); n != 1 {
		t.Errorf("Reset called %d times; STARTTLS drops the transaction", n)
	}
	begin, clear, helo, secure := h.origins[0], h.origins[1], h.origins[2], h.origins[3]
	if begin.Hello != "" || begin.Protocol != "SMTP" || begin.Client.Addr() != loopback || begin.Local.String() != s.addr {
		t.Errorf("at first %+v", begin)
	}
	if clear.TLS != nil || clear.Protocol != "ESMTP" || clear.Hello != "client.test" {
		t.Errorf("in clear %+v", clear)
	}
	if helo.TLS == nil || helo.Protocol != "SMTP" {
		t.Errorf("after HELO %+v", helo)
	}
	want := mail.TLS{Version: "TLS 1.3", Cipher: secure.TLS.Cipher, ServerName: "mx.test"}
	if *secure.TLS != want || !strings.HasPrefix(want.Cipher, "TLS_") || secure.Protocol != "ESMTPS" {
		t.Errorf("under TLS %+v, %+v", secure, secure.TLS)
	}
}

// TestStartTLSInjection: what a man in the middle puts behind STARTTLS is
// not executed, neither in clear nor under TLS.
func TestStartTLSInjection(t *testing.T) {
	for _, injected := range []string{"RSET\r\n", "N", "\r\n", "MAIL FROM:<evil@example.com>\r\n"} {
		h := &scripted{}
		s := start(t, Options{TLS: testTLS(t)}, h)
		c := s.dial().open()
		c.send("STARTTLS\r\n" + injected)
		c.expect("554 5.5.1 Nothing may follow STARTTLS before its reply")
		c.Close()
		s.stop()
		if h.counted("RSET") > 0 || len(h.mails) > 0 || h.counted("STARTTLS") > 0 {
			t.Errorf("%q: handler was asked %q", injected, h.calls)
		}
	}
}

func TestStartTLSFails(t *testing.T) {
	h := &scripted{}
	var log logBuffer
	s := start(t, Options{TLS: testTLS(t), Logger: log.logger()}, h)
	c := s.dial().open()
	c.send("STARTTLS\r\n")
	c.expect("220 2.0.0 Ready to start TLS")
	c.send("NOOP\r\nthis is no handshake\r\n")
	buf := make([]byte, 100)
	if n, _ := c.br.Read(buf); n > 0 && buf[0] != 21 { // 21: a TLS alert
		t.Errorf("server says %q", buf[:n])
	}
	s.stop()
	if !strings.Contains(log.String(), "TLS handshake failed") || h.counted("NOOP") > 0 {
		t.Errorf("log:\n%s", log.String())
	}
}

// TestStartTLSRefused: the handler may refuse it, and then nothing happens.
func TestStartTLSRefused(t *testing.T) {
	h := &scripted{replies: map[string]mail.Reply{"STARTTLS": mail.NewReply(454, "4.7.0", "Not now")}}
	start(t, Options{TLS: testTLS(t)}, h).dial().open().play(`
	C: STARTTLS
	S: 454 4.7.0 Not now
	C: NOOP
	S: 250 2.0.0 Ok
	`)
}

// TestNoTickets: sessions are not resumed, also where the configuration is
// chosen for each client.
func TestNoTickets(t *testing.T) {
	base := testTLS(t)
	chosen := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return base, nil }}
	for _, config := range []*tls.Config{base, chosen} {
		s := start(t, Options{TLS: config}, &scripted{})
		clientConfig := &tls.Config{
			InsecureSkipVerify: true, ServerName: "mx.test", ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
		for range 2 {
			c := s.dial().open().handshake(clientConfig)
			c.send("QUIT\r\n")
			c.expect("221 2.0.0 mx.test closing connection")
			c.expectEnd()
			if c.Conn.(*tls.Conn).ConnectionState().DidResume {
				t.Error("session was resumed")
			}
		}
	}
	if base.SessionTicketsDisabled {
		t.Error("the caller's configuration was changed")
	}
}
