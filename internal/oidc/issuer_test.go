package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern/internal/auth"
	"postern/internal/config"
)

// signedBy is a good token of a key.
func (b *bench) signedBy(pair, id string) string {
	now := b.clock.Now().Unix()
	return sign(pair, "RS256", map[string]any{"kid": id}, says(b.issuer, map[string]any{"exp": now + 60, "iat": now}))
}

// refuses wants a token to be refused.
func (b *bench) refuses(t *testing.T, token string) {
	t.Helper()
	if _, err := b.Token(t.Context(), "", token); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("error %v, want a refusal", err)
	}
}

// cannotTell wants that nothing is said of a token.
func (b *bench) cannotTell(t *testing.T, token string) {
	t.Helper()
	if _, err := b.Token(t.Context(), "", token); err == nil || errors.Is(err, auth.ErrInvalid) {
		t.Errorf("error %v, want one that is temporary", err)
	}
}

func (b *bench) takes(t *testing.T, token string) {
	t.Helper()
	if _, err := b.Token(t.Context(), "", token); err != nil {
		t.Errorf("error %v, want a good token", err)
	}
}

func (b *bench) asked(path string) int64 { return b.issuer.asked[path].Load() }

func (b *bench) publish(keys ...jose.JSONWebKey) {
	b.issuer.set(func(i *issuerServer) { i.keys = keys })
}

// TestRotation: a new key is found by the first token that names it, and one that was
// taken back is good until the keys are read again.
func TestRotation(t *testing.T) {
	b := newBench(t, newIssuer(t, public("rsa", "k1", "")), nil)
	b.Tend(t.Context())
	b.takes(t, b.signedBy("rsa", "k1"))
	b.publish(public("rsa2", "k2", ""))
	b.clock.Advance(30 * time.Second)
	b.takes(t, b.signedBy("rsa", "k1"))
	b.takes(t, b.signedBy("rsa2", "k2"))
	b.refuses(t, b.signedBy("rsa", "k1"))
	if d, k := b.asked(discoveryPath), b.asked(keysPath); d != 1 || k != 2 {
		t.Errorf("discovery was asked %d times, the keys %d times; want 1 and 2", d, k)
	}

	b.publish(public("rsa", "k1", ""))
	b.clock.Advance(time.Hour - time.Second)
	b.Tend(t.Context())
	b.takes(t, b.signedBy("rsa2", "k2"))
	b.clock.Advance(time.Second)
	b.Tend(t.Context())
	b.refuses(t, b.signedBy("rsa2", "k2"))
	b.takes(t, b.signedBy("rsa", "k1"))
}

// TestSameID: several keys may have one identifier, and a new key that of the old one.
func TestSameID(t *testing.T) {
	b := newBench(t, newIssuer(t, public("other", "k", ""), public("p256", "k", ""), public("rsa", "k", "")), nil)
	b.takes(t, b.signedBy("rsa", "k"))
	b.takes(t, sign("p256", "ES256", map[string]any{"kid": "k"}, says(b.issuer, nil)))
	b.publish(public("rsa2", "k", ""))
	b.clock.Advance(time.Hour)
	b.refuses(t, b.signedBy("rsa2", "k"))
	b.Tend(t.Context())
	b.takes(t, b.signedBy("rsa2", "k"))
}

// TestUnknownKeysAskRarely: however many tokens name keys that there are not, the issuer
// is asked once in key_wait.
func TestUnknownKeysAskRarely(t *testing.T) {
	b := newBench(t, newIssuer(t, public("rsa", "k1", "")), nil)
	for round := range int64(3) {
		var clients sync.WaitGroup
		for c := range 8 {
			clients.Go(func() {
				for n := range 50 {
					b.refuses(t, b.signedBy("other", fmt.Sprintf("x%d-%d", c, n)))
				}
			})
		}
		clients.Wait()
		if n := b.asked(keysPath); n != round+1 {
			t.Fatalf("in round %d the keys have been asked for %d times, want %d", round, n, round+1)
		}
		b.takes(t, b.signedBy("rsa", "k1"))
		b.clock.Advance(29 * time.Second)
		b.refuses(t, b.signedBy("other", "y"))
		if n := b.asked(keysPath); n != round+1 {
			t.Fatalf("a second before key_wait, they were asked for again")
		}
		b.clock.Advance(time.Second)
	}
	if n := b.asked(discoveryPath); n != 1 {
		t.Errorf("discovery was asked %d times, want once", n)
	}
}

// TestIssuerDown: what is known goes on, what is not is temporary, and the issuer is
// asked again in the background; who is told of it is told once.
func TestIssuerDown(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", ""))
	down := func(w http.ResponseWriter) { http.Error(w, "down", http.StatusServiceUnavailable) }
	i.document = down
	b := newBench(t, i, nil)
	b.Tend(t.Context())
	b.cannotTell(t, b.signedBy("rsa", "k1"))
	if n := b.asked(discoveryPath); n != 1 {
		t.Errorf("a client asks in vain: %d questions", n)
	}
	for range 20 { // seconds
		b.clock.Advance(time.Second)
		b.Tend(t.Context())
		b.cannotTell(t, b.signedBy("rsa", "k1"))
	}
	if n := b.asked(discoveryPath); n != 5 { // at 0, 1, 3, 7, 15
		t.Errorf("in 20 seconds it was asked %d times, want 5", n)
	}
	if s := b.State(); s.Keys != 0 || s.Err == nil || !s.Since.Equal(start) {
		t.Errorf("state %+v", s)
	}
	i.set(func(i *issuerServer) { i.document = nil })
	b.clock.Advance(time.Minute)
	b.takes(t, b.signedBy("rsa", "k1"))
	if s := b.State(); s.Keys != 1 || s.Err != nil || s.Read.IsZero() {
		t.Errorf("state %+v", s)
	}

	i.set(func(i *issuerServer) { i.document, i.keyAnswer = down, down })
	b.clock.Advance(time.Hour)
	b.Tend(t.Context())
	b.takes(t, b.signedBy("rsa", "k1"))
	b.cannotTell(t, b.signedBy("rsa2", "k2")) // nobody knows whether there is such a key
	b.refuses(t, b.signedBy("other", "k1"))
	b.clock.Advance(23 * time.Hour)
	b.Tend(t.Context())
	b.takes(t, b.signedBy("rsa", "k1"))
	b.clock.Advance(time.Second)
	b.cannotTell(t, b.signedBy("rsa", "k1")) // keep_keys is over
	b.cannotTell(t, b.signedBy("other", "k1"))

	if len(b.events) != 3 || b.events[0].Err == nil || b.events[1].Err != nil || b.events[2].Err == nil || b.events[0].Name != "company" {
		t.Errorf("told %+v, want down, up, down", b.events)
	}
}

// TestWrongDocuments: an issuer whose documents are wrong is as one that is down; what
// was known before stays. Keys that cannot be used are left out (RFC 7517 5).
func TestWrongDocuments(t *testing.T) {
	text := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body) // a client that has enough stops reading
		}
	}
	redirect := func(w http.ResponseWriter) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
	}
	huge := strings.Repeat(" ", maxDocument+1)
	private := jose.JSONWebKey{Key: pairs()["rsa"], KeyID: "k1"}
	secret := jose.JSONWebKey{Key: []byte(strings.Repeat("s", 32)), KeyID: "k1"}
	set := func(keys ...jose.JSONWebKey) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { writeJSON(w, jose.JSONWebKeySet{Keys: keys}) }
	}
	encryption := public("rsa", "k1", "")
	encryption.Use = "enc"
	many := make([]jose.JSONWebKey, maxKeys+1)
	for i := range many {
		many[i] = public("ed", fmt.Sprint(i), "")
	}
	for name, c := range map[string]struct {
		document, keys func(http.ResponseWriter)
		want           string
	}{
		"discovery not found":      {document: text(404, "no"), want: "404"},
		"discovery is a page":      {document: text(200, "<html>"), want: "discovery"},
		"discovery is empty":       {document: text(200, ""), want: "discovery"},
		"discovery of another":     {document: text(200, `{"issuer":"https://evil.example","jwks_uri":"https://evil.example/"}`), want: "did not match"},
		"discovery of nobody":      {document: text(200, `{"jwks_uri":"https://evil.example/"}`), want: "did not match"},
		"discovery is huge":        {document: text(200, huge), want: "too large"},
		"discovery is elsewhere":   {document: redirect, want: "302"},
		"keys not found":           {keys: text(404, "no"), want: "404"},
		"keys are a page":          {keys: text(200, "<html>"), want: "cannot be read"},
		"keys are empty":           {keys: text(200, ""), want: "cannot be read"},
		"no keys":                  {keys: text(200, `{"keys":[]}`), want: "no key for signatures"},
		"nothing of keys":          {keys: text(200, `{}`), want: "no key for signatures"},
		"keys that are null":       {keys: text(200, `null`), want: "no key for signatures"},
		"keys are no objects":      {keys: text(200, `{"keys":[1,"x",null,[]]}`), want: "no key for signatures"},
		"keys are huge":            {keys: text(200, huge), want: "too large"},
		"keys are elsewhere":       {keys: redirect, want: "302"},
		"too many keys":            {keys: set(many...), want: "there are 51 keys"},
		"a private key":            {keys: set(private), want: "no key for signatures"},
		"a secret":                 {keys: set(secret), want: "no key for signatures"},
		"a short key":              {keys: set(public("short", "k1", "")), want: "no key for signatures"},
		"a key for encryption":     {keys: set(encryption), want: "no key for signatures"},
		"a key that is for none":   {keys: text(200, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","key_ops":["sign"],"x":"`+encode(strings.Repeat("k", 32))+`"}]}`), want: "no key for signatures"},
		"a key beside the curve":   {keys: text(200, `{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":"`+encode(strings.Repeat("k", 32))+`","y":"`+encode(strings.Repeat("k", 32))+`"}]}`), want: "no key for signatures"},
		"a key of an unknown kind": {keys: text(200, `{"keys":[{"kty":"XYZ","kid":"k1"}]}`), want: "no key for signatures"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, public("rsa", "k1", ""))
			b := newBench(t, i, nil)
			b.Tend(t.Context())
			fresh := newBench(t, i, nil)
			i.set(func(i *issuerServer) { i.document, i.keyAnswer = c.document, c.keys })
			fresh.Tend(t.Context())
			fresh.cannotTell(t, fresh.signedBy("rsa", "k1"))
			if err := fresh.State().Err; err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
				t.Errorf("error %v, want %q in a line", err, c.want)
			}
			b.clock.Advance(time.Hour)
			b.Tend(t.Context())
			b.takes(t, b.signedBy("rsa", "k1"))
			if b.State().Err == nil {
				t.Error("nobody is told of it")
			}
		})
	}
}

// TestSomeKeysAreGood: one that cannot be used keeps no other from being used.
func TestSomeKeysAreGood(t *testing.T) {
	i := newIssuer(t, public("short", "s", ""), public("rsa", "k1", ""), jose.JSONWebKey{Key: []byte("secret"), KeyID: "k2"})
	b := newBench(t, i, nil)
	b.takes(t, b.signedBy("rsa", "k1"))
	if n := b.State().Keys; n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
}

// TestKeysURL: keys are asked for over what nobody can change.
func TestKeysURL(t *testing.T) {
	for at, good := range map[string]bool{
		"https://keys.example/x": true, "http://keys.example/x": false, "http://127.0.0.1/x": false, "ftp://keys.example/": false,
		"/keys": false, "": false, "https://": false, "https://u:p@keys.example/": false, "file:///etc/passwd": false,
	} {
		i := newIssuer(t, public("rsa", "k1", ""))
		i.document = func(w http.ResponseWriter) { writeJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": at}) }
		b := newBench(t, i, nil)
		got, err := b.discover(t.Context())
		if (err == nil) != good || good && got != at {
			t.Errorf("%q: %q, %v; want good %v", at, got, err, good)
		}
	}
}

// TestSlowIssuer: a client waits no longer than it likes, and one that has gone while the
// issuer was asked for it keeps the others from nothing.
func TestSlowIssuer(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", ""))
	begun, answer := make(chan struct{}), make(chan struct{})
	i.document = func(w http.ResponseWriter) {
		close(begun)
		<-answer
		writeJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + keysPath})
	}
	b := newBench(t, i, nil)
	asks, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := b.Token(asks, "", b.signedBy("rsa", "k1"))
		first <- err
	}()
	<-begun
	leave()
	gone, left := context.WithCancel(t.Context())
	left()
	if _, err := b.Token(gone, "", b.signedBy("rsa", "k1")); !errors.Is(err, context.Canceled) || errors.Is(err, auth.ErrInvalid) {
		t.Errorf("who waits no longer: %v", err)
	}
	close(answer)
	if err := <-first; err != nil {
		t.Errorf("the issuer was asked for who has gone: %v", err)
	}
	b.takes(t, b.signedBy("rsa", "k1"))
	if n := b.asked(discoveryPath); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestTimeout: an issuer that never answers is one that is down.
func TestTimeout(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", ""))
	over := make(chan struct{})
	i.document = func(http.ResponseWriter) { <-over }
	defer close(over)
	b := newBench(t, i, func(c *config.OIDC) { c.Timeout = 50 * time.Millisecond })
	b.cannotTell(t, b.signedBy("rsa", "k1"))
	if b.State().Err == nil {
		t.Error("nobody is told of it")
	}
}

// TestAuthorities: an issuer for which no authority vouches is not believed.
func TestAuthorities(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", ""))
	s := New(settings(i), Options{})
	t.Cleanup(s.Close)
	s.Tend(t.Context())
	if err := s.State().Err; err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the authorities of the system vouch for it: %v", err)
	}
}

// TestFollow: after a reload the keys of the same issuer are known, those of another or
// under other authorities are not.
func TestFollow(t *testing.T) {
	i := newIssuer(t, public("rsa", "k1", ""))
	before := newBench(t, i, nil)
	before.Tend(t.Context())
	for name, c := range map[string]struct {
		change func(*config.OIDC)
		known  int
	}{
		"the same":          {func(c *config.OIDC) { *c = before.config; c.Name, c.Audience = "new", nil }, 1},
		"another issuer":    {func(c *config.OIDC) { *c = before.config; c.Issuer += "/x" }, 0},
		"other authorities": {func(c *config.OIDC) { *c = before.config; c.Authorities = "other.pem" }, 0},
	} {
		after := newBench(t, i, c.change)
		after.Follow(before.Source)
		if n := after.State().Keys; n != c.known {
			t.Errorf("%s: %d keys are known, want %d", name, n, c.known)
		}
	}
}

// TestClockSetBack: a clock that is set back does not keep the issuer from being asked.
func TestClockSetBack(t *testing.T) {
	b := newBench(t, newIssuer(t, public("rsa", "k1", "")), nil)
	b.Tend(t.Context())
	b.publish(public("rsa2", "k2", ""))
	b.clock.Advance(-48 * time.Hour)
	b.Tend(t.Context())
	if n := b.asked(keysPath); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	b.takes(t, b.signedBy("rsa2", "k2"))
}

// FuzzKeys: keys that are taken are public and strong.
func FuzzKeys(f *testing.F) {
	for _, k := range []jose.JSONWebKey{public("rsa", "k1", "RS256"), public("p256", "k2", ""), public("ed", "k3", ""), {Key: []byte("secret"), KeyID: "s"}, {Key: pairs()["rsa"]}} {
		text, err := (&k).MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(`{"keys":[` + string(text) + `]}`))
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Errorf("%d keys and %v", len(keys), err)
		}
		for _, k := range keys {
			if !isStrong(k.public) {
				t.Errorf("%T is taken", k.public)
			}
			for _, a := range []string{"none", "HS256", ""} {
				if k.fits(a) && a != k.algorithm || k.fits("HS256") {
					t.Errorf("%+v is for %q", k, a)
				}
			}
		}
	})
}
