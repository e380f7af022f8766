package oidc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxToken bounds a token, in octets. Those of Entra ID with hundreds of groups have 8 KiB.
const maxToken = 16 << 10

// token is one that was taken apart, and whose signature nobody has verified.
type token struct {
	signed    *jose.JSONWebSignature
	algorithm string
	keyID     string
	kind      string // of the header; may be empty
}

// kinds are the types of tokens that are taken: none, that of any (RFC 7519 5.1), and
// that of access tokens (RFC 9068 2.1). One that says that it is something else, such as
// a notice of a logout, is no proof of who somebody is (RFC 8725 3.11).
var kinds = []string{"", "jwt", "at+jwt"}

// parseToken takes a token apart: the compact form of a JWS alone (RFC 7515 3.1), with
// one of the algorithms. Keys that the header has with it, or leads to, are not looked
// at. No error shows what is in the token but the names in its header.
func parseToken(text string, algorithms []string) (*token, error) {
	switch parts := strings.Count(text, "."); {
	case len(text) > maxToken:
		return nil, fmt.Errorf("the token has more than %d octets", maxToken)
	case strings.ContainsFunc(text, notBase64URL):
		return nil, errors.New("the token is no JWT: it has other characters than letters, digits, '-', '_' and '.'")
	case parts != 2:
		return nil, fmt.Errorf("the token is no signed JWT: it has %d dots, and not 2; it may be one that the issuer alone can read", parts)
	}
	allowed := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		allowed[i] = jose.SignatureAlgorithm(a)
	}
	signed, err := jose.ParseSignedCompact(text, allowed)
	if wrong, is := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); is {
		return nil, fmt.Errorf("the token is signed with %q, which is not allowed", clip(string(wrong.Got)))
	}
	if err != nil {
		return nil, errors.New("the token is no JWT: its header or one of its three parts cannot be decoded")
	}
	header := signed.Signatures[0].Protected
	for _, name := range []jose.HeaderKey{"crit", "b64"} {
		// What a header makes critical would have to be understood (RFC 7515 4.1.11);
		// b64 changes what is signed (RFC 7797), which no JWT does.
		if _, has := header.ExtraHeaders[name]; has {
			return nil, fmt.Errorf("the token has %q in its header", name)
		}
	}
	t := &token{signed: signed, algorithm: header.Algorithm, keyID: header.KeyID}
	if t.kind, err = kindOf(header); err != nil {
		return nil, err
	}
	return t, nil
}

// kindOf reads the type in a header.
func kindOf(h jose.Header) (string, error) {
	value, has := h.ExtraHeaders[jose.HeaderType]
	if !has {
		return "", nil
	}
	text, isText := value.(string)
	if !isText {
		return "", errors.New("the token has a typ that is no text")
	}
	// RFC 7515 4.1.9: "application/" may be left out.
	kind := strings.TrimPrefix(strings.ToLower(text), "application/")
	for _, k := range kinds {
		if k == kind {
			return text, nil
		}
	}
	return "", fmt.Errorf("the token is a %q, which says nothing of who somebody is", clip(text))
}

func notBase64URL(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}

// verified returns what a token says, if one of the keys has signed it.
func (t *token) verified(keys []key) (payload []byte, ok bool) {
	for _, k := range keys {
		if payload, err := t.signed.Verify(k.public); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// maxShown bounds what is shown of a text from outside, in characters.
const maxShown = 100

// clip keeps what is told of a token readable.
func clip(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown]) + "..."
	}
	return s
}
