package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"postern/internal/mail"
)

// bearer is OAUTHBEARER (RFC 7628) or XOAUTH2, which was there before it: a token in
// place of a password. They differ in how the client says for whom the token is, and in
// what it is told when it is no good: a text in JSON that it answers with as good as
// nothing, and only then is it refused.
type bearer struct {
	auth    *Authenticator
	at      *Attempt
	parse   func(response []byte) (user, token string, err error)
	refusal func(status, scope, configuration string) any
	failed  error
}

func beginOAuthBearer(a *Authenticator, at *Attempt) mechanism {
	return &clientFirst{mechanism: &bearer{auth: a, at: at, parse: parseOAuthBearer,
		refusal: func(status, scope, configuration string) any {
			return oauthBearerRefusal{status, "bearer", scope, configuration}
		}}}
}

// oauthBearerRefusal is what the client is told of a token that is no good (RFC 7628 3.2.2).
type oauthBearerRefusal struct {
	Status        string `json:"status"`
	Schemes       string `json:"schemes"`
	Scope         string `json:"scope,omitempty"`
	Configuration string `json:"openid-configuration,omitempty"`
}

func beginXOAuth2(a *Authenticator, at *Attempt) mechanism {
	return &clientFirst{mechanism: &bearer{auth: a, at: at, parse: parseXOAuth2,
		refusal: func(status, scope, _ string) any {
			code := "401"
			if status == insufficientScope {
				code = "403"
			}
			return xoauth2Refusal{code, "bearer", scope}
		}}}
}

// xoauth2Refusal is the same of XOAUTH2, whose status is that of HTTP.
type xoauth2Refusal struct {
	Status  string `json:"status"`
	Schemes string `json:"schemes"`
	Scope   string `json:"scope"`
}

// What is wrong with a token (RFC 6750 3.1).
const (
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// Challenger is an ErrInvalid of a TokenSource that says more to the client: the status, the
// scopes that are needed, and the URL of the document that tells of the issuer. All but the
// status may be empty.
type Challenger interface {
	error
	Challenge() (status, scope, configuration string)
}

// challenge writes what the client is told.
func (b *bearer) challenge(err error) ([]byte, error) {
	status, scope, configuration := invalidToken, "", ""
	if c, is := errors.AsType[Challenger](err); is {
		status, scope, configuration = c.Challenge()
	}
	return json.Marshal(b.refusal(status, scope, configuration))
}

func (b *bearer) next(ctx context.Context, response []byte) ([]byte, *mail.Principal, error) {
	if b.failed != nil { // whatever it answers
		return nil, nil, b.failed
	}
	user, token, err := b.parse(response)
	if err != nil {
		return nil, nil, err
	}
	who, err := b.auth.token(ctx, b.at, user, token)
	switch {
	case errors.Is(err, ErrInvalid):
		b.failed = err
		told, err := b.challenge(err)
		return told, nil, err
	case err != nil:
		return nil, nil, err
	}
	return nil, &who, nil
}

// parseOAuthBearer reads what the client says (RFC 7628 3.1): a header of GS2 with the
// user, then pairs of keys and values, each with a 0x01 behind it, and one more of these.
func parseOAuthBearer(response []byte) (user, token string, err error) {
	header, pairs, ok := bytes.Cut(response, []byte{1})
	if !ok {
		return "", "", errMalformed
	}
	flag, rest, ok := strings.Cut(string(header), ",")
	named, ended := strings.CutSuffix(rest, ",")
	if !ok || !ended || flag != "n" && flag != "y" {
		return "", "", errMalformed
	}
	if named != "" {
		if user, err = parseAuthzid(named); err != nil {
			return "", "", err
		}
	}
	token, err = parsePairs(pairs, func(key, value string) error { return nil })
	return user, token, err
}

// parseAuthzid reads the name in a header of GS2 (RFC 5801 4): "a=" and the name, in
// which "=2C" is a comma and "=3D" the sign itself.
func parseAuthzid(text string) (string, error) {
	name, ok := strings.CutPrefix(text, "a=")
	if !ok || name == "" || strings.Contains(name, ",") {
		return "", errMalformed
	}
	var plain strings.Builder
	for {
		before, after, found := strings.Cut(name, "=")
		plain.WriteString(before)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(after, "2C"):
			plain.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			plain.WriteByte('=')
		default:
			return "", errMalformed
		}
		name = after[2:]
	}
	if !isName(plain.String()) {
		return "", errMalformed
	}
	return plain.String(), nil
}

// parseXOAuth2 reads what the client says: pairs as above, "user" one of them.
func parseXOAuth2(response []byte) (user, token string, err error) {
	token, err = parsePairs(response, func(key, value string) error {
		if key != "user" {
			return nil
		}
		if user != "" || !isName(value) {
			return errMalformed
		}
		user = value
		return nil
	})
	if err == nil && user == "" {
		err = errMalformed
	}
	return user, token, err
}

// maxPairs is how many pairs a client may send: three are known.
const maxPairs = 16

// parsePairs reads pairs, and returns the token that is in the one of the key "auth".
// The others are for take.
func parsePairs(text []byte, take func(key, value string) error) (token string, err error) {
	body, ended := bytes.CutSuffix(text, []byte{1, 1})
	if !ended {
		return "", errMalformed
	}
	pairs := bytes.Split(body, []byte{1})
	if len(pairs) > maxPairs {
		return "", errMalformed
	}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(string(pair), "=")
		switch {
		case !ok || !isKey(key):
			err = errMalformed
		case key == "auth" && token == "":
			token, err = parseToken(value)
		case key == "auth":
			err = errMalformed
		default:
			err = take(key, value)
		}
		if err != nil {
			return "", err
		}
	}
	if token == "" {
		return "", errMalformed
	}
	return token, nil
}

func isKey(key string) bool {
	return key != "" && !strings.ContainsFunc(key, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
}

// parseToken reads a field as of HTTP: "Bearer" and the token (RFC 6750 2.1).
func parseToken(value string) (string, error) {
	scheme, token, ok := strings.Cut(value, " ")
	token = strings.TrimLeft(token, " ")
	letters := strings.TrimRight(token, "=")
	if !ok || !strings.EqualFold(scheme, "Bearer") || letters == "" || strings.ContainsFunc(letters, notOfToken) {
		return "", errMalformed
	}
	return token, nil
}

func notOfToken(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
}
