package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern/internal/config"
	"postern/internal/mail"
)

// pairs are key pairs that tests share: to make one takes long.
var pairs = sync.OnceValue(func() map[string]crypto.Signer {
	made := map[string]crypto.Signer{}
	for _, name := range []string{"rsa", "rsa2", "other"} {
		made[name] = must(rsa.GenerateKey(rand.Reader, 2048))
	}
	made["short"] = must(rsa.GenerateKey(rand.Reader, 1024))
	made["p256"] = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	made["p384"] = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	made["ed"] = must(ed, err)
	return made
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// start is when the clock of tests begins.
var start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// issuerServer is an issuer whose documents a test writes.
type issuerServer struct {
	*httptest.Server
	mu        sync.Mutex
	keys      []jose.JSONWebKey
	document  func(w http.ResponseWriter) // of discovery; nil for the right one
	keyAnswer func(w http.ResponseWriter) // instead of the keys
	asked     map[string]*atomic.Int64    // by path
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

func newIssuer(t *testing.T, keys ...jose.JSONWebKey) *issuerServer {
	t.Helper()
	i := &issuerServer{keys: keys, asked: map[string]*atomic.Int64{discoveryPath: {}, keysPath: {}}}
	i.Server = httptest.NewTLSServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	return i
}

func (i *issuerServer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	document, keyAnswer, keys := i.document, i.keyAnswer, i.keys
	i.mu.Unlock()
	if count := i.asked[r.URL.Path]; count != nil {
		count.Add(1)
	}
	switch {
	case r.URL.Path == discoveryPath && document != nil:
		document(w)
	case r.URL.Path == discoveryPath:
		writeJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + keysPath})
	case r.URL.Path == keysPath && keyAnswer != nil:
		keyAnswer(w)
	case r.URL.Path == keysPath:
		writeJSON(w, jose.JSONWebKeySet{Keys: keys})
	default:
		http.NotFound(w, r)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that has gone reads nothing
}

// set changes what the issuer answers.
func (i *issuerServer) set(change func(*issuerServer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

// authority is what vouches for the server.
func (i *issuerServer) authority() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.Certificate())
	return pool
}

// public is the public half of a pair, as an issuer publishes it.
func public(pair, id, algorithm string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: pairs()[pair].Public(), KeyID: id, Algorithm: algorithm, Use: "sig"}
}

// settings are those of a source for the issuer.
func settings(i *issuerServer) config.OIDC {
	return config.OIDC{
		Name: "company", Issuer: i.URL, Audience: []string{"mail", "mail2"}, UserClaim: "email", AddressClaims: []string{"email"},
		Services:   []config.Grant{{Service: config.ServiceSubmit}},
		Algorithms: []string{"RS256", "ES256", "EdDSA"}, ClockSkew: time.Minute,
		Timeout: time.Minute, Refresh: time.Hour, KeyWait: 30 * time.Second, KeepKeys: 24 * time.Hour,
	}
}

// bench is a source, its issuer and its clock.
type bench struct {
	*Source
	issuer *issuerServer
	clock  *mail.ManualClock
	events []Event
}

// newBench makes one; change may alter the settings.
func newBench(t *testing.T, i *issuerServer, change func(*config.OIDC)) *bench {
	t.Helper()
	b := &bench{issuer: i, clock: mail.NewManualClock(start)}
	c := settings(i)
	if change != nil {
		change(&c)
	}
	var mu sync.Mutex
	b.Source = New(c, Options{Clock: b.clock, Account: account, Authorities: i.authority(), Tell: func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		b.events = append(b.events, e)
	}})
	t.Cleanup(b.Close)
	return b
}

// account is the directory of tests.
func account(name string) (mail.Principal, bool) {
	if name != "joe@example.com" {
		return mail.Principal{}, false
	}
	return mail.Principal{
		Account: mail.Account{Name: "joe", Source: "directory"}, Services: mail.Services{Relay: true},
		Addresses: []string{"joe@example.com", "sales@example.com"}, Groups: []string{"sales"},
	}, true
}

// says are the claims of a good token, changed; a nil value takes one out.
func says(i *issuerServer, change map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.URL, "sub": "1", "aud": "mail", "exp": start.Add(time.Hour).Unix(), "iat": start.Unix(),
		"email": "joe@example.com", "email_verified": true,
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token by hand, so that it can be as wrong as it likes.
func sign(pair, algorithm string, header, payload map[string]any) string {
	h := map[string]any{"alg": algorithm, "typ": "JWT"}
	maps.Copy(h, header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	return signText(pair, algorithm, string(must(json.Marshal(h))), string(must(json.Marshal(payload))))
}

func signText(pair, algorithm, header, payload string) string {
	signed := encode(header) + "." + encode(payload)
	return signed + "." + encode(string(signature(pair, algorithm, signed)))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// signature is that of a text, by a pair of the tests.
func signature(pair, algorithm, text string) []byte {
	signer := pairs()[pair]
	switch algorithm {
	case "EdDSA":
		return must(signer.Sign(rand.Reader, []byte(text), crypto.Hash(0)))
	case "ES256", "ES384":
		hash := map[string]crypto.Hash{"ES256": crypto.SHA256, "ES384": crypto.SHA384}[algorithm]
		h := hash.New()
		h.Write([]byte(text))
		k := signer.(*ecdsa.PrivateKey)
		r, s := must2(ecdsa.Sign(rand.Reader, k, h.Sum(nil)))
		size := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
	h := crypto.SHA256.New()
	h.Write([]byte(text))
	var options crypto.SignerOpts = crypto.SHA256
	if algorithm == "PS256" {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	return must(signer.Sign(rand.Reader, h.Sum(nil), options))
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}
