package certs

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// EncodeChain writes a certificate, and those of its issuers that are with it, in PEM.
func EncodeChain(certificate *tls.Certificate) []byte {
	var text []byte
	for _, der := range certificate.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

// EncodeKey writes a private key in PEM, as PKCS #8 has it.
func EncodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("certs: writing the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// encodeBoth writes a key and its certificate.
func encodeBoth(certificate *tls.Certificate) ([]byte, error) {
	text, err := EncodeKey(certificate.PrivateKey)
	return append(text, EncodeChain(certificate)...), err
}

// Fingerprint is the SHA-256 of a certificate, in hexadecimal.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Title names a certificate for a person: by its first name, or else by its subject.
func Title(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.String()
}

// Save writes a certificate and its key as the two PEM files that Load reads; the key
// can be read by its owner alone. It fails when a file cannot be written, or the key has no PEM
// form.
func Save(certificate tls.Certificate, certificateFile, keyFile string) error {
	key, err := EncodeKey(certificate.PrivateKey)
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(certificateFile, EncodeChain(&certificate), 0o644), os.WriteFile(keyFile, key, 0o600))
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	return nil
}
