package deliver

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// as is a way under verified TLS with credentials.
func as(user, password string, site string, addresses ...netip.AddrPort) route.Route {
	r := withTLS(to(site, addresses...), "verify")
	for i := range r.Hops {
		r.Hops[i].Host = "mx.example"
		r.Hops[i].Login = route.Password{User: user, Password: mail.Secret(password)}
	}
	return r
}

func trusting(roots *x509.CertPool) Options {
	return Options{Settings: Settings{Client: smtpclient.Options{TLSConfig: &tls.Config{RootCAs: roots}}}}
}

// TestCredentialsNeverShareAConnection: two that send to one site under
// different names, or one under two passwords, do so over different
// connections; the same use one.
func TestCredentialsNeverShareAConnection(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx.example")
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: map[string]string{"joe": "one", "ann": "two"}})
	h := start(t, routes{
		"joe.example": as("joe", "one", "site", sink.Addr()),
		"ann.example": as("ann", "two", "site", sink.Addr()),
		"old.example": as("joe", "old", "site", sink.Addr()),
	}, trusting(roots))
	for range 3 {
		for _, user := range []string{"joe", "ann"} {
			h.awaitFacts(h.submit("me@sender.example", "a@"+user+".example"), mail.ReasonDelivered, 1)
		}
	}
	deferred := h.awaitFacts(h.submit("me@sender.example", "a@old.example"), mail.ReasonDeferred, 1)[0]
	if got := brief(deferred); got != "deferred 1 a@old.example: AUTH: 535 5.7.8 Credentials invalid" {
		t.Errorf("%s", got)
	}
	var got []string
	for _, r := range sink.Received() {
		got = append(got, r.To()[0]+" by "+r.User+string(rune('0'+r.Connection)))
	}
	want := slices.Repeat([]string{"a@joe.example by joe0", "a@ann.example by ann1"}, 3)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCredentialsNeverShareATransaction: one message whose recipients need
// different credentials goes out once for each.
func TestCredentialsNeverShareATransaction(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx.example")
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: map[string]string{"joe": "one", "ann": "two"}})
	h := start(t, routes{
		"joe.example": as("joe", "one", "site", sink.Addr()),
		"ann.example": as("ann", "two", "site", sink.Addr()),
	}, trusting(roots))
	h.awaitFacts(h.submit("me@sender.example", "a@joe.example", "b@ann.example"), mail.ReasonDelivered, 2)
	var got []string
	for _, r := range sink.Received() {
		got = append(got, r.User+": "+strings.Join(r.To(), " "))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"ann: b@ann.example", "joe: a@joe.example"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestRefusedCredentials: an operator's mistake bounces nothing, and another
// server that takes the credentials gets the mail.
func TestRefusedCredentials(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx.example")
	sink := func(password string) *mailtest.Sink {
		return mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: map[string]string{"joe": password}})
	}
	strict, good := sink("other"), sink("one")
	h := start(t, routes{"": as("joe", "one", "site", strict.Addr(), good.Addr()), "strict.example": as("joe", "one", "strict", strict.Addr())}, trusting(roots))
	h.awaitFacts(h.submit("me@sender.example", "a@one.example"), mail.ReasonDelivered, 1)
	id := h.submit("me@sender.example", "a@strict.example")
	if f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]; f.Command != "AUTH" || f.Reply.Code != 535 || strings.Contains(f.Text, "one") {
		t.Errorf("%s: %s", brief(f), f.Text)
	}
	h.wantStates(id, "a@strict.example deferred 1")
	if n := len(good.Received()); n != 1 {
		t.Errorf("the second server got %d messages", n)
	}
}

// TestOtherLanesMakeRoom: a site has no more connections than it may, also
// when those that are idle are of no use for the next message.
func TestOtherLanesMakeRoom(t *testing.T) {
	closed := make(chan struct{})
	first := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		c.Play(hello + accept + quit)
		close(closed)
	}})
	sink := mailtest.NewSink(t)
	h := start(t, routes{"one.example": to("site", first.Addr()), "two.example": to("site", sink.Addr())}, Options{Settings: Settings{MaxPerSite: 1}})
	h.awaitFacts(h.submit("me@sender.example", "a@one.example"), mail.ReasonDelivered, 1)
	h.awaitFacts(h.submit("me@sender.example", "a@two.example"), mail.ReasonDelivered, 1)
	receive(t, "the idle connection is closed for the other", closed)
}
