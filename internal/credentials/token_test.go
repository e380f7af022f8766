package credentials

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

const (
	clientID     = "the-client"
	clientSecret = "a-client-secret-of-the-test"
	mailbox      = "joe@example.com"
	host         = "smtp.example.com"
)

// tokenWorld is an issuer, a mail server that verifies its tokens, and a Book with a record of
// a client secret.
func tokenWorld(t *testing.T, life time.Duration) (*world, *mailtest.TokenIssuer, *mailtest.Sink) {
	t.Helper()
	clock := mail.NewManualClock(start)
	issuer := mailtest.NewTokenIssuer(t, mailtest.IssuerOptions{Clock: clock, Life: life, ClientID: clientID, ClientSecret: clientSecret})
	w := newWorld(t, issuer)
	w.clock = clock // of both
	w.mustPut(draft(issuer, map[string]mail.Secret{fieldClientSecret: clientSecret}))
	config, _ := mailtest.ServerTLS(t, host)
	return w, issuer, mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Tokens: issuer.Verify})
}

func draft(issuer *mailtest.TokenIssuer, secrets map[string]mail.Secret) Draft {
	return Draft{Secrets: secrets, Record: directory.Credential{
		Name: "office", Kind: directory.CredentialOAuth, User: mailbox, Hosts: []string{host}, TokenURL: issuer.URL(), ClientID: clientID,
		Scopes: []string{"mail.send"}, WithoutVerification: true,
	}}
}

// login logs in at the server with what a Login shows, as deliver does.
func (w *world) login(sink *mailtest.Sink, l *Login) error { return w.loginAt(sink, l.At(host)) }

func (w *world) loginAt(sink *mailtest.Sink, at At) error {
	c, err := at.Credentials(w.t.Context())
	if err != nil {
		return err
	}
	conn, err := smtpclient.Dial(w.t.Context(), at.host, sink.Addr(), smtpclient.Options{
		TLS: tlspolicy.Policy{Level: tlspolicy.Required}, Credentials: c, Login: at,
	})
	if err == nil {
		conn.Close()
	}
	return err
}

// TestTokenLife: the first use asks the issuer, later ones do not; near its end a token is used
// and renewed; one that has ended is not used. The server that is shown it verifies it each time.
func TestTokenLife(t *testing.T) {
	w, issuer, sink := tokenWorld(t, time.Hour)
	l := w.book.For(host)
	for _, step := range []struct {
		name   string
		pass   time.Duration
		issued int
	}{
		{"first use", 0, 1}, {"cached", time.Minute, 1}, {"cached for long", 50 * time.Minute, 1},
		{"early", 5 * time.Minute, 2}, {"cached again", 50 * time.Minute, 2}, {"ended long ago", 3 * time.Hour, 3},
	} {
		w.pass(step.pass)
		if err := w.login(sink, l); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		w.settled(l)
		if got := issuer.Number(); got != step.issued {
			t.Errorf("%s: %d tokens were issued, want %d", step.name, got, step.issued)
		}
	}
	w.wantTold()
	w.wantQuiet(clientSecret)
}

// settled waits until no request of a login is under way.
func (w *world) settled(l *Login) {
	w.t.Helper()
	l.mu.Lock()
	under := l.tokens.under
	l.mu.Unlock()
	if under == nil {
		return
	}
	select {
	case <-under.done:
	case <-w.t.Context().Done():
		w.t.Fatal("the request does not end")
	}
}

// TestOneRequest: a thousand deliveries at once have one token issued; and as many whose token
// was refused, one more.
func TestOneRequest(t *testing.T) {
	w, issuer, _ := tokenWorld(t, time.Hour)
	l := w.book.For(host)
	for round := range 3 {
		var got sync.Map
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				c, err := w.book.Named("office").Credentials(t.Context())
				if err != nil || issuer.Verify("", string(c.Token)) != nil {
					t.Errorf("%v, %v", c, err)
				}
				got.Store(c, true)
			})
		}
		all.Wait()
		n := 0
		got.Range(func(any, any) bool { n++; return true })
		if n != 1 || issuer.Number() != round+1 || len(issuer.Requests()) != round+1 {
			t.Fatalf("round %d: %d different tokens, %d issued, %d requests", round, n, issuer.Number(), len(issuer.Requests()))
		}
		issuer.Revoke()
		w.pass(2 * time.Minute)
		c := w.shows(l)
		l.mu.Lock()
		for range 1000 {
			l.tokens.refused(c.Token, w.passing.Now())
		}
		l.mu.Unlock()
	}
	w.wantTold()
}

// TestTokenRevoked: a token that the server refuses is followed by another, once. When that is
// refused too, the issuer and the server are left alone, and it is told once; it is told too
// when it works again.
func TestTokenRevoked(t *testing.T) {
	w, issuer, sink := tokenWorld(t, time.Hour)
	l := w.book.For(host)
	if err := w.login(sink, l); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Minute)
	issuer.Revoke()
	if err := w.login(sink, l); err == nil || !strings.Contains(err.Error(), "535 5.7.8 Credentials invalid: the server says: invalid_token") {
		t.Errorf("revoked: %v", err)
	}
	if err := w.login(sink, l); err != nil || issuer.Number() != 2 {
		t.Errorf("the next one: %v, %d were issued", err, issuer.Number())
	}
	w.wantTold()

	config, _ := mailtest.ServerTLS(t, host)
	strict := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Tokens: func(string, string) error { return errors.New("never") }})
	_ = w.login(strict, l) // with the token that the other has taken
	before := issuer.Number()
	for round, pause := range []time.Duration{firstRefused, 2 * firstRefused, 4 * firstRefused} {
		if err := w.login(strict, l); err == nil || !strings.Contains(err.Error(), "AUTH: 535 5.7.8") {
			t.Errorf("round %d: %v", round, err)
		}
		for range 10 {
			w.withheld(l.At(host), "535 5.7.8 Credentials invalid: the server says: invalid_token, although the token was just issued")
		}
		if got := issuer.Number() - before; got != round+1 {
			t.Errorf("round %d: %d tokens were issued", round, got)
		}
		w.pass(pause - time.Second)
		w.withheld(l.At(host), "has refused it since")
		w.pass(time.Second)
	}
	w.wantTold("credential-failed credential office: " + host + " refuses it: 535 5.7.8 Credentials invalid: the server says: invalid_token, although the token was just issued")
	if err := w.login(sink, l); err != nil {
		t.Errorf("behind the pause: %v", err)
	}
	w.wantTold("credential-failed", "credential-works credential office: "+host+" takes it again")
}

// withheld wants a credential not to be shown to a server, for a reason that has a part.
func (w *world) withheld(at At, part string) {
	w.t.Helper()
	c, err := at.Credentials(w.t.Context())
	named, is := errors.AsType[*mail.CredentialError](err)
	if !is || named.Reply.Code != 451 || named.Reply.Enhanced != "4.7.8" || !strings.Contains(err.Error(), part) || !c.IsZero() {
		w.t.Errorf("%+v, %v; want it withheld with %q", c, err, part)
	}
}

// TestIssuerDown: an issuer that does not answer, or not with a token, is left alone, longer
// each time; mail waits with its name. While there is a token it is used.
func TestIssuerDown(t *testing.T) {
	for name, c := range map[string]struct {
		trouble http.HandlerFunc
		want    string
		pauses  []time.Duration
		result  string
	}{
		"it is down": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "EOF", []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second}, "failed"},
		"503":        {say(503, "<html>"), "the issuer answers 503", []time.Duration{5 * time.Second, 10 * time.Second}, "failed"},
		"it asks for time": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "90")
			w.WriteHeader(429)
		}, "the issuer answers 429", []time.Duration{90 * time.Second, 90 * time.Second}, "failed"},
		"no token":       {say(200, `{"access_token":"","token_type":"bearer"}`), "without a token that can be used", []time.Duration{5 * time.Second}, "failed"},
		"another type":   {say(200, `{"access_token":"x","token_type":"mac"}`), "without a token that can be used", []time.Duration{5 * time.Second}, "failed"},
		"a hostile one":  {say(200, `{"access_token":"x\r\nRSET","token_type":"bearer"}`), "without a token that can be used", []time.Duration{5 * time.Second}, "failed"},
		"a large token":  {say(200, `{"token_type":"bearer","access_token":"`+strings.Repeat("x", maxToken+1)+`"}`), "without a token", []time.Duration{5 * time.Second}, "failed"},
		"a large answer": {say(200, strings.Repeat(" ", maxAnswer+1)), "the answer is too large", []time.Duration{5 * time.Second}, "failed"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://localhost:1/", http.StatusTemporaryRedirect)
		}, "the issuer answers 307", []time.Duration{5 * time.Second}, "failed"},
		"refused":    {say(400, `{"error":"invalid_grant","error_description":"AADSTS700082: The refresh token has\nexpired"}`), "the issuer answers 400 invalid_grant: AADSTS700082: The refresh token has expired", []time.Duration{firstRefused, 2 * firstRefused}, "refused"},
		"it repeats": {say(401, `{"error":"invalid_client","error_description":"wrong: `+clientSecret+`"}`), "401 invalid_client: (not shown: it repeats what it was told)", []time.Duration{firstRefused}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			w, issuer, sink := tokenWorld(t, time.Hour)
			l := w.book.For(host)
			issuer.Trouble(c.trouble)
			for n, pause := range c.pauses {
				for range 5 {
					w.fails(l, "credential office: ")
					w.fails(l, c.want)
				}
				if got := len(issuer.Requests()); got != n+1 {
					t.Fatalf("%d requests, want %d", got, n+1)
				}
				w.pass(pause - time.Millisecond)
				w.fails(l, c.want)
				w.pass(time.Millisecond)
			}
			issuer.Trouble(nil)
			if err := w.login(sink, l); err != nil {
				t.Fatal(err)
			}
			w.wantTold("credential-failed credential office: ", "credential-works credential office works again")

			w.pass(56 * time.Minute)
			issuer.Trouble(c.trouble)
			if err := w.login(sink, l); err != nil { // and a request goes wrong beside it
				t.Errorf("with a token that is good: %v", err)
			}
			w.settled(l)
			if failing := w.book.Troubles(); len(failing) != 1 || !strings.Contains(failing[0].String(), c.want) {
				t.Errorf("it does not fail: %q", failing)
			}
			w.wantQuiet(clientSecret)
		})
	}
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// TestIssuerIsVerified: nothing is told to an issuer whose certificate is not good.
func TestIssuerIsVerified(t *testing.T) {
	w, issuer, _ := tokenWorld(t, time.Hour)
	_, strangers := mailtest.ServerTLS(t, "localhost")
	w.book.Change(Settings{KeyFile: w.keyFile, Authorities: strangers})
	w.fails(w.book.For(host), "certificate")
	if n := len(issuer.Requests()); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

// TestClockSkew: how long a token is good does not depend on clocks; an assertion does, and is
// signed with the issuer's time when it is refused for this machine's. A clock that is set
// while a token is there changes nothing.
func TestClockSkew(t *testing.T) {
	keyText, public := newEC(t, elliptic.P256())
	for _, skew := range []time.Duration{time.Hour, -time.Hour, 10 * time.Second} {
		theirs := mail.NewManualClock(start.Add(skew))
		issuer := mailtest.NewTokenIssuer(t, mailtest.IssuerOptions{Clock: theirs, Life: time.Hour, ClientID: clientID, ClientKey: public, Algorithm: "ES256"})
		w := newWorld(t, issuer)
		w.mustPut(draft(issuer, map[string]mail.Secret{fieldClientKey: mail.Secret(keyText)}))
		config, _ := mailtest.ServerTLS(t, host)
		sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Tokens: issuer.Verify})
		l := w.book.For(host)
		if err := w.login(sink, l); err != nil {
			t.Fatalf("by %s: %v", skew, err)
		}
		want := 1
		if skew.Abs() > minSkew {
			want = 2
		}
		if got := len(issuer.Requests()); got != want {
			t.Errorf("by %s: %d requests, want %d", skew, got, want)
		}
		w.clock.Advance(-5 * time.Hour) // it is set
		w.passing.Advance(50 * time.Minute)
		theirs.Advance(50 * time.Minute)
		if err := w.login(sink, l); err != nil || issuer.Number() != 1 {
			t.Errorf("by %s, when the clock was set: %v, %d tokens", skew, err, issuer.Number())
		}
		w.passing.Advance(2 * time.Hour)
		theirs.Advance(2 * time.Hour)
		if err := w.login(sink, l); err != nil || issuer.Number() != 2 {
			t.Errorf("by %s, renewed: %v, %d tokens", skew, err, issuer.Number())
		}
		w.wantTold()
		w.wantQuiet(append(issuer.Shown(), keyText[30:])...)
	}
}

// TestRefreshToken: a refresh token is used as long as the issuer gives no other, and each that
// it gives is recorded, sealed, at once; when it cannot be recorded, it is used all the same.
// One that was revoked is told once, until a person gives another.
func TestRefreshToken(t *testing.T) {
	for _, rotate := range []bool{false, true} {
		clock := mail.NewManualClock(start)
		issuer := mailtest.NewTokenIssuer(t, mailtest.IssuerOptions{Clock: clock, Life: time.Hour, ClientID: clientID, RefreshToken: "first-refresh-token", Rotate: rotate})
		w := newWorld(t, issuer)
		w.clock = clock
		w.mustPut(draft(issuer, map[string]mail.Secret{fieldRefreshToken: "first-refresh-token"}))
		l := w.book.For(host)
		sealed := w.directory.Credential("office").RefreshToken
		for n := range 3 {
			_ = w.shows(l)
			w.pass(2 * time.Hour)
			if now := w.book.For(host); now != l || issuer.Number() != n+1 {
				t.Fatalf("rotate %v: another login, or %d tokens, want %d", rotate, issuer.Number(), n+1)
			}
		}
		if now := w.directory.Credential("office").RefreshToken; (now != sealed) != rotate {
			t.Errorf("rotate %v: what is recorded has changed: %v", rotate, now != sealed)
		}
		if rotate {
			w.keepsUnrecorded(l)
		}
		again := New(Options{Settings: Settings{KeyFile: w.keyFile, Authorities: issuer.Roots()}, Directory: w.book.directory, Clock: clock})
		if _, err := again.For(host).Credentials(t.Context()); err != nil {
			t.Errorf("rotate %v, after a start: %v", rotate, err)
		}
		again.Close()

		w.pass(2 * time.Hour)
		issuer.RevokeRefresh()
		w.fails(l, "the issuer answers 400 invalid_grant: the refresh token is revoked, or was used")
		w.pass(time.Hour)
		w.fails(l, "invalid_grant")
		w.wantTold("credential-failed credential office: the issuer answers 400 invalid_grant")
		w.mustPut(draft(issuer, map[string]mail.Secret{fieldRefreshToken: "given-by-a-person"}))
		if now := w.book.For(host); now == l {
			t.Errorf("rotate %v: the login is that of the record of before", rotate)
		}
		w.wantQuiet(append(issuer.Shown(), "given-by-a-person")...)
	}
}

// keepsUnrecorded has a token issued, with the next refresh token, while the key file cannot be
// used for it.
func (w *world) keepsUnrecorded(l *Login) {
	w.t.Helper()
	recorded := w.directory.Credential("office").RefreshToken
	issuerHook := func() { // between reading the key file and using it again
		if err := os.Chmod(w.keyFile, 0o644); err != nil {
			w.t.Error(err)
		}
	}
	l.book.mu.Lock()
	transport := l.book.client.Transport
	l.book.client.Transport = hooked{transport, issuerHook}
	l.book.mu.Unlock()
	_ = w.shows(l)
	if w.directory.Credential("office").RefreshToken != recorded {
		w.t.Error("it was recorded without the key file")
	}
	l.book.mu.Lock()
	l.book.client.Transport = transport
	l.book.mu.Unlock()
	if err := os.Chmod(w.keyFile, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.pass(2 * time.Hour)
	_ = w.shows(l) // with the one that was kept
	if w.directory.Credential("office").RefreshToken == recorded {
		w.t.Error("it is still not recorded")
	}
}

type hooked struct {
	http.RoundTripper
	hook func()
}

func (h hooked) RoundTrip(r *http.Request) (*http.Response, error) {
	h.hook()
	return h.RoundTripper.RoundTrip(r)
}

// TestTokenEnds: whoever waits for a token waits no longer than it wants, and Close breaks off
// the request.
func TestTokenEnds(t *testing.T) {
	w, issuer, _ := tokenWorld(t, time.Hour)
	begun, release := make(chan struct{}), make(chan struct{})
	issuer.Trouble(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	l := w.book.For(host)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := l.Credentials(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "credential office: no token came in time") {
		t.Errorf("%v", err)
	}
	w.book.Close()
	if _, err := l.Credentials(t.Context()); err == nil {
		t.Error("a token after the end")
	}
	w.wantTold() // the end of the server is no failure
}
