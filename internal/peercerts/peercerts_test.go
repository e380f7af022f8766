package peercerts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/certs"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

// pair is an authority with the certificate of a server that it has issued.
func pair(t *testing.T, o certs.Options) (authority, server tls.Certificate) {
	t.Helper()
	authority, err := certs.NewAuthority("test authority", certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server, err = certs.Issue(&authority, o)
	if err != nil {
		t.Fatal(err)
	}
	return authority, server
}

// implicit is a server that begins with TLS, and shows these certificates.
func implicit(t *testing.T, shown ...tls.Certificate) Server {
	t.Helper()
	own := shown[0]
	own.Certificate = nil
	for _, c := range shown {
		own.Certificate = append(own.Certificate, c.Leaf.Raw)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	return Server{Address: hostPort(l.Addr()), Implicit: true, Name: "mail.test", Hello: "here.test"}
}

func hostPort(a net.Addr) mail.HostPort {
	at := netip.MustParseAddrPort(a.String())
	return mail.HostPort{Host: at.Addr().String(), Port: at.Port()}
}

func pool(c tls.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Leaf)
	return p
}

// TestFetch: whether a chain is trusted, for which name, and what a list has from it. With the
// list the server is trusted, whatever was trusted before.
func TestFetch(t *testing.T) {
	authority, good := pair(t, certs.Options{Names: []string{"mail.test"}})
	stranger, _ := pair(t, certs.Options{Names: []string{"mail.test"}})
	_, wrong := pair(t, certs.Options{Names: []string{"other.test"}})
	alone, err := certs.SelfSigned(certs.Options{Names: []string{"mail.test"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		shown     []tls.Certificate
		roots     *x509.CertPool
		problem   string // "": it is trusted
		trusts    string
		authority bool
	}{
		{"trusted, authority not sent", []tls.Certificate{good}, pool(authority), "", "CN=test authority", true},
		{"authority sent, not trusted", []tls.Certificate{good, authority}, pool(stranger), "unknown authority", "CN=test authority", true},
		{"another authority sent", []tls.Certificate{good, stranger}, pool(alone), "unknown authority", "mail.test", false},
		{"nothing sent", []tls.Certificate{good}, pool(stranger), "unknown authority", "mail.test", false},
		{"self-signed", []tls.Certificate{alone}, pool(stranger), "unknown authority", "mail.test", false},
		{"another name", []tls.Certificate{wrong}, pool(wrong), "other.test, not mail.test", "other.test", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := implicit(t, c.shown...)
			s.Roots = c.roots
			chain, err := Fetch(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if chain.Trusted != (c.problem == "") || !strings.Contains(chain.Problem, c.problem) || len(chain.Certificates) != len(c.shown) {
				t.Errorf("trusted %t, %q, of %d certificates", chain.Trusted, chain.Problem, len(chain.Certificates))
			}
			trust := chain.Trust()
			if trust.Subject != c.trusts || trust.Authority != c.authority {
				t.Errorf("a list has %q, an authority: %t", trust.Subject, trust.Authority)
			}
			if s.Roots = x509.NewCertPool(); !s.Roots.AppendCertsFromPEM([]byte(trust.PEM)) {
				t.Fatalf("the list has no certificate: %s", trust.PEM)
			}
			again, err := Fetch(t.Context(), s)
			if err != nil || !again.Trusted && !strings.Contains(again.Problem, "not mail.test") {
				t.Errorf("with the list: %+v, %v", again, err)
			}
		})
	}
}

// TestFetchBySTARTTLS: what is said to a server before TLS and under it, and which servers show
// nothing.
func TestFetchBySTARTTLS(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mail.test")
	for _, c := range []struct{ script, want string }{
		{"S: 220 mail.test\nC: EHLO here.test\nS: 250-mail.test\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\nC: QUIT\nCLOSED", ""},
		{"S: 554 no\nCLOSED", "its greeting: 554 no"},
		{"S: 220 mail.test\nC: EHLO here.test\nS: 250 mail.test\nCLOSED", "does not offer STARTTLS"},
		{"S: 220 mail.test\nC: EHLO here.test\nS: 250 STARTTLS\nCLOSED", "does not offer STARTTLS"}, // the first line is a greeting
		{"S: 220 mail.test\nC: EHLO here.test\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\nCLOSED", "STARTTLS: 454 4.7.0 not now"},
	} {
		peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: config, Scripts: []string{c.script}})
		s := Server{Address: hostPort(net.TCPAddrFromAddrPort(peer.Addr())), Name: "mail.test", Hello: "here.test", Roots: roots}
		chain, err := Fetch(t.Context(), s)
		switch {
		case c.want == "" && (err != nil || !chain.Trusted || chain.Certificates[0].Fingerprint != certs.Fingerprint(config.Certificates[0].Leaf)):
			t.Errorf("%q: %+v, %v", c.script, chain, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: %v, want %s", c.script, err, c.want)
		}
	}
}

// TestFetchFromStrangeServers: what came in clear before the handshake is nothing of TLS, and
// what is no SMTP may be TLS.
func TestFetchFromStrangeServers(t *testing.T) {
	for says, want := range map[string]string{
		"220 a\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n250 and more\r\n": "between its reply to STARTTLS and the handshake",
		"\x15\x03\x01\x00\x02\x02\x0a\r\n":                             "--starttls none",
	} {
		peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
			c.SendRaw(says)
			c.Stall() // until the client hangs up
		}})
		_, err := Fetch(t.Context(), Server{Address: hostPort(net.TCPAddrFromAddrPort(peer.Addr())), Hello: "here.test"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", says, err, want)
		}
	}
}

// TestFetchIsGivenUp: a server that says nothing is left when its time is over.
func TestFetchIsGivenUp(t *testing.T) {
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Scripts: []string{"STALL"}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Fetch(ctx, Server{Address: hostPort(net.TCPAddrFromAddrPort(peer.Addr())), Hello: "here.test"})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}

// TestWrite: a list is for all to read, and replaces a file only if it may.
func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trust.pem")
	first, second := Trust{Subject: "first\nline", PEM: "PEM 1\n"}, Trust{Subject: "second", PEM: "PEM 2\n"}
	if err := first.Write(file, false); err != nil {
		t.Fatal(err)
	}
	if err := second.Write(file, false); !errors.Is(err, ErrExists) {
		t.Errorf("over another file: %v", err)
	}
	wantFile(t, file, "# firstline\nPEM 1\n")
	if err := second.Write(file, true); err != nil {
		t.Error(err)
	}
	wantFile(t, file, "# second\nPEM 2\n")
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("there is %v, %v", left, err)
	}
	if err := second.Write(filepath.Join(file, "x"), false); err == nil {
		t.Error("written below a file")
	}
}

func wantFile(t *testing.T, file, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || string(text) != want || info.Mode().Perm() != 0o644 {
		t.Errorf("it has %q, mode %v; %v, %v", text, info.Mode(), err, statErr)
	}
}
