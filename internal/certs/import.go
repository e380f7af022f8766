package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// Parsed is what a text holds that somebody brings.
type Parsed struct {
	Chain [][]byte // the certificate, and those of its issuers; nil without
	Leaf  *x509.Certificate
	Key   crypto.Signer            // nil without
	CSR   *x509.CertificateRequest // nil without
}

// ErrEmpty says that there is nothing in a text that could be brought in.
var ErrEmpty = errors.New("there is no certificate in it, and no key: PEM or PKCS #12 belongs here")

// Parse reads certificates, a key and a request as PEM has them, or a file of PKCS #12
// (RFC 7292), of which passphrase is the passphrase. Errors: ErrEmpty, *Error with the name of what was
// read.
func Parse(name string, data []byte, passphrase string) (Parsed, error) {
	if !bytes.Contains(data, []byte("-----BEGIN ")) && len(data) > 0 {
		return parsePKCS12(name, data, passphrase)
	}
	var p Parsed
	var err error
	for _, part := range []struct {
		mark  string
		parse func() error
	}{
		{"CERTIFICATE-----", func() error { p.Chain, p.Leaf, err = parseChain(name, data); return err }},
		{"PRIVATE KEY-----", func() error { p.Key, err = parseKeyPEM(name, data); return err }},
		{"CERTIFICATE REQUEST-----", func() error { p.CSR, err = parseRequest(name, data); return err }},
	} {
		if has(data, part.mark) {
			if err := part.parse(); err != nil {
				return Parsed{}, err
			}
		}
	}
	if p.Leaf == nil && p.Key == nil && p.CSR == nil {
		return Parsed{}, &Error{File: name, Reason: ErrFormat, Detail: ErrEmpty.Error(), Cause: ErrEmpty}
	}
	return p, nil
}

// has reports whether a PEM text has a block whose type ends so.
func has(data []byte, suffix string) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if bytes.HasSuffix([]byte(block.Type+"-----"), []byte(suffix)) {
			return true
		}
	}
	return false
}

func parsePKCS12(name string, data []byte, passphrase string) (Parsed, error) {
	key, leaf, issuers, err := pkcs12.DecodeChain(data, passphrase)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return Parsed{}, &Error{File: name, Reason: ErrFormat, Detail: "the passphrase is not that of the file", Cause: err}
	case err != nil:
		return Parsed{}, &Error{File: name, Reason: ErrFormat, Detail: "neither PEM nor PKCS #12: " + err.Error(), Cause: err}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return Parsed{}, &Error{File: name, Reason: ErrFormat, Detail: errKeyKind.Error(), Cause: errKeyKind}
	}
	p := Parsed{Leaf: leaf, Key: signer, Chain: [][]byte{leaf.Raw}}
	for _, c := range issuers {
		p.Chain = append(p.Chain, c.Raw)
	}
	return p, nil
}

// Certificate puts a certificate and its key together. Errors: *Error with ErrMismatch.
func (p Parsed) Certificate(name string) (tls.Certificate, error) {
	if !matches(p.Leaf, p.Key) {
		return tls.Certificate{}, &Error{File: name, Reason: ErrMismatch, Detail: "the certificate is for another key"}
	}
	return tls.Certificate{Certificate: p.Chain, PrivateKey: p.Key, Leaf: p.Leaf}, nil
}

// Join adds what another text held, where there was nothing.
func (p Parsed) Join(other Parsed) (Parsed, error) {
	if p.Leaf != nil && other.Leaf != nil || p.Key != nil && other.Key != nil {
		return Parsed{}, fmt.Errorf("certs: there are two certificates, or two keys: %w", ErrFormat)
	}
	if p.Leaf == nil {
		p.Leaf, p.Chain = other.Leaf, other.Chain
	}
	if p.Key == nil {
		p.Key = other.Key
	}
	return p, nil
}
