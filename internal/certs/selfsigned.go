package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"time"

	"postern/internal/mail"
)

// Options say what a self-signed certificate is for.
type Options struct {
	// Names and Addresses are what it is valid for; at least one of them.
	Names     []string
	Addresses []netip.Addr
	// Lifetime is how long it is valid from now. Zero means a day.
	Lifetime time.Duration
	// Clock says when "now" is. Nil means the machine's.
	Clock mail.Clock
}

const (
	defaultLifetime = 24 * time.Hour
	// backdate is how far the clock of a client may be behind.
	backdate = time.Hour
)

var errNoName = errors.New("certs: a certificate needs a name or an address")

// SelfSigned makes a key (ECDSA P-256) and a certificate that nobody vouches
// for: it can sign no other certificate, and a client that trusts it trusts
// it alone. It fails when Options names nothing.
func SelfSigned(o Options) (tls.Certificate, error) {
	if len(o.Names)+len(o.Addresses) == 0 {
		return tls.Certificate{}, errNoName
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: making a key: %w", err)
	}
	template := o.template()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: reading the certificate just made: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func (o Options) template() *x509.Certificate {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Lifetime == 0 {
		o.Lifetime = defaultLifetime
	}
	var serial [16]byte
	rand.Read(serial[:]) // never fails: crypto/rand ends the process instead
	now := o.Clock.Now()
	t := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial[:]),
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(o.Lifetime),
		DNSNames:              o.Names,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, a := range o.Addresses {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
	}
	if len(o.Names) > 0 {
		t.Subject = pkix.Name{CommonName: o.Names[0]}
	}
	return t
}

// Save writes a certificate and its key as the two PEM files that Load
// reads; the key can be read by its owner alone. It fails when a file cannot
// be written, or the key has no PEM form.
func Save(certificate tls.Certificate, certificateFile, keyFile string) error {
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return fmt.Errorf("certs: writing the key: %w", err)
	}
	var chain []byte
	for _, der := range certificate.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := os.WriteFile(certificateFile, chain, 0o644); err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	if err := os.WriteFile(keyFile, block, 0o600); err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	return nil
}
