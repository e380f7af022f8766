package deliver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// braked is a Login that shows a password until a server has refused it.
type braked struct {
	mu       sync.Mutex
	password mail.Secret
	refused  bool
	shown    int
}

func (b *braked) Credentials(context.Context) (mail.Credentials, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused {
		return mail.Credentials{}, &mail.CredentialError{Name: "relay", Reply: mail.NewReply(451, "4.7.8", "mx.example does not take them"), Cause: errors.New("refused since then")}
	}
	return mail.Credentials{Name: "relay", User: "joe", Password: b.password}, nil
}

func (b *braked) Begin(ctx context.Context) (mail.Credentials, func(error), error) {
	shown, err := b.Credentials(ctx)
	return shown, func(came error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.shown++
		failure, is := errors.AsType[*smtpclient.Error](came)
		b.refused = is && failure.CredentialsRefused()
	}, err
}

// change is what a person does.
func (b *braked) change(password mail.Secret) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.password, b.refused = password, false
}

// TestWithheld: mail for which a credential is not shown waits without a connection, and says so; it
// comes back, long before its time, when that works again, and not for another.
func TestWithheld(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx.example")
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: map[string]string{"joe": "new"}})
	login := &braked{password: "old"}
	way := as("", "", "site", sink.Addr())
	way.Hops[0].Login = login
	schedule, err := mail.ParseSchedule("5h, every 5h until 1d")
	if err != nil {
		t.Fatal(err)
	}
	o := trusting(roots)
	o.Settings.Retry = schedule
	h := start(t, routes{"joe.example": way}, o)
	submit := func() mail.ID { return h.submit("me@sender.example", "a@joe.example") }
	first := submit()
	if f := h.awaitFacts(first, mail.ReasonDeferred, 1)[0]; f.Command != "AUTH" || f.Reply.Code != 535 || !f.Remote {
		t.Errorf("the first: %s", brief(f))
	}
	ids := []mail.ID{first}
	for range 30 {
		id := submit()
		ids = append(ids, id)
		if f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]; f.Command != "AUTH" || f.Remote || f.Reply.Enhanced != "4.7.8" || !strings.Contains(f.Text, "credential relay: refused since then") {
			t.Errorf("%s: %s", brief(f), f.Text)
		}
	}
	if attempted := slices.DeleteFunc(h.facts(ids[1]), func(f mail.Fact) bool { return f.Reason != mail.ReasonAttempted }); len(attempted) > 0 {
		t.Errorf("it tells of an attempt: %v", attempted)
	}
	if login.shown != 1 {
		t.Errorf("it was shown %d times", login.shown)
	}
	noted := func() int {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		return h.sites.passed
	}
	await(t, "all of it is noted", func() bool { return noted() == len(ids) })
	login.change("new")
	h.CredentialWorks("another")
	if n := noted(); n != len(ids) {
		t.Errorf("%d wait still, of %d, although another credential works", n, len(ids))
	}
	h.CredentialWorks("relay")
	for _, id := range ids { // the clock stands: it is long before its time
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
}

// loggingIn is a way to servers that are shown a password by each.
func loggingIn(login func(n int) route.Login, addresses ...netip.AddrPort) route.Route {
	r := to("mx:login.example:25", addresses...)
	for i := range r.Hops {
		r.Hops[i].Login = login(i)
	}
	return r
}

// TestSilentInLogin: a server that breaks off in AUTH is tried last for a while, as one that cannot be reached.
func TestSilentInLogin(t *testing.T) {
	const offer = "S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250 AUTH PLAIN\n"
	silent := mailtest.NewPeer(t, offer+"C: AUTH\nDROP")
	good := mailtest.NewPeer(t, offer+"C: AUTH\nS: 235 2.7.0 Welcome\n"+accept)
	login := func(int) route.Login {
		return route.Password{Name: "relay", User: "joe", Password: "secret", Unverified: true}
	}
	h := newHarness(t, routes{"": loggingIn(login, silent.Addr(), good.Addr())}, Options{Settings: Settings{IdleTimeout: 1}})
	h.start()
	for range 3 {
		h.awaitFacts(h.submit("me@sender.example", "a@joe.example"), mail.ReasonDelivered, 1)
	}
	if n := silent.Connections(); n != 1 {
		t.Errorf("%d messages have waited for it", n)
	}
}

// TestWithheldIsNotReached: a server that nobody asked, for want of something to show, does not count as reached. A site of
// which the others are dead is left alone.
func TestWithheldIsNotReached(t *testing.T) {
	dead := mailtest.NewPeer(t, "S: 421 4.3.2 closed today")
	logins := []route.Login{&braked{refused: true}, &braked{}}
	way := loggingIn(func(n int) route.Login { return logins[n] }, dead.Addr(), dead.Addr())
	var facts record
	h := start(t, routes{"": way}, Options{Record: facts.add})
	for range downAfter {
		h.awaitFacts(h.submit("me@sender.example", "a@joe.example"), mail.ReasonDeferred, 1)
	}
	if got := facts.texts(mail.ReasonUnreachable); len(got) != 1 {
		t.Errorf("it is told of as unreachable: %q", got)
	}
}

// TestLoginAskedFor: 530 puts mail off where a setting here, or TLS for the moment, may be the reason;
// a server of the recipient's domain that asks for a login means it.
func TestLoginAskedFor(t *testing.T) {
	refusal := func(offer, at string) *mailtest.Peer {
		script := "S: 220 peer\nC: EHLO gate.example\nS: 250-peer\nS: 250 " + offer + "\nC: MAIL\n"
		if at == "RCPT" {
			script += "S: 250 ok\nC: RCPT\n"
		}
		return mailtest.NewPeer(t, script+"S: 530 5.7.0 not like this")
	}
	for what, test := range map[string]struct {
		peer     *mailtest.Peer
		ofDomain bool
		want     mail.Reason
	}{
		"a relay at MAIL":                        {refusal("HELP", "MAIL"), false, mail.ReasonDeferred},
		"a relay at RCPT":                        {refusal("HELP", "RCPT"), false, mail.ReasonDeferred},
		"a server of the domain":                 {refusal("HELP", "MAIL"), true, mail.ReasonBounced},
		"one that offers TLS, spoken to without": {refusal("STARTTLS", "MAIL"), true, mail.ReasonDeferred},
	} {
		way := to("site", test.peer.Addr())
		way.Hops[0].OfDomain = test.ofDomain
		h := start(t, routes{"joe.example": way}, Options{})
		id := h.submit("me@sender.example", "a@joe.example")
		if f := h.awaitFacts(id, test.want, 1)[0]; !f.Remote || f.Reply.Code != 530 || strings.Contains(f.Text, "login first") != (test.want == mail.ReasonDeferred) {
			t.Errorf("%s: %s: %s", what, brief(f), f.Text)
		}
	}
}
