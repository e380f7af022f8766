package mailtest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"testing"

	"postern/internal/certs"
)

// ServerTLS returns a configuration for a server with a certificate of its
// own for the names and the loopback addresses, and the pool with which a
// client will find that certificate good.
func ServerTLS(t testing.TB, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	certificate, err := certs.SelfSigned(certs.Options{
		Names:     names,
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
	})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate.Leaf)
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, pool
}

// CertificatePEM is the certificate of a configuration of ServerTLS as a file
// of roots has it.
func CertificatePEM(c *tls.Config) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificates[0].Certificate[0]})
}

// KeyPEM is the private key of a configuration of ServerTLS, as a server reads
// it from a file.
func KeyPEM(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
