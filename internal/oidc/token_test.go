package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/mail"
)

// hmacToken is signed with a text as the secret of HS256.
func hmacToken(secret []byte, kid string, payload map[string]any) string {
	h := must(json.Marshal(map[string]any{"alg": "HS256", "kid": kid}))
	signed := encode(string(h)) + "." + encode(string(must(json.Marshal(payload))))
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(signed))
	return signed + "." + encode(string(m.Sum(nil)))
}

// tokenCase is a token that a client shows with the name of a user, and what is said of it.
type tokenCase struct{ user, token, want string }

// What is said of a token that is good, and of one of another issuer.
const (
	isGood  = ""
	isOther = "is of the issuer"
)

// forge makes the tokens of cases.
type forge struct {
	issuer                  *issuerServer
	k1                      map[string]any
	good                    string
	parts                   []string // of good
	goodHeader, goodPayload string
	at                      int64
	der, asPEM              []byte // the public key of k1
	embedded                jose.JSONWebKey
}

func newForge(i *issuerServer) *forge {
	f := &forge{issuer: i, k1: map[string]any{"kid": "k1"}, at: start.Unix(), goodHeader: `{"alg":"RS256","kid":"k1"}`}
	f.good = f.token(nil)
	f.parts = strings.Split(f.good, ".")
	f.goodPayload = string(must(json.Marshal(says(i, nil))))
	f.der = must(x509.MarshalPKIXPublicKey(pairs()["rsa"].Public()))
	f.asPEM = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: f.der})
	f.embedded = jose.JSONWebKey{Key: pairs()["other"].Public(), KeyID: "k1"}
	return f
}

// token is a good one with other claims, header one with another header.
func (f *forge) token(change map[string]any) string {
	return sign("rsa", "RS256", f.k1, says(f.issuer, change))
}

func (f *forge) header(change map[string]any) string {
	h := maps.Clone(f.k1)
	maps.Copy(h, change)
	return sign("rsa", "RS256", h, says(f.issuer, nil))
}

func goodTokens(f *forge) map[string]tokenCase {
	return map[string]tokenCase{
		"good":                         {"joe@example.com", f.good, isGood},
		"f.good, no user named":        {"", f.good, isGood},
		"f.good, in other case":        {"Joe@EXAMPLE.com", f.good, isGood},
		"ECDSA":                        {"", sign("p256", "ES256", map[string]any{"kid": "k2"}, says(f.issuer, nil)), isGood},
		"Ed25519":                      {"", sign("ed", "EdDSA", map[string]any{"kid": "k3"}, says(f.issuer, nil)), isGood},
		"access token":                 {"", f.header(map[string]any{"typ": "at+jwt"}), isGood},
		"access token, whole type":     {"", f.header(map[string]any{"typ": "application/AT+JWT"}), isGood},
		"no type":                      {"", f.header(map[string]any{"typ": nil}), isGood},
		"several audiences":            {"", f.token(map[string]any{"aud": []string{"other", "mail2"}}), isGood},
		"a little expired":             {"", f.token(map[string]any{"exp": f.at - 59}), isGood},
		"a little early":               {"", f.token(map[string]any{"nbf": f.at + 60, "iat": f.at + 60}), isGood},
		"a time with a fraction":       {"", f.token(map[string]any{"exp": float64(f.at) + 0.5}), isGood},
		"verified, as text":            {"", f.token(map[string]any{"email_verified": "true"}), isGood},
		"names no key":                 {"", f.header(map[string]any{"kid": nil}), isGood},
		"a claim that nobody asks for": {"", f.token(map[string]any{"x": map[string]any{"y": []any{1, nil, "z"}}}), isGood},
	}
}

// wrongClaims are tokens that the issuer has signed.
func wrongClaims(f *forge) map[string]tokenCase {
	return map[string]tokenCase{
		"another user":              {"ann@example.com", f.good, `the client says that it is "ann@example.com", and the token is of "joe@example.com"`},
		"the user and a bit":        {"joe@example.com ", f.good, "the client says"},
		"the user without domain":   {"joe", f.good, "the client says"},
		"another issuer":            {"", f.token(map[string]any{"iss": "https://evil.example"}), isOther},
		"the issuer with a slash":   {"", f.token(map[string]any{"iss": f.issuer.URL + "/"}), isOther},
		"the issuer in a list":      {"", f.token(map[string]any{"iss": []string{f.issuer.URL}}), isOther},
		"no issuer":                 {"", f.token(map[string]any{"iss": nil}), isOther},
		"another audience":          {"", f.token(map[string]any{"aud": "Mail"}), `is for "Mail"`},
		"other audiences":           {"", f.token(map[string]any{"aud": []string{"mail3", "xmail"}}), "is for"},
		"an audience with others":   {"", f.token(map[string]any{"aud": "mail mail2"}), "is for"},
		"an audience in a list":     {"", f.token(map[string]any{"aud": []any{[]string{"mail"}}}), "is for"},
		"an empty list of them":     {"", f.token(map[string]any{"aud": []string{}}), "is for"},
		"no audience":               {"", f.token(map[string]any{"aud": nil}), "is for"},
		"expired":                   {"", f.token(map[string]any{"exp": f.at - 60}), "has expired"},
		"never expires":             {"", f.token(map[string]any{"exp": nil}), "never expires"},
		"expires, as text":          {"", f.token(map[string]any{"exp": "9999999999"}), "exp of the token is no time"},
		"expires at infinity":       {"", signText("rsa", "RS256", f.goodHeader, strings.Replace(f.goodPayload, `"exp":`, `"exp":1e400,"x":`, 1)), "exp of the token is no time"},
		"expires in the year 33658": {"", f.token(map[string]any{"exp": 1e12}), "exp of the token is no time"},
		"expires before 1970":       {"", f.token(map[string]any{"exp": -1}), "exp of the token is no time"},
		"not yet valid":             {"", f.token(map[string]any{"nbf": f.at + 61}), "is not valid before"},
		"issued in the future":      {"", f.token(map[string]any{"iat": f.at + 61}), "is not valid before"},
		"valid from null":           {"", signText("rsa", "RS256", f.goodHeader, strings.Replace(f.goodPayload, `{`, `{"nbf":null,`, 1)), "nbf of the token is no time"},
		"no user":                   {"", f.token(map[string]any{"email": nil}), "no claim email"},
		"an empty user":             {"", f.token(map[string]any{"email": ""}), "email of the token is no text"},
		"a user that is a number":   {"1", f.token(map[string]any{"email": 1}), "email of the token is no text"},
		"a user that is a list":     {"", f.token(map[string]any{"email": []string{"joe@example.com"}}), "email of the token is no text"},
		"a user with a line":        {"", f.token(map[string]any{"email": "joe@example.com\nx"}), "no name of an account"},
		"a long user":               {"", f.token(map[string]any{"email": strings.Repeat("j", 256)}), "no name of an account"},
		"not verified":              {"", f.token(map[string]any{"email_verified": false}), "has not verified"},
		"verified by a number":      {"", f.token(map[string]any{"email_verified": 1}), "has not verified"},
		"not said to be verified":   {"", f.token(map[string]any{"email_verified": nil}), "has not verified"},
		"a claim twice":             {"", signText("rsa", "RS256", f.goodHeader, strings.Replace(f.goodPayload, `{`, `{"email":"ann@example.com",`, 1)), "has a name twice"},
		"a claim in other case":     {"", f.token(map[string]any{"email": nil, "Email": "joe@example.com"}), "no claim email"},
		"says a list":               {"", signText("rsa", "RS256", f.goodHeader, `[]`), "no object"},
		"says null":                 {"", signText("rsa", "RS256", f.goodHeader, `null`), "no object"},
		"says nothing":              {"", signText("rsa", "RS256", f.goodHeader, ``), "no object"},
		"says two things":           {"", signText("rsa", "RS256", f.goodHeader, f.goodPayload+f.goodPayload), "something behind"},
	}
}

// wrongSignatures are tokens that it has not, or not so.
func wrongSignatures(f *forge) map[string]tokenCase {
	return map[string]tokenCase{
		"not signed":                {"", sign("rsa", "none", f.k1, says(f.issuer, nil)), `signed with "none"`},
		"not signed, in other case": {"", sign("rsa", "nOnE", f.k1, says(f.issuer, nil)), `signed with "nOnE"`},
		"none, and no signature":    {"", encode(`{"alg":"none"}`) + "." + f.parts[1] + ".", `signed with "none"`},
		"no signature":              {"", f.parts[0] + "." + f.parts[1] + ".", "was not signed by the key"},
		"no algorithm":              {"", signText("rsa", "RS256", `{"kid":"k1"}`, f.goodPayload), `signed with ""`},
		"HS256 with the key in DER": {"", hmacToken(f.der, "k1", says(f.issuer, nil)), `signed with "HS256"`},
		"HS256 with the key in PEM": {"", hmacToken(f.asPEM, "k1", says(f.issuer, nil)), `signed with "HS256"`},
		"an algorithm not allowed":  {"", sign("rsa2", "PS256", map[string]any{"kid": "k4"}, says(f.issuer, nil)), `signed with "PS256"`},
		"not that of the key":       {"", sign("rsa2", "RS256", map[string]any{"kid": "k4"}, says(f.issuer, nil)), "that key is not for RS256"},
		"a key of another kind":     {"", sign("p256", "ES256", f.k1, says(f.issuer, nil)), "that key is not for ES256"},
		"by somebody else":          {"", sign("other", "RS256", f.k1, says(f.issuer, nil)), "was not signed by the key"},
		"by another of the keys":    {"", sign("ed", "EdDSA", f.k1, says(f.issuer, nil)), "that key is not for EdDSA"},
		"somebody else, no name":    {"", sign("other", "RS256", nil, says(f.issuer, nil)), "no key of the issuer has signed"},
		"an unknown key":            {"", f.header(map[string]any{"kid": "k9"}), `no key of the issuer has signed the token; it names "k9"`},
		"a key in other case":       {"", f.header(map[string]any{"kid": "K1"}), `it names "K1"`},
		"a key that is a path":      {"", sign("other", "RS256", map[string]any{"kid": "../../../../dev/null"}, says(f.issuer, nil)), `it names "../../../../dev/null"`},
		"a key that is a URL":       {"", sign("other", "RS256", map[string]any{"kid": f.issuer.URL + "/evil"}, says(f.issuer, nil)), `/evil"`},
		"a key that is SQL":         {"", sign("other", "RS256", map[string]any{"kid": "' OR 1=1 --"}, says(f.issuer, nil)), `OR 1=1`},
		"a key that is a number":    {"", f.header(map[string]any{"kid": 1}), "cannot be decoded"},
		"brings its key":            {"", sign("other", "RS256", map[string]any{"kid": "k1", "jwk": f.embedded}, says(f.issuer, nil)), "was not signed by the key"},
		"leads to its key":          {"", sign("other", "RS256", map[string]any{"kid": "k1", "jku": f.issuer.URL + "/evil", "x5u": f.issuer.URL + "/evil"}, says(f.issuer, nil)), "was not signed by the key"},
	}
}

// wrongForms are tokens that are none, or not of those that say who somebody is.
func wrongForms(f *forge) map[string]tokenCase {
	return map[string]tokenCase{
		"critical headers":       {"", f.header(map[string]any{"crit": []string{"exp"}}), `has "crit" in its header`},
		"payload as it is":       {"", f.header(map[string]any{"b64": false}), `has "b64" in its header`},
		"payload, critically":    {"", f.header(map[string]any{"b64": false, "crit": []string{"b64"}}), "in its header"},
		"a notice of a logout":   {"", f.header(map[string]any{"typ": "logout+jwt"}), `is a "logout+jwt"`},
		"a type that is no text": {"", f.header(map[string]any{"typ": 5}), "a typ that is no text"},
		"a header twice":         {"", signText("rsa", "RS256", `{"alg":"RS256","kid":"k9","kid":"k1"}`, f.goodPayload), "cannot be decoded"},
		"a header of two":        {"", signText("rsa", "RS256", f.goodHeader+f.goodHeader, f.goodPayload), "cannot be decoded"},
		"changed":                {"", f.parts[0] + "." + encode(strings.Replace(f.goodPayload, "joe", "ann", 1)) + "." + f.parts[2], "was not signed by the key"},
		"signature of another":   {"", f.parts[0] + "." + f.parts[1] + "." + strings.Split(f.token(map[string]any{"sub": "2"}), ".")[2], "was not signed by the key"},
		"in four parts":          {"", f.good + ".x", "it has 3 dots"},
		"encrypted":              {"", "eyJhbGciOiJkaXIifQ..a.b.c", "it has 4 dots"},
		"opaque":                 {"", "ya29.a0AfH6SMBx", "it has 1 dots"},
		"empty":                  {"", "", "it has 0 dots"},
		"three empty parts":      {"", "..", `signed with ""`},
		"with padding":           {"", f.parts[0] + "." + f.parts[1] + "=." + f.parts[2], "other characters"},
		"with lines":             {"", f.parts[0] + ".\r\n" + f.parts[1] + "." + f.parts[2], "other characters"},
		"with spaces":            {"", " " + f.good, "other characters"},
		"base64 of another kind": {"", f.parts[0] + "." + f.parts[1] + "." + strings.ReplaceAll(f.parts[2], "A", "+"), "other characters"},
		"as JSON":                {"", `{"protected":"` + f.parts[0] + `","payload":"` + f.parts[1] + `","signature":"` + f.parts[2] + `"}`, "other characters"},
		"huge":                   {"", f.token(map[string]any{"x": strings.Repeat("x", 13<<10)}), "more than 16384 octets"},
		"deep":                   {"", signText("rsa", "RS256", f.goodHeader, strings.Repeat(`{"a":`, 2000)+"1"+strings.Repeat("}", 2000)), isOther},
	}
}

// TestTokens shows each token to a source, as RFC 8725 3 has what to beware of: what is
// said of it, and whether another source is asked. The claims go by RFC 7519 4.1, the
// forms by RFC 7515 3.1, RFC 7797 and RFC 9068 2.1, the algorithms by RFC 7518 3.1 and RFC 8037 3.1.
// Nothing that is said has the token in it.
func TestTokens(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", "RS256"), public("p256", "k2", ""), public("ed", "k3", ""), public("rsa2", "k4", "PS256"))
	f := newForge(i)
	for _, cases := range []map[string]tokenCase{goodTokens(f), wrongClaims(f), wrongSignatures(f), wrongForms(f)} {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				b := newBench(t, i, nil)
				b.Tend(t.Context())
				c.check(t, b, f.parts[2])
			})
		}
	}
}

// check shows the token; good is the signature of the good one.
func (c tokenCase) check(t *testing.T, b *bench, good string) {
	who, err := b.Token(t.Context(), c.user, c.token)
	if c.want == isGood {
		if want := joe(); err != nil || !cmp.Equal(want, who) {
			t.Errorf("%v, %s", err, cmp.Diff(want, who))
		}
		return
	}
	refusal, is := errors.AsType[*Refusal](err)
	if !is || !errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrUnknown) != (c.want == isOther) {
		t.Fatalf("error %v, want one that is invalid, and unknown for another issuer", err)
	}
	if !strings.Contains(err.Error(), c.want) {
		t.Errorf("error %v, want %q", err, c.want)
	}
	if !cmp.Equal(who, mail.Principal{}) {
		t.Errorf("refused, and returned %+v", who)
	}
	if len(c.token) > 60 && strings.Contains(err.Error(), c.token[len(c.token)-20:]) || strings.Contains(err.Error(), good[:20]) {
		t.Errorf("the error has the token in it: %v", err)
	}
	if status, scope, _ := refusal.Challenge(); status != "invalid_token" || scope != "" || refusal.Configuration != b.issuer.URL+discoveryPath {
		t.Errorf("a client is told %+v", refusal)
	}
}

func joe() mail.Principal {
	return mail.Principal{
		Account: mail.Account{Name: "joe@example.com", Source: "company"}, Services: mail.Services{Submit: true},
		Addresses: []string{"joe@example.com"},
	}
}

// TestTokensGoNowhere: nothing that stands in a token is asked for.
func TestTokensGoNowhere(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", ""))
	evil := newIssuer(t, public("other", "k1", ""))
	b := newBench(t, i, nil)
	b.Tend(t.Context())
	token := sign("other", "RS256", map[string]any{"kid": "k1", "jku": evil.URL + keysPath, "x5u": evil.URL + keysPath}, says(i, map[string]any{"_claim_names": map[string]any{"email": "a"},
		"_claim_sources": map[string]any{"a": map[string]any{"endpoint": evil.URL + keysPath}}}))
	if _, err := b.Token(t.Context(), "", token); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("%v", err)
	}
	if n := evil.asked[keysPath].Load() + evil.asked[discoveryPath].Load(); n != 0 {
		t.Errorf("what the token names was asked %d times", n)
	}
}

// TestSettings shows a good token to sources with other settings. Scopes stand in a text
// (RFC 8693 4.2), or in a list as some issuers write them.
func TestSettings(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", ""), public("p384", "k2", ""))
	relay := config.Grant{Service: config.ServiceRelay, Group: "senders"}
	for name, c := range map[string]struct {
		change func(*config.OIDC)
		claims map[string]any
		user   string
		want   func(*mail.Principal)
		not    string
		status string
	}{
		"another claim has the name": {change: func(c *config.OIDC) { c.UserClaim = "preferred_username" }, claims: map[string]any{"preferred_username": "joe"}, user: "JOE",
			want: func(p *mail.Principal) { p.Name = "joe" }},
		"which needs no verified address": {change: func(c *config.OIDC) { c.UserClaim = "sub" }, claims: map[string]any{"email_verified": nil},
			want: func(p *mail.Principal) { p.Name, p.Addresses = "1", nil }},
		"unverified addresses": {change: func(c *config.OIDC) { c.UnverifiedEmail = true }, claims: map[string]any{"email_verified": nil},
			want: func(*mail.Principal) {}},
		"but no false ones": {change: func(c *config.OIDC) { c.UnverifiedEmail = true }, claims: map[string]any{"email_verified": false}, not: "has not verified"},
		"in the directory": {change: func(c *config.OIDC) { c.MustExist, c.GroupsClaim = true, "groups" }, claims: map[string]any{"groups": []string{"sales", "senders"}},
			want: func(p *mail.Principal) {
				*p, _ = account("joe@example.com")
				p.Source, p.Groups = "company", []string{"sales", "senders"}
			}},
		"not in the directory": {change: func(c *config.OIDC) { c.MustExist = true }, claims: map[string]any{"email": "ann@example.com"}, not: `no account "ann@example.com" in the directory`},
		"groups": {change: func(c *config.OIDC) { c.GroupsClaim, c.Services = "groups", append(c.Services, relay) }, claims: map[string]any{"groups": []any{"senders", 1}},
			want: func(p *mail.Principal) { p.Groups, p.Services.Relay = []string{"senders"}, true }},
		"other groups": {change: func(c *config.OIDC) { c.GroupsClaim, c.Services = "groups", append(c.Services, relay) }, claims: map[string]any{"groups": "sender"},
			want: func(p *mail.Principal) { p.Groups = []string{"sender"} }},
		"groups in an object": {change: func(c *config.OIDC) { c.GroupsClaim, c.Services = "realm_access.roles", append(c.Services, relay) },
			claims: map[string]any{"realm_access": map[string]any{"roles": []string{"senders"}}},
			want:   func(p *mail.Principal) { p.Groups, p.Services.Relay = []string{"senders"}, true }},
		"addresses": {change: func(c *config.OIDC) { c.AddressClaims = []string{"proxies", "email"} }, claims: map[string]any{"proxies": []string{"info@example.com", "joe@example.com", "no address", "*@example.com"}},
			want: func(p *mail.Principal) { p.Addresses = []string{"info@example.com", "joe@example.com"} }},
		"claims that are there": {change: func(c *config.OIDC) {
			c.RequiredClaims = []config.Claim{{Name: "hd", Value: "example.com"}, {Name: "level", Value: "3"}, {Name: "mfa", Value: "true"}, {Name: "amr", Value: "otp"}}
		}, claims: map[string]any{"hd": "example.com", "level": 3, "mfa": true, "amr": []string{"pwd", "otp"}}, want: func(*mail.Principal) {}},
		"a claim that is not":       {change: func(c *config.OIDC) { c.RequiredClaims = []config.Claim{{Name: "hd", Value: "example.com"}} }, not: `claim hd of the token is not "example.com"`},
		"a claim with other text":   {change: func(c *config.OIDC) { c.RequiredClaims = []config.Claim{{Name: "hd", Value: "example.com"}} }, claims: map[string]any{"hd": "example.com.evil"}, not: "claim hd"},
		"a claim of another kind":   {change: func(c *config.OIDC) { c.RequiredClaims = []config.Claim{{Name: "hd", Value: "example.com"}} }, claims: map[string]any{"hd": map[string]any{"example.com": 1}}, not: "claim hd"},
		"scopes":                    {change: func(c *config.OIDC) { c.Scopes = []string{"mail.send", "openid"} }, claims: map[string]any{"scope": "openid mail.send"}, want: func(*mail.Principal) {}},
		"scopes in a list":          {change: func(c *config.OIDC) { c.Scopes = []string{"mail.send"} }, claims: map[string]any{"scp": []string{"openid", "mail.send"}}, want: func(*mail.Principal) {}},
		"a scope that is not":       {change: func(c *config.OIDC) { c.Scopes = []string{"openid", "mail.send"} }, claims: map[string]any{"scope": "openid mail.sender"}, not: "lacks the scope mail.send", status: "insufficient_scope"},
		"no scopes":                 {change: func(c *config.OIDC) { c.Scopes = []string{"mail.send"} }, not: "lacks the scope", status: "insufficient_scope"},
		"no skew":                   {change: func(c *config.OIDC) { c.ClockSkew = 0 }, claims: map[string]any{"exp": start.Unix()}, not: "has expired"},
		"no skew, a second before":  {change: func(c *config.OIDC) { c.ClockSkew = 0 }, claims: map[string]any{"exp": start.Unix() + 1, "nbf": start.Unix()}, want: func(*mail.Principal) {}},
		"a name that is too simple": {change: func(c *config.OIDC) { c.UserClaim = "profile.email" }, claims: map[string]any{"profile": "x"}, not: "no claim profile.email"},
		"an address in an object, not verified": {change: func(c *config.OIDC) { c.UserClaim = "profile.name" }, claims: map[string]any{"profile": map[string]any{"name": "joe"}},
			want: func(p *mail.Principal) { p.Name = "joe" }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, i, c.change)
			who, err := b.Token(t.Context(), c.user, sign("rsa", "RS256", map[string]any{"kid": "k1"}, says(i, c.claims)))
			if c.not != "" {
				refusal, is := errors.AsType[*Refusal](err)
				if !is || !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), c.not) {
					t.Fatalf("error %v, want %q", err, c.not)
				}
				if want := c.status; want != "" && (refusal.Status != want || refusal.Scope != strings.Join(b.config.Scopes, " ")) {
					t.Errorf("a client is told %+v", refusal)
				}
				return
			}
			want := joe()
			c.want(&want)
			if err != nil || !cmp.Equal(want, who) {
				t.Errorf("%v (-want +got):\n%s", err, cmp.Diff(want, who))
			}
		})
	}
}

// TestExamine: what is shown of a token is what was looked at.
func TestExamine(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", ""))
	b := newBench(t, i, func(c *config.OIDC) { c.RequiredClaims = []config.Claim{{Name: "hd", Value: "example.com"}} })
	r := b.Examine(t.Context(), "", sign("rsa", "RS256", map[string]any{"kid": "k1"}, says(i, map[string]any{"hd": "x", "secret": "y"})))
	var names []string
	for _, c := range r.Claims {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"iss", "exp", "iat", "aud", "hd"}, names); diff != "" || r.Claims[4].Value != `"x"` {
		t.Errorf("%+v (-want +got):\n%s", r.Claims, diff)
	}
	if r.Algorithm != "RS256" || r.KeyID != "k1" || r.Type != "JWT" || r.Err == nil {
		t.Errorf("%+v", r)
	}
}

// FuzzToken: no text is taken for a token of somebody but the ones that were signed,
// and none makes trouble.
func FuzzToken(f *testing.F) {
	payload := map[string]any{"iss": "https://issuer.example", "aud": "mail", "exp": start.Unix() + 60, "email": "joe@example.com", "email_verified": true}
	good := sign("rsa", "RS256", map[string]any{"kid": "k1"}, payload)
	f.Add(good)
	f.Add(sign("ed", "EdDSA", nil, payload))
	f.Add(sign("rsa", "none", nil, payload))
	f.Add("a.b.c")
	f.Add(encode(`{"alg":"RS256","crit":["b64"],"b64":false}`) + ".x.y")
	keys := []key{{id: "k1", public: pairs()["rsa"].Public()}, {id: "k2", public: pairs()["p256"].Public()}}
	s := New(config.OIDC{Name: "f", Issuer: "https://issuer.example", Audience: []string{"mail"}, UserClaim: "email", Algorithms: []string{"RS256", "ES256"}, KeepKeys: 1 << 40, KeyWait: 1 << 40, Refresh: 1 << 40},
		Options{Clock: mail.NewManualClock(start)})
	s.issuer.keys, s.issuer.read, s.issuer.asked = keys, start, start
	f.Fuzz(func(t *testing.T, text string) {
		who, err := s.Token(context.Background(), "", text)
		switch {
		case err == nil && who.Name != "joe@example.com":
			t.Errorf("%q is a token of %+v", text, who)
		case err == nil && !strings.HasPrefix(text, good[:strings.LastIndexByte(good, '.')+1]) && text != good:
			t.Errorf("%q is taken for a token", text)
		case err != nil && !errors.Is(err, auth.ErrInvalid):
			t.Errorf("%q: %v, which is not its fault", text, err)
		}
	})
}
