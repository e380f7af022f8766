package credentials

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern/internal/directory"
)

// assertionLife is how long an assertion can be used, and assertionEarly how long before now
// it can be: clocks differ.
const (
	assertionLife  = 5 * time.Minute
	assertionEarly = time.Minute
)

// minRSA is the length of an RSA key at least, in bits.
const minRSA = 2048

// parseKey reads a private key in PEM, in the forms that there are. No error shows it.
func parseKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("is no key in PEM")
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("is encrypted: decrypt it first (openssl pkey)")
	default:
		return nil, errors.New("is no private key")
	}
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("is of a kind that signs nothing")
	}
	_, err = algorithmOf(signer, "")
	return signer, err
}

// algorithmOf is the algorithm by which a key signs (RFC 7518 3.1). Microsoft asks for PS256.
func algorithmOf(signer crypto.Signer, preset directory.Preset) (jose.SignatureAlgorithm, error) {
	switch k := signer.(type) {
	case *rsa.PrivateKey:
		switch {
		case k.N.BitLen() < minRSA:
			return "", fmt.Errorf("is an RSA key of %d bits, which is less than %d", k.N.BitLen(), minRSA)
		case preset == directory.PresetMicrosoft:
			return jose.PS256, nil
		}
		return jose.RS256, nil
	case *ecdsa.PrivateKey:
		switch k.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		}
		return "", errors.New("is an EC key of a curve that is neither P-256 nor P-384")
	}
	return "", errors.New("is neither an RSA nor an EC key")
}

// claims are those of RFC 7523 3.
type claims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"`
	ID        string `json:"jti"`
	Scope     string `json:"scope,omitempty"` // of Google's service accounts
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`
}

// assertion returns the JWT by which a client proves to an issuer who it is (RFC 7523 2.2); for
// Google, by which a service account asks for a token of a user (2.1).
func assertion(r *directory.Credential, keyText string, now time.Time) (string, error) {
	signer, err := parseKey(keyText)
	if err != nil {
		return "", fmt.Errorf("its %s %w", fieldClientKey, err)
	}
	algorithm, err := algorithmOf(signer, r.Preset)
	if err != nil {
		return "", fmt.Errorf("its %s %w", fieldClientKey, err)
	}
	c := claims{
		Issuer: r.ClientID, Subject: r.ClientID, Audience: r.TokenURL, ID: rand.Text(),
		IssuedAt: now.Unix(), NotBefore: now.Add(-assertionEarly).Unix(), Expires: now.Add(assertionLife).Unix(),
	}
	if r.Preset == directory.PresetGoogle {
		c.Subject, c.Scope = r.User, strings.Join(r.Scopes, " ")
	}
	return sign(r, jose.SigningKey{Algorithm: algorithm, Key: signer}, c)
}

func sign(r *directory.Credential, with jose.SigningKey, c claims) (string, error) {
	options := (&jose.SignerOptions{}).WithType("JWT")
	if r.KeyID != "" {
		options = options.WithHeader(jose.HeaderKey("kid"), r.KeyID)
	}
	if block, _ := pem.Decode([]byte(r.Certificate)); block != nil { // RFC 7515 4.1.7, 4.1.8
		old, now := sha1.Sum(block.Bytes), sha256.Sum256(block.Bytes)
		options = options.WithHeader("x5t", base64.RawURLEncoding.EncodeToString(old[:])).
			WithHeader("x5t#S256", base64.RawURLEncoding.EncodeToString(now[:]))
	}
	signer, err := jose.NewSigner(with, options)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
