package mail

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// Pin is the SHA-256 of a certificate, or of the public key in one: of its
// SubjectPublicKeyInfo (RFC 7469 2.4). That one was made of a key and not of a
// certificate is in no pin: nobody can make one that has the pin of the other.
type Pin [sha256.Size]byte

// ErrPin says that a text is no pin.
var ErrPin = errors.New("it is neither sha256/ with 44 characters of base64, nor 64 hexadecimal digits")

// pinPrefix begins a pin in the form of RFC 7469.
const pinPrefix = "sha256/"

// ParsePin reads a pin as "sha256/" and base64 (as in RFC 7469 2.1.1), or in hexadecimal, also with
// a colon behind every octet, as openssl and posttls-finger write it. It fails with ErrPin.
func ParsePin(s string) (Pin, error) {
	var pin Pin
	var octets []byte
	var err error
	if text, is := strings.CutPrefix(s, pinPrefix); is {
		octets, err = base64.StdEncoding.Strict().DecodeString(text)
	} else {
		octets, err = hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	}
	if err != nil || copy(pin[:], octets) != len(pin) || len(octets) != len(pin) {
		return Pin{}, ErrPin
	}
	return pin, nil
}

// String returns the pin in the form of RFC 7469.
func (p Pin) String() string { return pinPrefix + base64.StdEncoding.EncodeToString(p[:]) }

// KeyPin is that of the key in a certificate, which stays when it is renewed with the
// same key.
func KeyPin(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// CertificatePin is that of a certificate.
func CertificatePin(c *x509.Certificate) Pin { return sha256.Sum256(c.Raw) }
