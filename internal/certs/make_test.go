package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

// authority makes one that is valid for two hours from now.
func authority(t *testing.T) *tls.Certificate {
	t.Helper()
	ca, err := NewAuthority("Test CA", Options{Lifetime: 2 * time.Hour, Clock: mail.NewManualClock(now)})
	if err != nil {
		t.Fatal(err)
	}
	return &ca
}

// verify reports whether a certificate leads to an authority, for a use.
func verify(c, ca *x509.Certificate, name string, use x509.ExtKeyUsage) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := c.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

// TestIssue: an authority signs certificates of servers and of clients, each for its use
// alone (RFC 5280 4.2.1.12), and none of them can sign another.
func TestIssue(t *testing.T) {
	ca := authority(t)
	for _, c := range []struct {
		name          string
		o             Options
		host          string
		good, refused x509.ExtKeyUsage
	}{
		{"server", Options{Names: []string{"mail.example.com"}}, "mail.example.com", x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		{"address", Options{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, "192.0.2.1", x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		{"client", Options{Emails: []string{"scanner@example.com"}, Client: true}, "", x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	} {
		c.o.Clock = mail.NewManualClock(now)
		issued, err := Issue(ca, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(issued.Leaf, ca.Leaf, c.host, c.good); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if verify(issued.Leaf, ca.Leaf, c.host, c.refused) == nil {
			t.Errorf("%s: it is good for the other end, too", c.name)
		}
		if strings.Join(issued.Leaf.EmailAddresses, " ") != strings.Join(c.o.Emails, " ") || !matches(issued.Leaf, issued.PrivateKey.(crypto.Signer)) {
			t.Errorf("%s: the certificate of %v, with another key", c.name, issued.Leaf.EmailAddresses)
		}
		if _, err := Issue(&issued, c.o); !errors.Is(err, ErrNotCA) {
			t.Errorf("%s: what it signs: %v, want %v", c.name, err, ErrNotCA)
		}
	}
}

// TestIssuedEndsWithAuthority: beyond that nobody could verify it.
func TestIssuedEndsWithAuthority(t *testing.T) {
	ca := authority(t)
	for lifetime, want := range map[time.Duration]time.Time{time.Hour: now.Add(time.Hour), 48 * time.Hour: ca.Leaf.NotAfter} {
		c, err := Issue(ca, Options{Names: []string{"a.example"}, Lifetime: lifetime, Clock: mail.NewManualClock(now)})
		if err != nil || !c.Leaf.NotAfter.Equal(want) {
			t.Errorf("for %v: until %v, error %v; want %v", lifetime, c.Leaf.NotAfter, err, want)
		}
	}
}

// TestIssueFor: the answer to a request (RFC 2986) has its names and its key.
func TestIssueFor(t *testing.T) {
	ca := authority(t)
	for _, kind := range []KeyKind{"", ECDSA, RSA, Ed25519} {
		key, err := NewKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		der, key, err := NewRequest(Options{Names: []string{"mail.example.com"}, Addresses: []netip.Addr{netip.MustParseAddr("::1")}, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		r, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		c, err := IssueFor(ca, r, Options{Clock: mail.NewManualClock(now)})
		if err != nil || !matches(c.Leaf, key) || c.PrivateKey != nil {
			t.Fatalf("%s: %v, key %v", kind, err, c.PrivateKey)
		}
		for _, name := range []string{"mail.example.com", "::1"} {
			if err := verify(c.Leaf, ca.Leaf, name, x509.ExtKeyUsageServerAuth); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		r.Signature[len(r.Signature)-1] ^= 1
		if _, err := IssueFor(ca, r, Options{}); err == nil {
			t.Errorf("%s: a request that somebody has changed was answered", kind)
		}
	}
	if _, err := NewKey("dsa"); err == nil {
		t.Error("a key of another kind was made")
	}
}

func TestOptionsRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"none":            {},
		"a blank":         {Names: []string{"mail example.com"}},
		"two wildcards":   {Names: []string{"*.*.example.com"}},
		"a wild suffix":   {Names: []string{"mail.*"}},
		"not ASCII":       {Names: []string{"bücher.example"}},
		"no domain":       {Emails: []string{"joe"}},
		"a mail address":  {Names: []string{"joe@example.com"}},
		"too many":        {Names: make([]string, maxNames+1)},
		"email not ASCII": {Emails: []string{"jörg@example.com"}},
	} {
		if _, err := SelfSigned(o); err == nil {
			t.Errorf("%s: a certificate was made", name)
		}
		if _, _, err := NewRequest(o); err == nil {
			t.Errorf("%s: a request was made", name)
		}
		if _, err := Issue(authority(t), o); err == nil {
			t.Errorf("%s: a certificate was issued", name)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 65)} {
		if _, err := NewAuthority(name, Options{}); err == nil {
			t.Errorf("an authority of the name %q was made", name)
		}
	}
}
