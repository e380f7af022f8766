package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"postern/internal/config"
)

// webIssuer is an issuer in clear on loopback, which can be down.
type webIssuer struct {
	*httptest.Server
	down         atomic.Bool
	asked, keyed chan struct{} // one for each question; for each that the keys were the answer to
}

func newWebIssuer(t *testing.T) *webIssuer {
	i := &webIssuer{asked: make(chan struct{}, 100), keyed: make(chan struct{}, 100)}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked <- struct{}{}
		switch {
		case i.down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/keys":
			fmt.Fprint(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`) // RFC 8037 A.2
			i.keyed <- struct{}{}
		default:
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/keys")
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// withIssuer are settings with a source of tokens.
func withIssuer(t *testing.T, issuer string) *config.Config {
	t.Helper()
	c := settings(t, nowhere)
	o := config.DefaultOIDC()
	o.Name, o.Issuer, o.Audience = "company", issuer, []string{"mail"}
	c.OIDC = []config.OIDC{o}
	return c
}

// TestIssuerIsTended: a server starts without its issuer and asks it until it answers;
// log, journal and status tell of it once, and a reload forgets nothing.
func TestIssuerIsTended(t *testing.T) {
	i := newWebIssuer(t)
	i.down.Store(true)
	c := withIssuer(t, i.URL)
	r, s := reloadable(t, c)
	<-i.asked
	r.inForce().web.tend(t.Context()) // waits for the answer
	if w := r.Daemon.status().Warnings; len(w) != 1 || !strings.HasPrefix(w[0], "oidc company: the issuer does not answer since ") || !strings.Contains(w[0], "its keys are not known") {
		t.Errorf("the status warns of %q", w)
	}
	if n := r.inForce().web.down(); n != 1 {
		t.Errorf("%v sources are down", n)
	}
	i.down.Store(false)
	<-i.keyed
	r.inForce().web.tend(t.Context())
	if w := r.Daemon.status().Warnings; len(w) != 0 {
		t.Errorf("the status warns of %q", w)
	}

	s.set(c, func(c *config.Config) { c.OIDC = slices.Clone(c.OIDC); c.OIDC[0].Audience = []string{"other"} })
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	web := &r.inForce().web
	if n := web.issuers[0].State().Keys; n != 1 {
		t.Errorf("after a reload %d keys are known", n)
	}
	if m := web.methods()["company"]; m.Tokens == nil || m.Passwords != nil {
		t.Errorf("it can do %+v", m)
	}
	r.end(t)
	if len(i.keyed) != 0 {
		t.Error("the reload has asked again")
	}
	lines := journalOf(t, c)
	if strings.Count(lines, "source-down: oidc company: discovery: ") != 1 || strings.Count(lines, "source-up: oidc company\n") != 1 {
		t.Errorf("the journal:\n%s", lines)
	}
	if !strings.Contains(r.log.String(), "source of accounts does not answer") || !strings.Contains(r.log.String(), "source of accounts answers again") {
		t.Errorf("the log:\n%s", r.log.String())
	}
}

// TestServiceIsDown: a service that is asked about passwords is told of in the same way.
func TestServiceIsDown(t *testing.T) {
	c := settings(t, nowhere)
	h := config.DefaultHTTPAuth()
	h.Name, h.URL = "intranet", "http://"+nowhere
	c.HTTPAuth = []config.HTTPAuth{h}
	r, s := reloadable(t, c)
	source := r.inForce().web.methods()["intranet"].Passwords
	for range 2 {
		if _, err := source.Password(t.Context(), "joe", "x"); err == nil {
			t.Fatal("the password of nowhere is good")
		}
	}
	s.set(c, func(c *config.Config) { c.Message.MaxHops = 7 })
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if w := r.Daemon.status().Warnings; len(w) != 1 || !strings.HasPrefix(w[0], "http_auth intranet: the service does not answer since ") {
		t.Errorf("the status warns of %q", w)
	}
	r.end(t)
	if lines := journalOf(t, c); strings.Count(lines, "source-down: http_auth intranet: ") != 1 {
		t.Errorf("the journal:\n%s", lines)
	}
}

// TestWebSourcesAreChecked: what they need is read by check, and told of at its setting.
func TestWebSourcesAreChecked(t *testing.T) {
	c := withIssuer(t, "https://login.example")
	c.OIDC[0].Authorities = "none.pem"
	h := config.DefaultHTTPAuth()
	h.Name, h.URL = "intranet", "https://intranet.example"
	h.Authorities, h.SecretHeader, h.Secret = "none.pem", "X-Secret", config.Secret{Source: config.SecretFile, Name: "none"}
	h.ClientCertificate, h.ClientKey = "none.pem", "none.key"
	c.HTTPAuth = []config.HTTPAuth{h}
	var keys []string
	for _, p := range Check(c, Options{}).Problems {
		if errors.Is(p, os.ErrNotExist) {
			keys = append(keys, p.Key)
		}
	}
	if want := []string{"oidc.authorities", "http_auth.secret", "http_auth.client_certificate", "http_auth.authorities"}; !slices.Equal(keys, want) {
		t.Errorf("problems with %q, want %q", keys, want)
	}
	if _, err := TryToken(t.Context(), c, "other", "", "x"); !errors.Is(err, errNoIssuer) {
		t.Errorf("a source that there is not: %v", err)
	}
}
