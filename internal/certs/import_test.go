package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"
)

// TestParse: what is brought may be in one text or two, in any order.
func TestParse(t *testing.T) {
	ca := authority(t)
	c := forNames(t, "mail.example.com")
	c.Certificate = append(c.Certificate, ca.Certificate[0])
	key, err := EncodeKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	chain := EncodeChain(c)
	for name, texts := range map[string][2][]byte{
		"two":       {chain, key},
		"key first": {append(append([]byte{}, key...), chain...), nil},
		"key last":  {append(append([]byte("a comment\n"), chain...), key...), nil},
	} {
		got, err := Parse("x.pem", texts[0], "")
		if err != nil {
			t.Fatal(err)
		}
		if texts[1] != nil {
			other, err := Parse("y.pem", texts[1], "")
			if err != nil || other.Leaf != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, err = got.Join(other); err != nil {
				t.Fatal(err)
			}
		}
		wantWhole(t, name, got, c)
	}
}

func wantWhole(t *testing.T, name string, got Parsed, want *tls.Certificate) {
	t.Helper()
	whole, err := got.Certificate("x")
	if err != nil || !sameChain(&whole, want) || !matches(want.Leaf, whole.PrivateKey.(crypto.Signer)) {
		t.Errorf("%s: error %v, or another certificate", name, err)
	}
}

// TestParsePKCS12: files of PKCS #12 (RFC 7292) are read in the old form, which others
// still write, and in the new one.
func TestParsePKCS12(t *testing.T) {
	ca := authority(t)
	c := forNames(t, "mail.example.com")
	c.Certificate = append(c.Certificate, ca.Certificate[0])
	for name, encoder := range map[string]*pkcs12.Encoder{"old": pkcs12.LegacyDES, "new": pkcs12.Modern2023} {
		file, err := encoder.Encode(c.PrivateKey, c.Leaf, []*x509.Certificate{ca.Leaf}, "hunter2")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse("x.p12", file, "hunter2")
		if err != nil {
			t.Fatal(err)
		}
		wantWhole(t, name, got, c)
		if _, err := Parse("x.p12", file, "wrong"); err == nil || !strings.Contains(err.Error(), "x.p12: ") || !strings.Contains(err.Error(), "passphrase") {
			t.Errorf("%s, with another passphrase: %v", name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	c, other := forNames(t, "a.example"), forNames(t, "b.example")
	key, err := EncodeKey(other.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "hello", "-----BEGIN X-----\nAAAA\n-----END X-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := Parse("x", []byte(text), ""); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: error %v, want %v", text, err, ErrFormat)
		}
	}
	mixed, err := Parse("x", append(EncodeChain(c), key...), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mixed.Certificate("x"); !errors.Is(err, ErrMismatch) {
		t.Errorf("with another's key: error %v, want %v", err, ErrMismatch)
	}
	if _, err := mixed.Join(mixed); !errors.Is(err, ErrFormat) {
		t.Errorf("two of each: error %v, want %v", err, ErrFormat)
	}
	der, _, err := NewRequest(Options{Names: []string{"a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	request, err := Parse("x", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), "")
	if err != nil || request.CSR == nil || request.Leaf != nil {
		t.Errorf("a request: %+v, %v", request, err)
	}
}
