package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
)

// shelf is a Source of what it has.
type shelf []*tls.Certificate

func (s shelf) Certificates() []*tls.Certificate { return s }

// forNames makes a certificate with an ECDSA key for names.
func forNames(t *testing.T, names ...string) *tls.Certificate {
	t.Helper()
	c, err := SelfSigned(Options{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// TestChoice: the name that a client asks for (RFC 6066 3) chooses the certificate; a
// wildcard stands for one label (RFC 9525 6.3), and an exact name goes before it.
func TestChoice(t *testing.T) {
	first, wild, exact := forNames(t, "mail.example.com"), forNames(t, "*.example.net"), forNames(t, "MX.example.net")
	choice := Choice{shelf{first}, shelf{wild}, shelf{exact}}
	for _, c := range []struct {
		name string
		want *tls.Certificate
	}{
		{"", first},
		{"mail.example.com", first},
		{"unknown.example.org", first},
		{"mx.example.net", exact},
		{"mx.Example.NET.", exact},
		{"other.example.net", wild},
		{"a.b.example.net", first},
		{"example.net", first},
		{".net", first},
	} {
		got, err := choice.Get(hello(c.name, tls.ECDSAWithP256AndSHA256))
		if err != nil || got != c.want {
			t.Errorf("%q: the certificate for %v, error %v; want that for %v", c.name, got.Leaf.DNSNames, err, c.want.Leaf.DNSNames)
		}
	}
}

// hello is what a client says that can verify such signatures.
func hello(name string, schemes ...tls.SignatureScheme) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: name, SignatureSchemes: schemes, SupportedVersions: []uint16{tls.VersionTLS13},
		CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256}, SupportedPoints: []uint8{0},
	}
}

// TestChoiceByKey: of two for one name, a client gets the one whose key it can use; if it
// can use none, the first, so that the handshake tells why.
func TestChoiceByKey(t *testing.T) {
	key, err := NewKey(RSA)
	if err != nil {
		t.Fatal(err)
	}
	rsa, err := SelfSigned(Options{Names: []string{"mail.example.com"}, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	ec := forNames(t, "mail.example.com")
	choice := Choice{shelf{ec, &rsa}}
	for scheme, want := range map[tls.SignatureScheme]*tls.Certificate{
		tls.PSSWithSHA256: &rsa, tls.ECDSAWithP256AndSHA256: ec, tls.Ed25519: ec,
	} {
		for _, name := range []string{"mail.example.com", "", "unknown.example.org"} {
			if got, err := choice.Get(hello(name, scheme)); err != nil || got != want {
				t.Errorf("%v for %q: the key is %T, error %v", scheme, name, got.PrivateKey, err)
			}
		}
	}
}

func TestChoiceOfNone(t *testing.T) {
	empty := Choice{shelf{}, shelf{}}
	if _, err := empty.Get(hello("mail.example.com")); !errors.Is(err, ErrNone) || empty.Ready() {
		t.Errorf("error %v, ready %v; want %v", err, empty.Ready(), ErrNone)
	}
	if !(Choice{shelf{}, shelf{forNames(t, "a.example")}}).Ready() {
		t.Error("a certificate behind none is not seen")
	}
}

// TestSafeSuites: what is offered with TLS 1.2 has forward secrecy and authenticated
// encryption (RFC 9325 4.2), and Go finds none of it insecure.
func TestSafeSuites(t *testing.T) {
	c := ServerConfig(nil)
	for _, insecure := range tls.InsecureCipherSuites() {
		if slices.Contains(c.CipherSuites, insecure.ID) {
			t.Errorf("%s is insecure", insecure.Name)
		}
	}
	server := *forNames(t, "relay.test")
	roots := x509.NewCertPool()
	roots.AddCert(server.Leaf)
	for suite, good := range map[uint16]bool{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       true,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: true,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          false,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          false,
	} {
		client := &tls.Config{RootCAs: roots, ServerName: "relay.test", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}
		if err := handshake(t, server, client); (err == nil) != good {
			t.Errorf("%s: error %v, want success %v", tls.CipherSuiteName(suite), err, good)
		}
	}
}
