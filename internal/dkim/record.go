package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Record is the record of a key in DNS (RFC 6376 3.6.1).
type Record struct {
	Algorithm Algorithm
	// Public is an *rsa.PublicKey or an ed25519.PublicKey; nil for a key that was revoked.
	Public crypto.PublicKey
	// Testing says that verifiers are asked to take no notice (t=y).
	Testing bool
	// Strict says that i= must be of the domain itself (t=s).
	Strict bool
	// SHA256 and Email say that it is for that hash, and for mail.
	SHA256, Email bool
}

// Errors of records.
var (
	errVersion   = errors.New("it begins with another version than v=DKIM1")
	errAlgorithm = errors.New("its k= is neither rsa nor ed25519")
	errNoPublic  = errors.New("it has no p=, which would be the key")
	errPublic    = errors.New("its p= is no key of the kind that its k= says")
)

// ParseRecord reads a record. It fails when verifiers would find no key in it; a key that
// was revoked has an empty p=, and is none.
func ParseRecord(text string) (*Record, error) {
	list, err := ParseTags(text)
	if err != nil {
		return nil, err
	}
	if at := slices.IndexFunc(list, func(t Tag) bool { return t.Name == "v" }); at > 0 || at == 0 && list[0].Value != "DKIM1" {
		return nil, errVersion
	}
	values := Values(list)
	r := &Record{
		Algorithm: RSA, SHA256: names(values, "h", "sha256"), Email: names(values, "s", "email") || names(values, "s", "*"),
		Testing: values["t"] != "" && names(values, "t", "y"), Strict: values["t"] != "" && names(values, "t", "s"),
	}
	if k, is := values["k"]; is {
		r.Algorithm = Algorithm(k)
	}
	p, is := values["p"]
	switch {
	case !slices.Contains(Algorithms, r.Algorithm):
		return nil, errAlgorithm
	case !is:
		return nil, errNoPublic
	case p == "":
		return r, nil
	}
	if r.Public, err = parsePublic(r.Algorithm, p); err != nil {
		return nil, err
	}
	return r, nil
}

// names reports whether a list with colons names a value; one that is not there names all.
func names(values map[string]string, tag, value string) bool {
	list, is := values[tag]
	if !is {
		return true
	}
	for one := range strings.SplitSeq(list, ":") {
		if trim(one) == value {
			return true
		}
	}
	return false
}

// parsePublic reads a public key: of RSA as SubjectPublicKeyInfo, or as RFC 6376 3.6.1 says,
// RSAPublicKey; of Ed25519 its 32 octets (RFC 8463 4.2).
func parsePublic(a Algorithm, p string) (crypto.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(p), ""))
	if err != nil {
		return nil, fmt.Errorf("its p= is not base64: %w", err)
	}
	if a == Ed25519 {
		if len(der) != ed25519.PublicKeySize {
			return nil, errPublic
		}
		return ed25519.PublicKey(der), nil
	}
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPublic, err)
	}
	if public, is := key.(*rsa.PublicKey); is {
		return public, nil
	}
	return nil, errPublic
}

// Matches reports whether the record is that of a key.
func (r *Record) Matches(k *Key) bool {
	public, is := k.Private.Public().(interface{ Equal(crypto.PublicKey) bool })
	return is && r.Public != nil && public.Equal(r.Public)
}

// RecordText is the record of a key, as the value of a TXT record.
func RecordText(k *Key) (string, error) {
	public := k.Private.Public()
	octets, is := public.(ed25519.PublicKey)
	if !is {
		var err error
		if octets, err = x509.MarshalPKIXPublicKey(public); err != nil {
			return "", fmt.Errorf("dkim: writing the public key: %w", err)
		}
	}
	return fmt.Sprintf("v=DKIM1; k=%s; p=%s", k.Algorithm(), base64.StdEncoding.EncodeToString(octets)), nil
}

// maxString is the longest string of a TXT record (RFC 1035 3.3.14).
const maxString = 255

// ZoneLine is a TXT record as a zone file has it: on one line, in strings of at most 255
// octets.
func ZoneLine(name, text string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. IN TXT (", name)
	for part := range slices.Chunk([]byte(text), maxString) {
		fmt.Fprintf(&b, ` "%s"`, bytes.ReplaceAll(bytes.ReplaceAll(part, []byte(`\`), []byte(`\\`)), []byte(`"`), []byte(`\"`)))
	}
	b.WriteString(" )")
	return b.String()
}
