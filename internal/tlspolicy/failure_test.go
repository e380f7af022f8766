package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"postern/internal/certs"
	"postern/internal/mail"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// chain is the certificate of a server, and of its authority.
func chain(t *testing.T, authorityFrom, from time.Time, names ...string) (leaf, authority *x509.Certificate) {
	t.Helper()
	ca, err := certs.NewAuthority("CA", certs.Options{Clock: mail.NewManualClock(authorityFrom), Lifetime: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c, err := certs.Issue(&ca, certs.Options{Names: names, Clock: mail.NewManualClock(from)})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf, ca.Leaf
}

// TestWhyNotVerified: what is said of certificates that are not good, to the sender and to the
// operator.
func TestWhyNotVerified(t *testing.T) {
	good, authority := chain(t, now, now, "mx.example")
	old, oldAuthority := chain(t, now.AddDate(0, -3, 0), now.AddDate(0, -2, -5), "mx.example")
	client, err := certs.SelfSigned(certs.Options{Names: []string{"mx.example"}, Client: true, Clock: mail.NewManualClock(now)})
	if err != nil {
		t.Fatal(err)
	}
	many, manyAuthority := chain(t, now, now, "a.example", "b.example", "c.example", "d.example", "e.example", "f.example", "g.example")
	for _, c := range []struct {
		name          string
		leaf, trusted *x509.Certificate
		public, cause string
	}{
		{"good", good, authority, "", ""},
		{"not trusted", good, oldAuthority, "is from no authority that is trusted here", `the certificate of "CN=mx.example" is from "CN=CA", which no authority that is trusted vouches for`},
		{"expired", old, oldAuthority, "has expired", `the certificate of "CN=mx.example" expired on 2025-12-29T09:00:00Z`},
		{"for clients", client.Leaf, client.Leaf, "cannot be verified", `the certificate of "CN=mx.example" cannot be verified: x509: certificate specifies an incompatible key usage`},
		{"for other names", many, manyAuthority, "is for other names", `the certificate is for "a.example", "b.example", "c.example", "d.example", "e.example", 2 more, and not for mx.example`},
	} {
		pool := x509.NewCertPool()
		pool.AddCert(c.trusted)
		check, config := Policy{Level: Verify, Trust: &list{pool}}.Check("mx.example", &tls.Config{}, func() time.Time { return now })
		err := config.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.leaf}})
		told := check.Told(err)
		if c.public == "" {
			if err != nil || !told.Met || told.Name != "mx.example" || told.Trust != "list" {
				t.Errorf("%s: %v, %+v", c.name, err, told)
			}
			continue
		}
		failure, is := errors.AsType[*Failure](err)
		if !is || !strings.HasSuffix(failure.Reply.Text, "certificate of mx.example "+c.public) || failure.Reply.Code != 451 || failure.Cause != c.cause || told.Met || told.Because != c.cause {
			t.Errorf("%s: %+v, %+v", c.name, failure, told)
		}
	}
}

// TestExpiredAuthority: an authority that is trusted and no longer valid is named.
func TestExpiredAuthority(t *testing.T) {
	leaf, authority := chain(t, now.AddDate(0, -2, 0), now.AddDate(0, -2, 0), "mx.example")
	fresh := *leaf
	fresh.NotBefore, fresh.NotAfter = now.AddDate(0, 0, -1), now.AddDate(0, 0, 1)
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	_, config := Policy{Level: Verify, Trust: &list{pool}}.Check("mx.example", &tls.Config{}, func() time.Time { return now })
	err := config.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{&fresh}})
	failure, is := errors.AsType[*Failure](err)
	if !is || failure.Cause != `the certificate of "CN=CA" expired on 2026-02-01T09:00:00Z` ||
		failure.Reply.Text != "TLS is required, but the certificate of an issuer of that of mx.example has expired" {
		t.Errorf("%+v", failure)
	}
}

// TestBroken: which failures of a handshake are of the version, whoever complains of it.
func TestBroken(t *testing.T) {
	p := Policy{Level: Required}
	for said, want := range map[string]string{
		"tls: server selected unsupported protocol version 301": "451 4.7.4 TLS 1.2 is required, but mx.example does not speak it",
		"remote error: tls: protocol version not supported":     "451 4.7.4 TLS 1.2 is required, but mx.example does not speak it",
		"remote error: tls: internal error":                     "",
	} {
		failure, got := p.Broken("mx.example", errors.New(said)), ""
		if failure != nil {
			got = failure.Reply.String()
		}
		if got != want || failure != nil && !strings.HasSuffix(failure.Cause, said) {
			t.Errorf("%s: %q, %v", said, got, failure)
		}
	}
}

// TestWordsOfCertificates: what stands in a certificate is never long, and commands no terminal.
func TestWordsOfCertificates(t *testing.T) {
	c := &x509.Certificate{DNSNames: []string{"\x1b[2J\r\n250 ok", strings.Repeat("x", 1000)}}
	c.Subject.CommonName = strings.Repeat("\u202e\n", 1000)
	for _, said := range []string{nameOf(c), namesOf(c), namesOf(&x509.Certificate{})} {
		if len(said) > 1500 || strings.ContainsAny(said, "\x1b\r\n\u202e") {
			t.Errorf("said %d octets: %.100q", len(said), said)
		}
	}
}
