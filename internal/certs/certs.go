// Package certs reads the TLS certificates of listeners from files, and
// makes throw-away ones.
//
// It verifies nothing about a peer. A certificate that cannot be used is an
// *Error, which names the file that is to be mended.
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
	"os"
	"strings"
	"time"
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

// Load reads a certificate, followed by those of its issuers, and its private
// key, both in PEM. The certificate must be valid at now. It fails with an
// *Error.
func Load(certificateFile, keyFile string, now time.Time) (tls.Certificate, error) {
	chain, leaf, err := loadChain(certificateFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := loadKey(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	if !matches(leaf, key) {
		return tls.Certificate{}, &Error{File: keyFile, Reason: ErrMismatch,
			Detail: fmt.Sprintf("%s holds the certificate for another key", certificateFile)}
	}
	if err := checkTime(certificateFile, leaf, now); err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
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

// loadChain reads the certificates of a file, the leaf first.
func loadChain(file string) ([][]byte, *x509.Certificate, error) {
	rest, err := read(file)
	if err != nil {
		return nil, nil, err
	}
	var chain [][]byte
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
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

// loadKey reads the first private key of a file.
func loadKey(file string) (crypto.Signer, error) {
	data, err := read(file)
	if err != nil {
		return nil, err
	}
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

func read(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, &Error{File: file, Reason: ErrFormat, Detail: "a PEM file of at most 1 MiB belongs here"}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	return data, nil
}

func unreadable(file string, err error) error {
	detail := err.Error()
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		detail = e.Err.Error()
	}
	return &Error{File: file, Reason: ErrMissing, Detail: detail, Cause: err}
}

// ServerConfig returns the TLS settings of a listener with this certificate.
// Session tickets are off: there are clients that cannot resume a session
// under STARTTLS and then fail for good.
func ServerConfig(certificate tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{certificate},
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
	}
}
