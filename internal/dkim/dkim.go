// Package dkim signs mail (RFC 6376, RFC 8301, RFC 8463) and keeps the keys by which it
// does.
//
// Signatures are relaxed/relaxed, by rsa-sha256 or ed25519-sha256, over the whole body,
// and over header fields of which each is signed once more than it occurs, so that none
// can be added. A message is read once for all its signatures, and never held as a whole.
//
// A Store is a directory of keys with what becomes of each: waiting, active, retiring. A
// Signing says by which of them a message is signed. A Keeper changes them, for
// commands, and asks DNS whether their records are there.
//
// A domain without a key is not signed for. A domain whose key cannot be used is: its mail
// fails with 451 4.7.5, so that nothing leaves unsigned by accident.
package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"postern/internal/mail"
)

// Algorithm is a kind of key.
type Algorithm string

// The algorithms, as the k= tag of a record has them (RFC 6376 3.6.1, RFC 8463 4).
const (
	RSA     Algorithm = "rsa"
	Ed25519 Algorithm = "ed25519"
)

// Algorithms are all.
var Algorithms = []Algorithm{RSA, Ed25519}

// The sizes of RSA keys in bits (RFC 8301 3.2): what nobody may sign with, what is made
// without being asked for another, and what verifiers need not take.
const (
	MinBits     = 1024
	DefaultBits = 2048
	MaxBits     = 4096
)

// Key is a private key with its name in DNS: SELECTOR._domainkey.DOMAIN.
type Key struct {
	Domain, Selector string
	// Private is an *rsa.PrivateKey or an ed25519.PrivateKey.
	Private crypto.Signer
}

// Algorithm returns the kind of the key.
func (k *Key) Algorithm() Algorithm {
	if _, is := k.Private.(ed25519.PrivateKey); is {
		return Ed25519
	}
	return RSA
}

// Bits returns the size of the key.
func (k *Key) Bits() int {
	if private, is := k.Private.(*rsa.PrivateKey); is {
		return private.N.BitLen()
	}
	return 8 * ed25519.PublicKeySize
}

// Name returns the name of the record in DNS, without a final dot.
func (k *Key) Name() string { return RecordName(k.Domain, k.Selector) }

// RecordName is the name at which DNS has the record of a key (RFC 6376 3.6.2.1).
func RecordName(domain, selector string) string { return selector + "._domainkey." + domain }

// Errors of names and keys.
var (
	ErrSelector = errors.New("is no selector: write labels of letters, digits and hyphens, such as \"2026a\"")
	ErrDomain   = errors.New("is no domain: write one such as \"example.org\"")
	ErrBits     = fmt.Errorf("an RSA key has %d to %d bits; %d is what all verify", MinBits, MaxBits, DefaultBits)
	ErrKey      = errors.New("no private key that can sign: it must be PEM, RSA or Ed25519, without a passphrase")
)

// maxName bounds the name of a record, which is also that of a file: with its suffix, a file has at most 255
// characters, and a name in DNS 253.
const maxName = 250

// CheckSelector refuses what cannot be a selector (RFC 6376 3.1), with ErrSelector.
func CheckSelector(s string) error {
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return fmt.Errorf("%.80q %w", s, ErrSelector)
		}
	}
	return nil
}

func isLabel(s string) bool {
	other := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
	}
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, other)
}

// Domain returns a domain as keys have it: in lower case and US-ASCII (RFC 6376 3.5). It
// fails with ErrDomain.
func Domain(s string) (string, error) {
	if mail.CheckDomain(s) != nil || strings.HasPrefix(s, "[") {
		return "", fmt.Errorf("%.80q %w", s, ErrDomain)
	}
	ascii, err := mail.ASCIIDomain(s)
	if err != nil {
		return "", fmt.Errorf("%.80q %w", s, ErrDomain)
	}
	return strings.ToLower(ascii), nil
}

// NewKey makes a private key; bits is for RSA, 0 means DefaultBits. Errors: ErrBits.
func NewKey(algorithm Algorithm, bits int) (crypto.Signer, error) {
	if algorithm == Ed25519 {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	if bits == 0 {
		bits = DefaultBits
	}
	if bits < MinBits || bits > MaxBits {
		return nil, ErrBits
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

// encodeKey writes a key as PEM.
func encodeKey(private crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("dkim: writing the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads a private key from PEM: PKCS #8, or PKCS #1 as opendkim-genkey writes it.
// Errors: ErrKey, ErrBits.
func ParseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, ErrKey
	}
	if private, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return checked(private)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return checked(private)
}

func checked(private any) (crypto.Signer, error) {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n < MinBits || n > MaxBits {
			return nil, fmt.Errorf("it has %d bits: %w", n, ErrBits)
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, ErrKey
}

// sign signs a hash: RFC 6376 3.3.3, and PureEdDSA over the hash (RFC 8463 3).
func (k *Key) sign(hash [sha256.Size]byte) ([]byte, error) {
	if k.Algorithm() == Ed25519 {
		return k.Private.Sign(rand.Reader, hash[:], crypto.Hash(0))
	}
	return k.Private.Sign(rand.Reader, hash[:], crypto.SHA256)
}
