package main

import (
	"crypto/tls"
	"crypto/x509"
	"path/filepath"

	"postern/internal/certs"
)

// identity is the certificate that all relays show, as two PEM files, with
// what the source must know to believe it.
type identity struct {
	certificate, key string
	source           *tls.Config
}

// newIdentity makes a certificate in dir. The source takes TLS 1.3 with
// X25519 alone, and resumes no session: all relays have the same to compute,
// whatever else they are able to do.
func newIdentity(dir string) (identity, error) {
	made, err := certs.SelfSigned(certs.Options{Names: []string{relayName}})
	if err != nil {
		return identity{}, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(made.Leaf)
	i := identity{
		certificate: filepath.Join(dir, "certificate.pem"),
		key:         filepath.Join(dir, "key.pem"),
		source: &tls.Config{
			RootCAs: roots, ServerName: relayName,
			MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
		},
	}
	return i, certs.Save(made, i.certificate, i.key)
}
