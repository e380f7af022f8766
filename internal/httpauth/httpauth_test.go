package httpauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/mail"
)

const (
	user     = "joe@example.com"
	password = "corr\"ect & horse=?ü\x00"
	secret   = "Bearer of-the-service"
)

// settings are those of a source for a service at an URL.
func settings(at string) config.HTTPAuth {
	return config.HTTPAuth{
		Name: "intranet", URL: at, Request: config.HTTPForm, UserField: "username", PasswordField: "password",
		Services: []config.Grant{{Service: config.ServiceSubmit}, {Service: config.ServiceRelay, Group: "senders"}},
		Timeout:  time.Minute, MaxConnections: 4,
	}
}

func newSource(t *testing.T, c config.HTTPAuth, o Options) *Source {
	t.Helper()
	s := New(c, o)
	t.Cleanup(s.Close)
	return s
}

// serve starts a service in clear at loopback.
func serve(t *testing.T, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server
}

// TestRequests: what a service is told, in each of the ways.
func TestRequests(t *testing.T) {
	type seen struct {
		method, uri, kind, secret string
		user, password            string
	}
	var got seen
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = seen{method: r.Method, uri: r.RequestURI, kind: r.Header.Get("Content-Type"), secret: r.Header.Get("X-Secret")}
		switch got.kind {
		case "application/x-www-form-urlencoded":
			got.user, got.password = r.PostFormValue("u"), r.PostFormValue("p")
		case "application/json":
			var body map[string]string
			if json.NewDecoder(r.Body).Decode(&body) != nil || len(body) != 2 {
				t.Errorf("body %v", body)
			}
			got.user, got.password = body["u"], body["p"]
		default:
			if text, _ := io.ReadAll(r.Body); len(text) > 0 {
				t.Errorf("a body %q", text)
			}
			got.user, got.password, _ = r.BasicAuth()
		}
		fmt.Fprint(w, "{}")
	})
	for way, want := range map[config.HTTPRequest]seen{
		config.HTTPForm:  {"POST", "/login?x=y", "application/x-www-form-urlencoded", secret, user, password},
		config.HTTPJSON:  {"POST", "/login?x=y", "application/json", secret, user, password},
		config.HTTPBasic: {"GET", "/login?x=y", "", secret, user, password},
	} {
		c := settings(at.URL + "/login?x=y")
		c.Request, c.UserField, c.PasswordField, c.SecretHeader = way, "u", "p", "X-Secret"
		if _, err := newSource(t, c, Options{Secret: secret}).Password(t.Context(), user, password); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if got != want {
			t.Errorf("%s: the service has seen %+v, want %+v", way, got, want)
		}
	}
}

// TestAnswers: what becomes of each answer. No error shows what was sent, or came.
func TestAnswers(t *testing.T) {
	plain := mail.Principal{Account: mail.Account{Name: user, Source: "intranet"}, Services: mail.Services{Submit: true}}
	with := func(change func(*mail.Principal)) *mail.Principal {
		p := plain
		change(&p)
		return &p
	}
	for name, c := range map[string]struct {
		status int
		body   string
		want   *mail.Principal // nil: see wrong
		wrong  bool            // the password is; else it cannot be told
	}{
		"right":           {200, "{}", &plain, false},
		"right, in lines": {200, "\n{\n}\n", &plain, false},
		"all of it": {200, `{"user":"joe","addresses":["joe@example.com","*@sub.example.com"],"groups":["senders","x"],"services":["relay","submit","pop"],"language":"de-CH"}`, with(func(p *mail.Principal) {
			p.Name, p.Addresses, p.Groups, p.Services.Relay, p.Language = "joe", []string{"joe@example.com", "*@sub.example.com"}, []string{"senders", "x"}, true, "de-CH"
		}), false},
		"fewer services":          {200, `{"groups":["senders"],"services":["relay"]}`, with(func(p *mail.Principal) { p.Groups, p.Services = []string{"senders"}, mail.Services{Relay: true} }), false},
		"no services":             {200, `{"services":[]}`, with(func(p *mail.Principal) { p.Services = mail.Services{} }), false},
		"services of no group":    {200, `{"services":["relay","admin"]}`, with(func(p *mail.Principal) { p.Services = mail.Services{} }), false},
		"null is nothing":         {200, `{"user":null,"services":null}`, &plain, false},
		"wrong":                   {401, "", nil, true},
		"forbidden":               {403, `{"user":"joe"}`, nil, true},
		"no content":              {204, "", nil, false},
		"created":                 {201, "{}", nil, false},
		"elsewhere":               {302, "", nil, false},
		"moved":                   {308, "", nil, false},
		"malformed question":      {400, "", nil, false},
		"not found":               {404, "", nil, false},
		"by a proxy":              {407, "", nil, false},
		"too many":                {429, "", nil, false},
		"trouble":                 {500, "{}", nil, false},
		"no gateway":              {502, "", nil, false},
		"maintenance":             {503, "", nil, false},
		"a page":                  {200, "<html>log in here</html>", nil, false},
		"nothing":                 {200, "", nil, false},
		"null":                    {200, "null", nil, false},
		"true":                    {200, "true", nil, false},
		"a list":                  {200, "[]", nil, false},
		"says that it is not":     {200, `{"ok":false}`, nil, false},
		"says so beside":          {200, `{"user":"joe","success":false}`, nil, false},
		"two objects":             {200, `{}{}`, nil, false},
		"half an object":          {200, `{"user":"joe"`, nil, false},
		"text for a list":         {200, `{"groups":"senders"}`, nil, false},
		"a user with a line":      {200, `{"user":"joe\nx"}`, nil, false},
		"a long user":             {200, `{"user":"` + strings.Repeat("j", 256) + `"}`, nil, false},
		"an empty group":          {200, `{"groups":[""]}`, nil, false},
		"many groups":             {200, `{"groups":[` + strings.Repeat(`"a",`, 1000) + `"a"]}`, nil, false},
		"no address":              {200, `{"addresses":["joe"]}`, nil, false},
		"everybody's address":     {200, `{"addresses":["*"]}`, nil, false},
		"all of no domain":        {200, `{"addresses":["*@"]}`, nil, false},
		"all of part of a domain": {200, `{"addresses":["*@*.example.com"]}`, nil, false},
		"no language":             {200, `{"language":"de_!"}`, nil, false},
		"huge":                    {200, `{"user":"` + strings.Repeat(" ", maxAnswer) + `"}`, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var followed atomic.Bool
			at := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					followed.Store(true)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body) // a client that has enough stops reading
			})
			s := newSource(t, settings(at.URL), Options{})
			who, err := s.Password(t.Context(), user, password)
			if followed.Load() {
				t.Error("the redirect was followed, with the password")
			}
			if c.want != nil {
				if err != nil || !cmp.Equal(*c.want, who) {
					t.Errorf("%v (-want +got):\n%s", err, cmp.Diff(*c.want, who))
				}
				return
			}
			if err == nil || errors.Is(err, auth.ErrInvalid) != c.wrong || !cmp.Equal(who, mail.Principal{}) {
				t.Errorf("%+v, %v; want that the password is wrong: %v", who, err, c.wrong)
			}
			if err != nil && (strings.Contains(err.Error(), "corr") || strings.Contains(err.Error(), "log in")) {
				t.Errorf("the error shows what was sent, or came: %v", err)
			}
			if _, failure := s.Failure(); (failure != nil) == c.wrong {
				t.Errorf("failure of the service: %v", failure)
			}
		})
	}
}

// TestNeverAsked: what cannot be a user is told to nobody, nor one with a colon where
// HTTP cannot name it (RFC 7617 2).
func TestNeverAsked(t *testing.T) {
	var asked atomic.Int64
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, "{}")
	})
	c := settings(at.URL)
	c.Request = config.HTTPBasic
	s := newSource(t, c, Options{})
	for _, pair := range [][2]string{{"", "x"}, {"a\r\nb", "x"}, {"a\x00", "x"}, {strings.Repeat("a", 256), "x"}, {"\xff", "x"}, {"joe", "\xff"}, {"jo:e", "x"}} {
		if _, err := s.Password(t.Context(), pair[0], pair[1]); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%q: %v", pair, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
	if _, err := s.Password(t.Context(), "joe", ""); err != nil || asked.Load() != 1 {
		t.Errorf("an empty password is the service's to judge: %v", err)
	}
}

// TestDown: a service that cannot be reached, breaks off or is slow says nothing; who is
// told of it is told once.
func TestDown(t *testing.T) {
	release := make(chan struct{})
	answers := make(chan http.HandlerFunc, 8)
	at := serve(t, func(w http.ResponseWriter, r *http.Request) { (<-answers)(w, r) })
	var mu sync.Mutex
	var told []bool
	clock := mail.NewManualClock(time.Unix(1_000_000, 0))
	c := settings(at.URL)
	c.Timeout = 2 * time.Second // which the answers below need, too
	s := newSource(t, c, Options{Clock: clock, Tell: func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e.Err == nil)
	}})
	ask := func() error {
		_, err := s.Password(t.Context(), user, password)
		return err
	}
	temporary := func(what string) {
		t.Helper()
		if err := ask(); err == nil || errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v, want an error that is temporary", what, err)
		}
	}
	answers <- func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }
	if err := ask(); err != nil {
		t.Errorf("up: %v", err)
	}
	answers <- func(http.ResponseWriter, *http.Request) { <-release }
	temporary("silent")
	close(release)
	since, _ := s.Failure()
	clock.Advance(time.Hour)
	answers <- func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	temporary("breaks off")
	answers <- func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		fmt.Fprint(w, "{}")
	}
	temporary("breaks off within its answer")
	if again, _ := s.Failure(); !again.Equal(since) || since.Unix() != 1_000_000 {
		t.Errorf("it fails since %v, and then since %v", since, again)
	}
	answers <- func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }
	if err := ask(); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("up again: %v", err)
	}
	at.Close()
	temporary("gone")
	if !cmp.Equal(told, []bool{false, true, false}) {
		t.Errorf("told %v, want down, up, down", told)
	}
}

// TestClientGone: a client that leaves says nothing of the service.
func TestClientGone(t *testing.T) {
	begun, over := make(chan struct{}), make(chan struct{})
	at := serve(t, func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-over
	})
	defer close(over)
	s := newSource(t, settings(at.URL), Options{})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-begun
		leave()
	}()
	if _, err := s.Password(ctx, user, password); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := s.Failure(); err != nil {
		t.Errorf("the service is said to fail: %v", err)
	}
}

// TestConnections: they are kept, and never more than may be.
func TestConnections(t *testing.T) {
	var open, most, total atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			total.Add(1)
			if n := open.Add(1); n > most.Load() {
				most.Store(n)
			}
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	s := newSource(t, settings(server.URL), Options{})
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range 10 {
				if _, err := s.Password(t.Context(), user, password); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	if most.Load() > 4 || total.Load() > 4 {
		t.Errorf("%d connections at a time, %d in all, want at most 4", most.Load(), total.Load())
	}
}

// TestTLS: a service is asked only if an authority vouches for it, and can ask who asks.
func TestTLS(t *testing.T) {
	own, _ := certificate(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 || !r.TLS.PeerCertificates[0].Equal(own.Leaf) {
			w.WriteHeader(500)
		}
		fmt.Fprint(w, "{}")
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	for name, c := range map[string]struct {
		authorities *x509.CertPool
		own         *tls.Certificate
		good        bool
	}{
		"all is well":        {trusted, &own, true},
		"nobody vouches":     {nil, &own, false},
		"no own certificate": {trusted, nil, false},
	} {
		_, err := newSource(t, settings(server.URL), Options{Certificate: c.own, Authorities: c.authorities}).Password(t.Context(), user, password)
		if (err == nil) != c.good || errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// certificate makes one that vouches for itself.
func certificate(t *testing.T) (tls.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, key
}

// TestFollow: what is known of the same service is known after a reload.
func TestFollow(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	before := newSource(t, settings(at.URL), Options{})
	if _, err := before.Password(t.Context(), user, password); err == nil {
		t.Fatal("no failure")
	}
	for at, fails := range map[string]bool{at.URL: true, at.URL + "/x": false} {
		after := newSource(t, settings(at), Options{})
		after.Follow(before)
		if _, err := after.Failure(); (err != nil) != fails {
			t.Errorf("%s: failure %v, want one %v", at, err, fails)
		}
	}
}

// FuzzAnswer: what is taken for an account has nothing in it that cannot be used.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"user":"joe","addresses":["*@example.com"],"groups":["a"],"services":["relay"],"language":"de"}`))
	f.Add([]byte(`{"ok":false}`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parse(text)
		if err != nil {
			return
		}
		if len(a.User) > maxName || !isName(a.User) || len(a.Addresses) > maxValues || len(a.Groups) > maxValues {
			t.Errorf("%q makes %+v", text, a)
		}
		for _, address := range a.Addresses {
			if !strings.Contains(address, "@") {
				t.Errorf("%q is taken for an address", address)
			}
		}
	})
}

// FuzzRequest: what a user types comes out as it went in, and changes nothing else.
func FuzzRequest(f *testing.F) {
	f.Add("joe", "x&username=root")
	f.Add("a\"b", "\\\x00\"}")
	s := New(settings("https://intranet.example/"), Options{})
	f.Fuzz(func(t *testing.T, user, password string) {
		r, err := s.request(context.Background(), user, password)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		values, err := url.ParseQuery(string(body))
		if err != nil || len(values) != 2 || values.Get("username") != user || values.Get("password") != password {
			t.Errorf("%q, %q became %q", user, password, body)
		}
	})
}
