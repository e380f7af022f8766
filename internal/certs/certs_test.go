package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// selfSigned makes a certificate for relay.test, valid for an hour from now.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := SelfSigned(Options{
		Names:     []string{"relay.test", "other.test"},
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")},
		Lifetime:  time.Hour,
		Clock:     mail.NewManualClock(now),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// savedPair writes a fresh pair and returns the paths of certificate and key.
func savedPair(t *testing.T) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := Save(selfSigned(t), certificate, key); err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoadReadsWhatSaveWrote(t *testing.T) {
	certificate, key := savedPair(t)
	c, err := Load(Pair{certificate, key}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Leaf.VerifyHostname("relay.test"); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(key)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, want 0600", info.Mode().Perm())
	}
}

func TestLoadRefuses(t *testing.T) {
	const encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
	const oldEncrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	const damagedKey = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	const damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for _, c := range []struct {
		name   string
		spoil  func(t *testing.T, certificate, key string)
		at     time.Time
		file   string // which of the two is named
		reason error
		detail string
	}{
		{"no certificate file", func(t *testing.T, c, _ string) { os.Remove(c) }, now, "cert.pem", ErrMissing, "no such file"},
		{"no key file", func(t *testing.T, _, k string) { os.Remove(k) }, now, "key.pem", ErrMissing, "no such file"},
		{"directory", func(t *testing.T, c, _ string) { os.Remove(c); os.Mkdir(c, 0o700) }, now, "cert.pem", ErrFormat, "PEM file"},
		{"too large", func(t *testing.T, c, _ string) { write(t, c, strings.Repeat("x", maxFile+1)) }, now, "cert.pem", ErrFormat, "1 MiB"},
		{"no PEM", func(t *testing.T, c, _ string) { write(t, c, "hello") }, now, "cert.pem", ErrFormat, "BEGIN CERTIFICATE"},
		{"damaged certificate", func(t *testing.T, c, _ string) { write(t, c, damaged) }, now, "cert.pem", ErrFormat, "damaged"},
		{"no key", func(t *testing.T, _, k string) { write(t, k, damaged) }, now, "key.pem", ErrFormat, "BEGIN PRIVATE KEY"},
		{"damaged key", func(t *testing.T, _, k string) { write(t, k, damagedKey) }, now, "key.pem", ErrFormat, "damaged"},
		{"passphrase", func(t *testing.T, _, k string) { write(t, k, encrypted) }, now, "key.pem", ErrFormat, "passphrase"},
		{"passphrase, older form", func(t *testing.T, _, k string) { write(t, k, oldEncrypted) }, now, "key.pem", ErrFormat, "passphrase"},
		{"key of another", func(t *testing.T, _, k string) {
			_, other := savedPair(t)
			os.Rename(other, k)
		}, now, "key.pem", ErrMismatch, "another key"},
		{"expired", func(*testing.T, string, string) {}, now.Add(2 * time.Hour), "cert.pem", ErrExpired, "2026-03-01T13:00:00Z"},
		{"not yet valid", func(*testing.T, string, string) {}, now.Add(-2 * time.Hour), "cert.pem", ErrNotYet, "2026-03-01T11:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			certificate, key := savedPair(t)
			c.spoil(t, certificate, key)
			_, err := Load(Pair{certificate, key}, c.at)
			e, ok := errors.AsType[*Error](err)
			if !ok || !errors.Is(err, c.reason) || filepath.Base(e.File) != c.file || !strings.Contains(err.Error(), c.detail) {
				t.Errorf("error %v, want %s: %v with %q", err, c.file, c.reason, c.detail)
			}
		})
	}
}

func TestLoadReadsEveryFormOfKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edDER, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	for kind, der := range map[string][]byte{
		"EC PRIVATE KEY":  ecDER,
		"RSA PRIVATE KEY": x509.MarshalPKCS1PrivateKey(rs),
		"PRIVATE KEY":     edDER,
	} {
		_, key := savedPair(t)
		write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
		if _, _, err := loadKey(key, now); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestSelfSignedNeedsAName(t *testing.T) {
	if _, err := SelfSigned(Options{}); !errors.Is(err, errNoName) {
		t.Errorf("error %v, want %v", err, errNoName)
	}
}

func TestSelfSignedDefaults(t *testing.T) {
	c, err := SelfSigned(Options{Names: []string{"relay.test"}, Clock: mail.NewManualClock(now)})
	if err != nil {
		t.Fatal(err)
	}
	if want := now.Add(24 * time.Hour); !c.Leaf.NotAfter.Equal(want) {
		t.Errorf("valid until %v, want %v", c.Leaf.NotAfter, want)
	}
	if c.Leaf.IsCA {
		t.Error("it can sign others")
	}
}

// handshake connects a client to a server with the settings of ServerConfig.
func handshake(t *testing.T, c tls.Certificate, client *tls.Config) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", ServerConfig(Choice{(*Fixed)(&c)}.Get))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := listener.Accept(); err == nil {
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err == nil {
		conn.Close()
	}
	listener.Close()
	<-done
	return err
}

func TestServerConfig(t *testing.T) {
	c := selfSigned(t)
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	at := func() time.Time { return now }
	for _, peer := range []struct {
		name   string
		client *tls.Config
		good   bool
	}{
		{"a name", &tls.Config{RootCAs: roots, ServerName: "other.test", Time: at}, true},
		{"an IPv4 address", &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Time: at}, true},
		{"an IPv6 address", &tls.Config{RootCAs: roots, ServerName: "::1", Time: at}, true},
		{"another name", &tls.Config{RootCAs: roots, ServerName: "wrong.test", Time: at}, false},
		{"not trusted", &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "relay.test", Time: at}, false},
		{"TLS 1.2", &tls.Config{RootCAs: roots, ServerName: "relay.test", Time: at, MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.1", &tls.Config{RootCAs: roots, ServerName: "relay.test", Time: at, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
	} {
		if err := handshake(t, c, peer.client); (err == nil) != peer.good {
			t.Errorf("%s: error %v, want success %v", peer.name, err, peer.good)
		}
	}
	if !ServerConfig(Choice{(*Fixed)(&c)}.Get).SessionTicketsDisabled {
		t.Error("session tickets are on")
	}
}
