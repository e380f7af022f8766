package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxKeys bounds the keys of an issuer: each may be tried on a token that names none.
const maxKeys = 50

// minRSA is the shortest RSA key that is taken, in bits (RFC 7518 3.3).
const minRSA = 2048

// key is a public key of an issuer.
type key struct {
	id        string // empty: it has none
	algorithm string // empty: any that fits
	public    any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// parseKeys reads a JWK Set (RFC 7517 5). A key that cannot be used is left out, as that
// asks for: those for something else, of a type that is not known, malformed ones,
// symmetric ones, and those whose private half has been published. It fails when none
// is left, because an issuer without keys has a fault, and signs nothing.
func parseKeys(text []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("the keys cannot be read: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("there are %d keys; at most %d are taken", len(set.Keys), maxKeys)
	}
	var keys []key
	for _, raw := range set.Keys {
		if k, ok := parseKey(raw); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key for signatures among the keys")
	}
	return keys, nil
}

// parseKey reads one key; ok is whether it can be used.
func parseKey(raw []byte) (k key, ok bool) {
	var head struct {
		Operations []string `json:"key_ops"`
	}
	var web jose.JSONWebKey
	if json.Unmarshal(raw, &head) != nil || web.UnmarshalJSON(raw) != nil {
		return key{}, false
	}
	forThis := web.Use == "" || web.Use == "sig"
	if head.Operations != nil { // RFC 7517 4.3
		verifies := false
		for _, o := range head.Operations {
			verifies = verifies || o == "verify"
		}
		forThis = forThis && verifies
	}
	if !forThis || !isStrong(web.Key) {
		return key{}, false
	}
	return key{web.KeyID, web.Algorithm, web.Key}, true
}

// isStrong reports whether a key is public and long enough.
func isStrong(k any) bool {
	switch k := k.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// fits reports whether a key is for an algorithm: by what it says itself (RFC 8725 3.1:
// a key is used with one algorithm), and by its type and curve (RFC 7518 3.4).
func (k *key) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return curves[algorithm] == public.Curve
	case ed25519.PublicKey:
		return algorithm == string(jose.EdDSA)
	}
	return false
}

// curves are those that algorithms have.
var curves = map[string]elliptic.Curve{
	string(jose.ES256): elliptic.P256(),
	string(jose.ES384): elliptic.P384(),
	string(jose.ES512): elliptic.P521(),
}

// choose returns the keys that may have made a signature: those that fit, and of these
// those with the identifier that the token names. Several keys can have the same one,
// and a token need not name any (RFC 7515 4.1.4).
func choose(keys []key, id, algorithm string) []key {
	var chosen []key
	for i := range keys {
		if k := &keys[i]; k.fits(algorithm) && (id == "" || k.id == id) {
			chosen = append(chosen, *k)
		}
	}
	return chosen
}
