// Package certs has the TLS certificates with which the server proves who it is:
// Files are two files that somebody else keeps, the Store is a directory that commands
// keep, and the ACME manager gets its own from an authority. A Choice picks the one of them that
// a client asks for. It makes certificates, too, and is an authority for a small site.
//
// It verifies nothing about a peer. A certificate that cannot be used is an
// *Error, which names the file that is to be mended; what was in use before stays so.
package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"postern/internal/stamp"
)

// Reasons for which Load refuses a pair of files.
var (
	ErrMissing  = errors.New("cannot be read")
	ErrFormat   = errors.New("is not in the form expected")
	ErrMismatch = errors.New("does not belong to the certificate")
	ErrExpired  = errors.New("has expired")
	ErrNotYet   = errors.New("is not valid yet")
)

// Error says which file was refused, and why.
type Error struct {
	File   string
	Reason error  // one of the Err values
	Detail string // what exactly was wrong, and what would be right
	Cause  error  // nil when there is no more to say
}

// Error returns the file, the reason and the detail in one line.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v: %s", e.File, e.Reason, e.Detail) }

// Unwrap returns the reason, and the cause if there is one.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// maxFile bounds a file of certificates or a key, in octets.
const maxFile = 1 << 20

// Pair names the two files of a certificate, both in PEM: one has the certificate,
// followed by those of its issuers, the other its private key. They may be one.
type Pair struct{ Certificate, Key string }

// Load reads a pair of files. The certificate must be valid at now. It fails with an
// *Error.
func Load(p Pair, now time.Time) (tls.Certificate, error) {
	c, _, err := load(p, now)
	return c, err
}

// stamps are those of the two files of a pair.
type stamps struct{ certificate, key stamp.Stamp }

// load reads a pair, and says of which files, as far as it came.
func load(p Pair, now time.Time) (tls.Certificate, stamps, error) {
	var at stamps
	data, read, err := read(p.Certificate, now)
	if err != nil {
		return tls.Certificate{}, at, err
	}
	at.certificate = read
	chain, leaf, err := parseChain(p.Certificate, data)
	if err != nil {
		return tls.Certificate{}, at, err
	}
	key, read, err := loadKey(p.Key, now)
	at.key = read
	if err != nil {
		return tls.Certificate{}, at, err
	}
	if !matches(leaf, key) {
		return tls.Certificate{}, at, &Error{File: p.Key, Reason: ErrMismatch,
			Detail: fmt.Sprintf("%s holds the certificate for another key", p.Certificate)}
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, at, checkTime(p.Certificate, leaf, now)
}

// LoadPool reads a PEM file of certificates that are trusted. It fails with an *Error.
func LoadPool(file string, now time.Time) (*x509.CertPool, error) {
	p, _, err := loadPool(file, now)
	if err != nil {
		return nil, err
	}
	return p.certificates, nil
}

// loadPool reads a file of certificates, and says of which file, if it could be read.
func loadPool(file string, now time.Time) (*pool, stamp.Stamp, error) {
	data, at, err := read(file, now)
	if err != nil {
		return nil, at, err
	}
	p := &pool{certificates: x509.NewCertPool()}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		p.count++
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, at, &Error{File: file, Reason: ErrFormat, Detail: fmt.Sprintf("certificate %d in it is damaged: %v", p.count, err), Cause: err}
		}
		p.certificates.AddCert(certificate)
	}
	if p.count == 0 {
		return nil, at, &Error{File: file, Reason: ErrFormat, Detail: "no PEM certificate in it; it must begin with -----BEGIN CERTIFICATE-----"}
	}
	return p, at, nil
}

func checkTime(file string, leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return &Error{File: file, Reason: ErrExpired,
			Detail: "it was valid until " + leaf.NotAfter.UTC().Format(time.RFC3339)}
	case now.Before(leaf.NotBefore):
		return &Error{File: file, Reason: ErrNotYet,
			Detail: "it is valid from " + leaf.NotBefore.UTC().Format(time.RFC3339) + "; is the clock right?"}
	}
	return nil
}

// parseChain reads the certificates of a file, the leaf first.
func parseChain(file string, data []byte) ([][]byte, *x509.Certificate, error) {
	var chain [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	if len(chain) == 0 {
		return nil, nil, &Error{File: file, Reason: ErrFormat,
			Detail: "no PEM certificate in it; it must begin with -----BEGIN CERTIFICATE-----"}
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, nil, &Error{File: file, Reason: ErrFormat, Detail: "its first certificate is damaged: " + err.Error(), Cause: err}
	}
	return chain, leaf, nil
}

func loadKey(file string, now time.Time) (crypto.Signer, stamp.Stamp, error) {
	data, at, err := read(file, now)
	if err != nil {
		return nil, at, err
	}
	key, err := parseKeyPEM(file, data)
	return key, at, err
}

// parseKeyPEM reads the first private key of a file.
func parseKeyPEM(file string, data []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, &Error{File: file, Reason: ErrFormat,
				Detail: "the key is protected by a passphrase; write it without one (openssl pkey -in OLD -out NEW)"}
		}
		key, err := parseKey(block.Bytes)
		if err != nil {
			return nil, &Error{File: file, Reason: ErrFormat, Detail: "its private key is damaged: " + err.Error(), Cause: err}
		}
		return key, nil
	}
	return nil, &Error{File: file, Reason: ErrFormat,
		Detail: "no PEM private key in it; it must begin with -----BEGIN PRIVATE KEY-----"}
}

var errKeyKind = errors.New("not an RSA, ECDSA or Ed25519 key")

// parseKey reads a key as PKCS #8, or in the older forms of RSA and EC keys.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return parseOldKey(der, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errKeyKind
	}
	return signer, nil
}

// parseOldKey fails with notPKCS8 when der has none of the older forms.
func parseOldKey(der []byte, notPKCS8 error) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, notPKCS8
}

func matches(leaf *x509.Certificate, key crypto.Signer) bool {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	return err == nil && bytes.Equal(public, leaf.RawSubjectPublicKeyInfo)
}

func read(file string, now time.Time) ([]byte, stamp.Stamp, error) {
	data, at, err := stamp.Read(file, maxFile, now)
	switch {
	case errors.Is(err, stamp.ErrNotRegular), errors.Is(err, stamp.ErrTooLarge):
		err = &Error{File: file, Reason: ErrFormat, Detail: "a PEM file of at most 1 MiB belongs here"}
	case err != nil:
		err = unreadable(file, err)
	}
	return data, at, err
}

func unreadable(file string, err error) error {
	detail := err.Error()
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		detail = e.Err.Error()
	}
	return &Error{File: file, Reason: ErrMissing, Detail: detail, Cause: err}
}
