package mailtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern/internal/mail"
)

// IssuerOptions say what a TokenIssuer asks of its client.
type IssuerOptions struct {
	Clock mail.Clock
	// Life is how long tokens are good.
	Life     time.Duration
	ClientID string
	// ClientSecret, or the public half of ClientKey, is what the client proves; both may be
	// left out where it has a refresh token.
	ClientSecret string
	ClientKey    any
	Algorithm    jose.SignatureAlgorithm // of assertions
	// RefreshToken is the first that is good. With Rotate each use of one gives the next,
	// and ends the one that was used.
	RefreshToken string
	Rotate       bool
}

// TokenRequest is what a TokenIssuer was asked.
type TokenRequest struct {
	Form   url.Values
	Header http.Header
	// Signed are the header and the claims of the assertion, once its signature was verified.
	Signed jose.Header
	Claims map[string]any
}

// TokenIssuer issues tokens over HTTPS (RFC 6749) to one client, which it verifies: its
// secret, or the signature, times and audience of its assertion (RFC 7523), which it takes
// once. What it issues are JWTs of its own key.
type TokenIssuer struct {
	options IssuerOptions
	server  *httptest.Server
	key     *ecdsa.PrivateKey

	mu       sync.Mutex
	requests []TokenRequest
	seen     map[string]bool // ids of assertions
	refresh  string
	number   int // of the next token
	revoked  int // tokens up to this one are
	trouble  http.HandlerFunc
}

// NewTokenIssuer starts one, which ends with the test.
func NewTokenIssuer(t testing.TB, o IssuerOptions) *TokenIssuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	i := &TokenIssuer{options: o, key: key, refresh: o.RefreshToken, seen: map[string]bool{}}
	config, _ := ServerTLS(t, "localhost")
	i.server = httptest.NewUnstartedServer(i)
	i.server.TLS = config
	i.server.StartTLS()
	t.Cleanup(i.server.Close)
	return i
}

// URL returns that of the endpoint.
func (i *TokenIssuer) URL() string { return i.server.URL + "/token" }

// TLS returns the configuration, with the certificate.
func (i *TokenIssuer) TLS() *tls.Config { return i.server.TLS }

// Roots are what a client needs to verify the issuer.
func (i *TokenIssuer) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.server.Certificate())
	return pool
}

// Requests returns what it was asked so far.
func (i *TokenIssuer) Requests() []TokenRequest {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]TokenRequest(nil), i.requests...)
}

// Trouble lets a handler answer instead; nil ends that.
func (i *TokenIssuer) Trouble(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.trouble = h
}

// Revoke ends all tokens that were issued so far.
func (i *TokenIssuer) Revoke() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.revoked = i.number
}

// RevokeRefresh ends the refresh token.
func (i *TokenIssuer) RevokeRefresh() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refresh = ""
}

// oauthError is an answer of RFC 6749 5.2.
type oauthError struct {
	status int
	code   string
	text   string
}

func (e oauthError) Error() string { return e.code + ": " + e.text }

// ServeHTTP answers a request for a token.
func (i *TokenIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Header().Set("Date", i.options.Clock.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json")
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	i.requests = append(i.requests, TokenRequest{Form: r.PostForm, Header: r.Header})
	if i.trouble != nil {
		i.trouble(w, r)
		return
	}
	answer, err := i.answer(r, &i.requests[len(i.requests)-1])
	if refused, is := errors.AsType[oauthError](err); is {
		w.WriteHeader(refused.status)
		answer = map[string]any{"error": refused.code, "error_description": refused.text}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (i *TokenIssuer) answer(r *http.Request, q *TokenRequest) (map[string]any, error) {
	if err := i.verifyClient(r, q); err != nil {
		return nil, err
	}
	answer := map[string]any{"token_type": "Bearer", "expires_in": int(i.options.Life.Seconds())}
	subject := i.options.ClientID
	switch grant := r.PostForm.Get("grant_type"); grant {
	case "client_credentials":
		if i.options.ClientSecret == "" && i.options.ClientKey == nil {
			return nil, oauthError{401, "invalid_client", "nothing was proved"}
		}
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		subject, _ = q.Claims["sub"].(string)
	case "refresh_token":
		if r.PostForm.Get("refresh_token") != i.refresh || i.refresh == "" {
			return nil, oauthError{400, "invalid_grant", "the refresh token is revoked, or was used"}
		}
		if i.options.Rotate {
			i.refresh = rand.Text()
			answer["refresh_token"] = i.refresh
		}
	default:
		return nil, oauthError{400, "unsupported_grant_type", grant}
	}
	token, err := i.issue(subject)
	answer["access_token"] = token
	return answer, err
}

// verifyClient wants what the options ask of the client.
func (i *TokenIssuer) verifyClient(r *http.Request, q *TokenRequest) error {
	if signed := r.PostForm.Get("client_assertion") + r.PostForm.Get("assertion"); i.options.ClientKey != nil {
		return i.verifyAssertion(signed, q)
	}
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, basic := r.BasicAuth(); basic {
		id, _ = url.QueryUnescape(user)
		secret, _ = url.QueryUnescape(password)
	}
	if id != i.options.ClientID || secret != i.options.ClientSecret {
		return oauthError{401, "invalid_client", "client or secret is wrong"}
	}
	return nil
}

func (i *TokenIssuer) verifyAssertion(signed string, q *TokenRequest) error {
	wrong := func(format string, args ...any) error {
		return oauthError{401, "invalid_client", fmt.Sprintf(format, args...)}
	}
	parsed, err := jose.ParseSignedCompact(signed, []jose.SignatureAlgorithm{i.options.Algorithm})
	if err != nil {
		return wrong("the assertion is none: %v", err)
	}
	payload, err := parsed.Verify(i.options.ClientKey)
	if err != nil {
		return wrong("the signature is wrong")
	}
	q.Signed = parsed.Signatures[0].Header
	var c struct {
		Issuer    string `json:"iss"`
		Subject   string `json:"sub"`
		Audience  string `json:"aud"`
		ID        string `json:"jti"`
		NotBefore int64  `json:"nbf"`
		Expires   int64  `json:"exp"`
	}
	if json.Unmarshal(payload, &c) != nil || json.Unmarshal(payload, &q.Claims) != nil {
		return wrong("no claims")
	}
	now := i.options.Clock.Now().Unix()
	switch {
	case c.Issuer != i.options.ClientID || c.Subject == "" || c.Audience != i.URL():
		return wrong("iss %q, sub %q, aud %q", c.Issuer, c.Subject, c.Audience)
	case now >= c.Expires || now < c.NotBefore:
		return wrong("the assertion is for another time")
	case c.ID == "" || i.seen[c.ID]:
		return wrong("the assertion was used before")
	}
	i.seen[c.ID] = true
	return nil
}

// issue makes a token, which says its number.
func (i *TokenIssuer) issue(subject string) (string, error) {
	i.number++
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, nil)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(map[string]any{"sub": subject, "n": i.number, "exp": i.options.Clock.Now().Add(i.options.Life).Unix()})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// Verify says why a token is not good now, as a mail server does that has asked the issuer.
func (i *TokenIssuer) Verify(_, token string) error {
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	payload, err := parsed.Verify(i.key.Public())
	if err != nil {
		return err
	}
	var c struct {
		Number  int   `json:"n"`
		Expires int64 `json:"exp"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.options.Clock.Now().Unix() >= c.Expires:
		return errors.New("expired")
	case c.Number <= i.revoked:
		return errors.New("revoked")
	}
	return nil
}

// Number returns how many tokens were issued.
func (i *TokenIssuer) Number() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.number
}

// Shown returns all that is secret in what it was asked.
func (i *TokenIssuer) Shown() (secrets []string) {
	for _, r := range i.Requests() {
		for _, name := range []string{"client_secret", "refresh_token", "client_assertion", "assertion"} {
			if s := strings.TrimSpace(r.Form.Get(name)); s != "" {
				secrets = append(secrets, s)
			}
		}
	}
	return secrets
}
