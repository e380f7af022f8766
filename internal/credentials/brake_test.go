package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtpclient"
)

const password = "a-password-of-the-test"

// passwordWorld is a Book with a record by password, and another.
func passwordWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, nil)
	for _, name := range []string{"relay", "other"} {
		w.mustPut(Draft{Secrets: map[string]mail.Secret{fieldPassword: password}, Record: directory.Credential{
			Name: name, Kind: directory.CredentialPassword, User: name, Hosts: []string{name + ".example.com"}, WithoutVerification: true,
		}})
	}
	return w
}

// sink is a server at which users have passwords; it counts logins by the journal of its sessions.
func sinkFor(t *testing.T, passwords map[string]string) *mailtest.Sink {
	t.Helper()
	config, _ := mailtest.ServerTLS(t, host)
	return mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: passwords})
}

// TestRefusedPassword: what a server has refused is not shown to it for a while, twice as long each
// time, and then once; other servers, and other credentials there, are none the worse. It is told once,
// and once that the server takes it again.
func TestRefusedPassword(t *testing.T) {
	w := passwordWorld(t)
	strict := sinkFor(t, map[string]string{"relay": "changed there", "other": password})
	good := sinkFor(t, map[string]string{"relay": password})
	relay, other := w.book.Named("relay"), w.book.Named("other")
	const refuses = "credential-failed credential relay: smtp.example.com refuses it: 535 5.7.8 Credentials invalid"
	for round, pause := range []time.Duration{5, 10, 20, 40, 60, 60} {
		if err := w.loginAt(strict, relay.At(host)); err == nil || !strings.Contains(err.Error(), "AUTH: 535 5.7.8 Credentials invalid") {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, name := range []string{host, "SMTP.Example.COM"} {
			w.withheld(relay.At(name), "credential relay: smtp.example.com has refused it since 2026-03-01T12:00:00Z: 535 5.7.8 Credentials invalid; it is shown there again at ")
		}
		_, _, err := relay.At(host).Begin(t.Context())
		if named, is := errors.AsType[*mail.CredentialError](err); !is || named.Name != "relay" || named.Reply.Enhanced != "4.7.8" {
			t.Errorf("it may be shown: %v", err)
		}
		if err := w.loginAt(strict, other.At(host)); err != nil {
			t.Errorf("the other credential: %v", err)
		}
		if err := w.loginAt(good, relay.At("backup.example.com")); err != nil {
			t.Errorf("at the other server: %v", err)
		}
		next := w.clock.Now().Add(pause * time.Minute)
		want := []Trouble{{"relay", host, start, "535 5.7.8 Credentials invalid", next}}
		if diff := cmp.Diff(want, w.book.Troubles()); diff != "" {
			t.Error(diff)
		}
		w.pass(pause*time.Minute - time.Second)
		w.withheld(relay.At(host), "it is shown there again at "+inUTC(next))
		w.pass(time.Second)
	}
	w.wantTold(refuses)
	if err := w.loginAt(good, relay.At(host)); err != nil {
		t.Errorf("it was changed back there: %v", err)
	}
	w.wantTold(refuses, "credential-works credential relay: smtp.example.com takes it again")
	if list := w.book.Troubles(); len(list) != 0 {
		t.Errorf("there is still %v", list)
	}
	w.wantQuiet(password)
}

// TestLifted: a secret that was changed is shown at once, and so is what a person tests; one that is
// refused again is told of again, and that it works once.
func TestLifted(t *testing.T) {
	w := passwordWorld(t)
	sink := sinkFor(t, map[string]string{"relay": "the right one"})
	login := func() error { return w.loginAt(sink, w.book.Named("relay").At(host)) }
	set := func(secret mail.Secret) {
		t.Helper()
		r := *w.directory.Credential("relay")
		w.mustPut(Draft{Record: r, Secrets: map[string]mail.Secret{fieldPassword: secret}})
	}
	_ = login()
	old := w.book.Named("relay")
	w.book.Named("relay").At(host).Lift()
	if err := login(); err == nil || !strings.Contains(err.Error(), "535 5.7.8") {
		t.Errorf("a test does not ask the server: %v", err)
	}
	w.withheld(w.book.Named("relay").At(host), "has refused it")
	w.wantTold("credential-failed")

	set("still wrong")
	if list := w.book.Troubles(); len(list) != 0 {
		t.Errorf("the troubles of before: %v", list)
	}
	if err := login(); err == nil || !strings.Contains(err.Error(), "535 5.7.8") {
		t.Errorf("a new secret is not shown: %v", err)
	}
	w.wantTold("credential-failed", "credential-failed")

	set("the right one")
	if err := login(); err != nil {
		t.Error(err)
	}
	w.wantTold("credential-failed", "credential-failed", "credential-works credential relay: smtp.example.com takes it again")
	old.At(host).Lift()
	_ = w.loginAt(sink, old.At(host)) // a delivery that still has the login of before
	if err := login(); err != nil {
		t.Error(err)
	}
	w.wantTold("credential-failed", "credential-failed", "credential-works")
	if w.works != 1 {
		t.Errorf("mail was told of it %d times", w.works)
	}
}

// answer is a failure as smtpclient has it, of a server that refuses, for good or for now.
func answer(code int) error {
	return &smtpclient.Error{Command: "AUTH", Remote: true, Reply: mail.NewReply(code, fmt.Sprintf("%d.7.8", code/100), "No")}
}

// TestOneAtATime: a server that has not yet taken a credential is shown it by one connection, and the
// others wait for what comes of that: all of them follow when it was taken, none when it was refused, and
// the next one when nothing came of it. When it was taken once, all show it.
func TestOneAtATime(t *testing.T) {
	for name, c := range map[string]struct {
		came  []error // of the first, one after the other
		shown int     // how often in all
		most  int     // how often at once
	}{
		"taken":                    {[]error{nil}, 20, 19},
		"refused":                  {[]error{answer(535)}, 1, 1},
		"refused as too weak":      {[]error{answer(534)}, 1, 1},
		"for now, and then taken":  {[]error{answer(454), nil}, 20, 18},
		"broken, and then refused": {[]error{errors.New("reset"), answer(535)}, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := passwordWorld(t)
			l := w.book.Named("relay")
			_ = w.shows(l)
			synctest.Test(t, func(t *testing.T) {
				at := l.At(host)
				var mu sync.Mutex
				shown, now, most := 0, 0, 0
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						_, end, err := at.Begin(context.Background())
						if err != nil {
							return
						}
						mu.Lock()
						var came error
						if shown < len(c.came) {
							came = c.came[shown]
						}
						shown++
						now++
						most = max(most, now)
						mu.Unlock()
						time.Sleep(time.Second)
						mu.Lock()
						now--
						mu.Unlock()
						end(came)
					})
				}
				all.Wait()
				if shown != c.shown || most != c.most {
					t.Errorf("it was shown %d times, %d at once; want %d and %d", shown, most, c.shown, c.most)
				}
			})
		})
	}
}

// TestOneRefusal: connections that show a credential at the same time, which then is refused to all of
// them, count as one refusal; that one of them was taken after all lifts nothing.
func TestOneRefusal(t *testing.T) {
	w := passwordWorld(t)
	at := w.book.Named("relay").At(host)
	begin := func() func(error) {
		t.Helper()
		_, end, err := at.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return end
	}
	begin()(nil)
	ends := []func(error){begin(), begin(), begin(), begin()}
	for i, end := range ends {
		came := answer(535)
		if i == 3 {
			came = nil
		}
		end(came)
	}
	w.withheld(at, "535 5.7.8 No")
	w.pass(firstRefused)
	_ = w.shows(at.Login)
	begin()(nil)
	w.wantTold("credential-failed", "credential-works")
}

// TestWaitEnds: whoever waits for a turn waits no longer than it wants, and the turn is nobody's then.
func TestWaitEnds(t *testing.T) {
	w := passwordWorld(t)
	at := w.book.Named("relay").At(host)
	_, end, err := at.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("it is late"))
	if _, _, err := at.Begin(ctx); err == nil || !strings.Contains(err.Error(), "credential relay: another connection shows it to smtp.example.com, and nothing came of that in time: it is late") {
		t.Errorf("%v", err)
	}
	end(errors.New("reset"))
	if _, end, err = at.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	end(nil)
	w.wantTold()
}

// TestManyServers: what is remembered of servers is bounded.
func TestManyServers(t *testing.T) {
	w := passwordWorld(t)
	l := w.book.Named("relay")
	for i := range 3 * maxBrakes {
		_, end, err := l.At(fmt.Sprintf("mx%d.example.com", i)).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			defer end(nil)
			continue
		}
		end(answer(535))
	}
	if n := len(w.book.Troubles()); n != maxBrakes-1 { // of the first one no answer has come
		t.Errorf("%d servers are remembered, want %d", n, maxBrakes-1)
	}
}

// TestSilentServer: a server that says nothing to AUTH keeps nobody waiting for long: the others go on by another way, and
// do not wait for it one after the other.
func TestSilentServer(t *testing.T) {
	w := passwordWorld(t)
	l := w.book.Named("relay")
	_ = w.shows(l)
	synctest.Test(t, func(t *testing.T) {
		at := l.At(host)
		_, end, err := at.Begin(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		const silence = 5 * time.Minute
		began, longest := time.Now(), time.Duration(0)
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				_, end, err := at.Begin(context.Background())
				mu.Lock()
				longest = max(longest, time.Since(began))
				mu.Unlock()
				if err == nil {
					time.Sleep(silence)
					end(errors.New("timed out"))
				}
			})
		}
		time.Sleep(silence)
		end(errors.New("timed out"))
		all.Wait()
		if longest >= silence {
			t.Errorf("a connection has waited for %s", longest)
		}
	})
}

// TestProofAges: that a server has taken a credential says nothing of it a while later. Of connections that
// are made at once then, one shows it: else a password that was changed there would be refused to all of them, and
// the account be locked.
func TestProofAges(t *testing.T) {
	w := passwordWorld(t)
	at := w.book.Named("relay").At(host)
	_, end, err := at.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end(nil)
	for _, c := range []struct {
		passes time.Duration
		free   bool
	}{{provedFor - time.Second, true}, {time.Second, false}} {
		w.pass(c.passes)
		first, _, err := at.take()
		if err != nil {
			t.Fatal(err)
		}
		second, other, err := at.take()
		if err != nil || (second != nil) != c.free || (other == nil) != c.free {
			t.Errorf("after another %s there is a turn for two: %v, %v", c.passes, second != nil, err)
		}
		first.end(errors.New("reset"))
	}
}
