package smtpserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/metrics"
	"postern/internal/smtp"
)

// secure begins TLS on a connection whose server begins with it.
func (c *client) secure(config *tls.Config) *client {
	c.t.Helper()
	config = config.Clone()
	config.InsecureSkipVerify = true
	tc := tls.Client(c.Conn, config)
	if err := tc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return newClient(c.t, tc)
}

// TestImplicitTLS: the greeting comes under TLS, and STARTTLS is not offered (RFC
// 8314 3.3).
func TestImplicitTLS(t *testing.T) {
	h := &scripted{}
	s := start(t, Options{TLS: testTLS(t), Implicit: true, TLSRequired: true}, h)
	c := s.dial().secure(&tls.Config{ServerName: "mx.test"})
	c.play(`
	S: 220 mx.test ESMTP Postern
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
	C: STARTTLS
	S: 503 5.5.1 TLS is on already
	C: MAIL FROM:<a@b>
	S: 250 2.1.0 Ok
	C: QUIT
	S: 221 2.0.0 mx.test closing connection
	S.
	`)
	begin, hello := h.origins[0], h.origins[1]
	if begin.TLS == nil || begin.TLS.ServerName != "mx.test" || begin.Protocol != smtp.ProtocolSMTP || hello.Protocol != "ESMTPS" {
		t.Errorf("at first %+v, then %+v", begin, hello)
	}
}

// TestImplicitTLSFails: a client that speaks in clear reaches no handler, and is
// counted.
func TestImplicitTLSFails(t *testing.T) {
	h := &scripted{}
	var log logBuffer
	set := metrics.NewSet()
	s := start(t, Options{TLS: testTLS(t), Implicit: true, Logger: log.logger(), Metrics: NewMetrics(set)}, h)
	c := s.dial()
	c.send("EHLO client.test\r\n")
	said, _ := io.ReadAll(c.br)
	if len(said) > 0 && said[0] != 21 { // 21: a TLS alert
		t.Errorf("server says %q", said)
	}
	s.stop()
	if !strings.Contains(log.String(), "TLS handshake failed") || len(h.calls) > 0 {
		t.Errorf("calls %q, log:\n%s", h.calls, log.String())
	}
	if text := exposed(t, set); !strings.Contains(text, "postern_smtp_tls_failed_total{} 1\n") || !strings.Contains(text, "postern_smtp_sessions_total{} 1\n") {
		t.Errorf("counted\n%s", text)
	}
}

// exposed returns the counters of a set, one a line.
func exposed(t *testing.T, set *metrics.Set) string {
	t.Helper()
	families, err := set.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			fmt.Fprintf(&b, "%s{%s} %v\n", f.GetName(), strings.Join(labels, ","), m.GetCounter().GetValue())
		}
	}
	return b.String()
}

// TestImplicitTLSRefused: one client too many costs no handshake, and is told nothing
// that it could not read; the fact says why.
func TestImplicitTLSRefused(t *testing.T) {
	var recorded mailtest.Facts
	s := start(t, Options{TLS: testTLS(t), Implicit: true, MaxConnections: 1, Record: recorded.Record}, &scripted{})
	first := s.dial().secure(&tls.Config{})
	first.expect("220 mx.test ESMTP Postern")
	s.dial().expectEnd()
	if f := recorded.All(); len(f) != 1 || f[0].Command != "connect" || f[0].Reply.Code != 421 {
		t.Errorf("facts %+v", f)
	}
	first.send("NOOP\r\n")
	first.expect("250 2.0.0 Ok")
}

// TestImplicitTLSStops: a server that stops does not wait for a handshake, nor does it
// for a PROXY header.
func TestImplicitTLSStops(t *testing.T) {
	for _, o := range []Options{
		{TLS: testTLS(t), Implicit: true},
		{TLS: testTLS(t), Implicit: true, ProxyFrom: loopbacks},
		{ProxyFrom: loopbacks},
	} {
		var log logBuffer
		s := start(t, o, &scripted{})
		c := s.dial()
		for s.Connections() == 0 {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			c.br.Peek(1)
		}
		s.stop() // fails the test when it has to wait
		if strings.Contains(log.String(), "panic") {
			t.Error(log.String())
		}
	}
}

// TestHandshakeTimeout: a client that does not shake hands has a minute, however long
// commands may take.
func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		s := New(Options{TLS: newWorld(t).server, Implicit: true}, &scripted{})
		begin := time.Now()
		done := make(chan struct{})
		go func() { defer close(done); s.serve(context.Background(), far) }()
		if n, err := io.Copy(io.Discard, near); err != nil {
			t.Errorf("%d octets, %v", n, err)
		}
		<-done
		if took := time.Since(begin); took != handshakeTimeout {
			t.Errorf("the server waited for %v", took)
		}
	})
}

// TestHandshakesWait: no more handshakes are worked on than there are slots; one that
// waits for its client has none; and sessions go on while all are taken.
func TestHandshakesWait(t *testing.T) {
	slots := NewHandshakes(1)
	s := start(t, Options{TLS: testTLS(t), Implicit: true, Handshakes: slots}, &scripted{})
	idle := s.dial() // has said nothing
	open := s.dial().secure(&tls.Config{})
	open.expect("220 mx.test ESMTP Postern")

	slots.slots <- struct{}{} // a handshake that is worked on
	waiting := s.dial()
	shaken := make(chan error, 1)
	tc := tls.Client(waiting.Conn, &tls.Config{InsecureSkipVerify: true})
	go func() { shaken <- tc.Handshake() }()
	for range 100 {
		open.send("NOOP\r\n")
		open.expect("250 2.0.0 Ok")
	}
	select {
	case err := <-shaken:
		t.Fatalf("a second handshake was worked on: %v", err)
	default:
	}
	<-slots.slots
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	newClient(t, tc).expect("220 mx.test ESMTP Postern")
	idle.secure(&tls.Config{}).expect("220 mx.test ESMTP Postern")
}

// TestHandshakesGiveUp: a handshake that gets no slot ends with its time, and leaves
// none taken.
func TestHandshakesGiveUp(t *testing.T) {
	slots := NewHandshakes(1)
	slots.slots <- struct{}{}
	s := start(t, Options{TLS: testTLS(t), Implicit: true, Handshakes: slots, CommandTimeout: 50 * time.Millisecond}, &scripted{})
	c := s.dial()
	if err := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("shook hands without a slot")
	}
	<-slots.slots
	s.stop()
	if len(slots.slots) != 0 {
		t.Error("a slot was kept")
	}
}

// TestTLSRequired: before TLS there is nothing but what leads to it (RFC 3207 4).
func TestTLSRequired(t *testing.T) {
	h := newKnowing("PLAIN")
	c := start(t, Options{TLS: testTLS(t), TLSRequired: true, AuthInClear: true}, h).dial().open()
	const refusal = "530 5.7.0 Must issue a STARTTLS command first"
	for _, said := range []string{
		"MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "VRFY joe", "HELP", "EXPN joe", "AUTH PLAIN c2VjcmV0", "XYZZY", "BDAT 12 LAST\r\nQUIT\r\nQUIT\r\n",
	} {
		c.send(strings.TrimSuffix(said, "\r\n") + "\r\n")
		c.expect(refusal)
	}
	c.play(`
	C: NOOP
	S: 250 2.0.0 Ok
	C: RSET
	S: 250 2.0.0 Ok
	C: HELO client.test
	S: 250 mx.test
	`)
	c = c.startTLS()
	c.play(`
	C: AUTH PLAIN c2VjcmV0
	S: 235 2.7.0 Welcome
	C: MAIL FROM:<a@b>
	S: 250 2.1.0 Ok
	C: QUIT
	S: 221 2.0.0 mx.test closing connection
	S.
	`)
	if len(h.begun) != 1 || len(h.mails) != 1 {
		t.Errorf("exchanges %q, calls %q", h.begun, h.calls)
	}
}

// authority issues certificates for clients.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign signs a certificate with the key of the authority, or with its own when there
// is none yet.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// client is the configuration of a client with a certificate.
func (a *authority) client(change func(*x509.Certificate)) *tls.Config {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "print\x07er"}, DNSNames: []string{"printer.test"}, EmailAddresses: []string{"printer@test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	cert, key := a.sign(template)
	shown := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	return &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }}
}

func fine509(*x509.Certificate) {}

// TestClientCertificates: whatever certificate a client shows, it hears in SMTP what
// is wrong with it, under each version of TLS.
func TestClientCertificates(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	server := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	code := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }
	anyUse := func(c *x509.Certificate) { c.ExtKeyUsage = nil }
	for name, c := range map[string]struct {
		ask      ClientCertificates
		client   *tls.Config
		verified bool
		shown    bool
		refusal  string // how it begins
	}{
		"not asked for":          {ClientCertificates{Authorities: ours.pool()}, ours.client(fine509), false, false, ""},
		"asked for, good":        {ClientCertificates{Ask: true, Authorities: ours.pool()}, ours.client(fine509), true, true, ""},
		"asked for, of others":   {ClientCertificates{Ask: true, Authorities: ours.pool()}, others.client(fine509), false, true, ""},
		"asked for, nobody's":    {ClientCertificates{Ask: true}, ours.client(fine509), false, true, ""},
		"asked for, none":        {ClientCertificates{Ask: true, Authorities: ours.pool()}, &tls.Config{InsecureSkipVerify: true}, false, false, ""},
		"required, good":         {ClientCertificates{Require: true, Authorities: ours.pool()}, ours.client(fine509), true, true, ""},
		"required, for any use":  {ClientCertificates{Require: true, Authorities: ours.pool()}, ours.client(anyUse), true, true, ""},
		"required, none":         {ClientCertificates{Require: true, Authorities: ours.pool()}, &tls.Config{InsecureSkipVerify: true}, false, false, "554 5.7.0 Refused: a client certificate is required"},
		"required, of others":    {ClientCertificates{Require: true, Authorities: ours.pool()}, others.client(fine509), false, true, "554 5.7.0 Refused: the client certificate "},
		"required, expired":      {ClientCertificates{Require: true, Authorities: ours.pool()}, ours.client(expired), false, true, "554 5.7.0 Refused: the client certificate "},
		"required, of a server":  {ClientCertificates{Require: true, Authorities: ours.pool()}, ours.client(server), true, true, ""},
		"required, for code":     {ClientCertificates{Require: true, Authorities: ours.pool()}, ours.client(code), false, true, "554 5.7.0 Refused: the client certificate "},
		"required, no authority": {ClientCertificates{Require: true}, ours.client(fine509), false, true, "554 5.7.0 Refused: the client certificate "},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := c.client.Clone()
			config.MaxVersion = version
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				h := &scripted{}
				implicit := start(t, Options{TLS: testTLS(t), Implicit: true, ClientCertificates: c.ask}, h)
				client := implicit.dial().secure(config)
				line, err := client.br.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, c.refusal) || c.refusal == "" && !strings.HasPrefix(line, "220") {
					t.Fatalf("greeted with %q, %v", line, err)
				}
				if c.refusal != "" {
					client.expectEnd()
				}
				implicit.stop()
				if c.refusal != "" && len(h.calls) > 0 {
					t.Errorf("the handler was asked %q", h.calls)
				}

				h = &scripted{}
				explicit := start(t, Options{TLS: testTLS(t), ClientCertificates: c.ask}, h)
				client = explicit.dial().open()
				if c.ask.Require {
					client.send("MAIL FROM:<a@b>\r\n")
					client.expect("530 5.7.0 Must issue a STARTTLS command first")
				}
				client = client.handshake(config)
				for _, said := range []string{"EHLO client.test", "NOOP", "HELP", "MAIL FROM:<a@b>", "BDAT 6 LAST\r\nQUIT\r\n"} {
					if c.refusal == "" {
						break
					}
					client.send(strings.TrimSuffix(said, "\r\n") + "\r\n")
					if line, err := client.br.ReadString('\n'); err != nil || !strings.HasPrefix(line, c.refusal) {
						t.Fatalf("%s: %q, %v", said, line, err)
					}
				}
				if c.refusal == "" {
					client.send("EHLO client.test\r\n")
					for line := ""; !strings.HasPrefix(line, "250 "); {
						if line, err = client.br.ReadString('\n'); err != nil {
							t.Fatal(err)
						}
					}
					checkShown(t, h.origins[len(h.origins)-1].TLS, c.verified, c.shown)
				}
				client.send("QUIT\r\n")
				client.expect("221 2.0.0 mx.test closing connection")
				client.expectEnd()
				if c.refusal != "" && h.counted("Mail") > 0 {
					t.Errorf("the handler was asked %q", h.calls)
				}
			})
		}
	}
}

func checkShown(t *testing.T, got *mail.TLS, verified, shown bool) {
	t.Helper()
	if got.Verified != verified || (got.Certificate != nil) != shown {
		t.Fatalf("%+v, %+v", got, got.Certificate)
	}
	if !shown {
		return
	}
	c := got.Certificate
	if c.Subject != "CN=print?er" || strings.Join(c.Names, " ") != "printer.test printer@test" || len(c.Fingerprint) != 64 || c.Expires.IsZero() {
		t.Errorf("%+v", c)
	}
}

// TestDescribeCertificate bounds what the owner of a certificate can have kept.
func TestDescribeCertificate(t *testing.T) {
	cert, _ := newAuthority(t).sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: strings.Repeat("ü", 400)},
		DNSNames: append([]string{strings.Repeat("x", 300)}, strings.Split(strings.Repeat("a.test ", 30), " ")[:30]...),
	})
	c := describeCertificate([]*x509.Certificate{cert})
	if len(c.Subject) > maxSubject || !strings.HasSuffix(c.Subject, "ü") || len(c.Names) != maxNames || c.Names[0] != "a.test" {
		t.Errorf("%+v", c)
	}
}

// TestWithout: what a listener is without is not offered, and not taken.
func TestWithout(t *testing.T) {
	start(t, Options{Without: Without{Pipelining: true, EightBitMIME: true, SMTPUTF8: true, DSN: true, Chunking: true}}, &scripted{}).dial().play(`
	S: 220 mx.test ESMTP Postern
	C: EHLO client.test
	S: 250-mx.test greets client.test
	S: 250-SIZE 52428800
	S: 250-ENHANCEDSTATUSCODES
	S: 250-LIMITS RCPTMAX=1000 MAILMAX=10000
	S: 250 HELP
	C: MAIL FROM:<a@b> BODY=8BITMIME
	S: 555 5.5.4 Unknown parameter BODY
	C: MAIL FROM:<a@b> SMTPUTF8
	S: 555 5.5.4 Unknown parameter SMTPUTF8
	C: MAIL FROM:<a@b> RET=FULL
	S: 555 5.5.4 Unknown parameter RET
	C: MAIL FROM:<a@b> SIZE=100
	S: 250 2.1.0 Ok
	C: RCPT TO:<c@d> NOTIFY=NEVER
	S: 555 5.5.4 Unknown parameter NOTIFY
	C: RCPT TO:<c@d>
	S: 250 2.1.5 Ok
	C: BDAT 6 LAST
	C: QUIT
	S: 502 5.5.1 BDAT is not offered here
	C: HELP
	S: 214-2.0.0 Commands: EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT
	S: 214 2.0.0 See RFC 5321
	`)
}

// TestHabits: what a session needs that a listener is better without is counted once.
func TestHabits(t *testing.T) {
	set := metrics.NewSet()
	config := testTLS(t)
	config.MinVersion = tls.VersionTLS10
	o := Options{TLS: config, AuthInClear: true, Newlines: repair, Metrics: NewMetrics(set)}
	s := start(t, o, newKnowing("PLAIN"))
	c := s.dial().open()
	c.play(`
	C: AUTH PLAIN c2VjcmV0
	S: 235 2.7.0 Welcome
	C: HELO client.test
	S: 250 mx.test
	C: HELO client.test
	S: 250 mx.test
	C: MAIL FROM:<a@b>
	S: 250 2.1.0 Ok
	C: RCPT TO:<c@d>
	S: 250 2.1.5 Ok
	C: DATA
	S: 354 End data with <CR><LF>.<CR><LF>
	C= "a\nb\r\n.\r\n"
	S: 250 2.0.0 Kept 6 octets
	`)
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		c := s.dial().open().handshake(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version})
		c.send("QUIT\r\n")
		c.expect("221 2.0.0 mx.test closing connection")
	}
	s.stop()
	text := exposed(t, set)
	for _, want := range []string{`{habit=helo} 1`, `{habit=tls1.0} 1`, `{habit=tls1.1} 1`, `{habit=weak_cipher} 0`, `{habit=auth_in_clear} 1`, `{habit=bare_newline} 1`} {
		if !strings.Contains(text, "postern_smtp_old_habits_total"+want+"\n") {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}
