package deliver

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// TestStopLetsAttemptsFinish: what runs is finished, settled, and its
// connection closed in good order; what is not yet claimed stays.
func TestStopLetsAttemptsFinish(t *testing.T) {
	reached, proceed := make(chan struct{}), make(chan struct{})
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		c.Play(hello + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go on\nCONTENT")
		close(reached)
		<-proceed
		c.Play("S: 250 taken\n" + quit)
	}})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	receive(t, "the message is there", reached)
	h.stop()
	late := h.submit("joe@sender.example", "b@one.example")
	close(proceed)
	h.finish()
	h.wantFacts(id, "routed 1 ", "attempted 1 ", "delivered 1 a@one.example: end of data: 250 taken")
	h.wantStates(late, "b@one.example queued 0")
	h.wantOnly(late)
}

// TestStopReleases: what no server has answered when the time of grace is
// over is given back, as if there had been no attempt.
func TestStopReleases(t *testing.T) {
	for name, script := range map[string]string{
		"at the greeting":    "STALL",
		"at EHLO":            "S: 220 peer\nSTALL",
		"at MAIL":            hello + "C: MAIL\nSTALL",
		"before the content": hello + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nSTALL",
	} {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{})
			before, _ := strings.CutSuffix(script, "STALL")
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
				c.Play(before)
				close(reached)
				c.Stall()
			}})
			h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{MaxPerSite: 1}, Grace: 1})
			running := h.submit("joe@sender.example", "a@one.example")
			waiting := h.submit("joe@sender.example", "b@two.example")
			receive(t, "the peer stalls", reached)
			h.finish()
			for _, id := range []mail.ID{running, waiting} {
				h.wantFacts(id)
				if e, err := h.store.Get(t.Context(), id); err != nil || e.Deliveries[0].Attempts != 0 {
					t.Errorf("%d attempts, %v", e.Deliveries[0].Attempts, err)
				}
			}
			if n := h.store.Leased(); n != 0 {
				t.Errorf("%d leases are still held", n)
			}
		})
	}
}

// TestStopAfterDot: a server that has the whole message may have taken it, so
// this was an attempt.
func TestStopAfterDot(t *testing.T) {
	reached := make(chan struct{})
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		c.Play(hello + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go on\nCONTENT")
		close(reached)
		c.Stall()
	}})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Grace: 1})
	id := h.submit("joe@sender.example", "a@one.example")
	receive(t, "the message is there", reached)
	h.finish()
	f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
	if f.Command != "end of data" || f.Attempt != 1 {
		t.Errorf("%s", brief(f))
	}
	h.wantStates(id, "a@one.example deferred 1")
}

// TestStopInSecondPart: what became of the first part is settled although the
// stop cut off the second.
func TestStopInSecondPart(t *testing.T) {
	for _, c := range []struct {
		script string
		states []string
		fact   mail.Reason
	}{
		{accept, []string{"b@one.example deferred 1"}, mail.ReasonDelivered},
		{"C: MAIL\nS: 451 later\n", []string{"a@one.example deferred 1", "b@one.example deferred 1"}, mail.ReasonAttempted},
	} {
		reached := make(chan struct{})
		peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, conn *mailtest.PeerConn) {
			conn.Play(hello + c.script + "C: MAIL")
			close(reached)
			conn.Stall()
		}})
		h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{MaxRecipients: 1}, Grace: 1})
		id := h.submit("joe@sender.example", "a@one.example", "b@one.example")
		receive(t, "the second part is under way", reached)
		h.finish()
		h.awaitFacts(id, c.fact, 1)
		h.wantStates(id, c.states...)
	}
}

// stuck is a Router that answers only when it is told to give up.
type stuck struct{ asked chan struct{} }

func (s stuck) Route(ctx context.Context, _ route.Question) (route.Route, error) {
	close(s.asked)
	<-ctx.Done()
	return route.Route{}, ctx.Err()
}

func TestStopWhileRouting(t *testing.T) {
	router := stuck{make(chan struct{})}
	h := start(t, router, Options{Grace: 1})
	id := h.submit("joe@sender.example", "a@one.example")
	receive(t, "the router is asked", router.asked)
	h.finish()
	h.wantFacts(id)
	h.wantStates(id, "a@one.example queued 0")
	if n := h.store.Leased(); n != 0 {
		t.Errorf("%d leases are still held", n)
	}
}

// TestRunLeavesNothing: no goroutine of a Deliverer outlives Run, and every
// connection has heard QUIT.
func TestRunLeavesNothing(t *testing.T) {
	done := make(chan struct{}, 100)
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		converse(c, refusing(map[string]string{"later": "451 4.2.1 later", "never": "550 5.1.1 no"}))
		c.ExpectClosed()
		done <- struct{}{}
	}})
	h := newHarness(t, routes{"": to("site", peer.Addr()), "nowhere.example": to("nowhere", refused)}, Options{Settings: Settings{MaxPerSite: 4}})
	before := stacks()
	h.start()
	var ids []mail.ID
	for _, local := range []string{"a", "b", "c", "later", "never"} {
		for _, domain := range []string{"one.example", "two.example", "nowhere.example"} {
			ids = append(ids, h.submit("joe@sender.example", local+"@"+domain))
		}
	}
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonRouted, 1)
	}
	h.finish()
	for range peer.Connections() {
		receive(t, "the connection is closed", done)
	}
	await(t, "no goroutine is left", func() bool { return stacks() <= before })
}

// stacks counts the goroutines that run code of this package or of the
// client, less those of the tests themselves.
func stacks() int {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	goroutines := strings.Split(string(all), "\n\n")
	return len(slices.DeleteFunc(goroutines, func(g string) bool {
		ours := strings.Contains(g, "deliver.(*Deliverer)") || strings.Contains(g, "deliver.(*sites)") ||
			strings.Contains(g, "deliver.(*keeper)") || strings.Contains(g, "/smtpclient.")
		return !ours
	}))
}

// TestSitesCloseForgets: after close nothing is kept.
func TestSitesCloseForgets(t *testing.T) {
	peer := mailtest.NewPeer(t, "S: 220 peer\nC: EHLO\nS: 250 peer\n"+quit)
	s := newSites(1, patience)
	site, kept, err := s.acquire(t.Context(), "site", func(*idleConn) bool { return true })
	if err != nil || kept != nil {
		t.Fatalf("%v, %v", kept, err)
	}
	s.close()
	dialed, err := smtpclient.Dial(t.Context(), "peer", peer.Addr(), smtpclient.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.release(site, link{conn: dialed})
	if len(site.idle) != 0 || site.slots.used != 0 || dialed.Usable() {
		t.Errorf("%d connections kept, %d in use", len(site.idle), site.slots.used)
	}
}

// TestSitesAreForgotten: with ever new sites, those that are not in use go.
func TestSitesAreForgotten(t *testing.T) {
	s := newSites(1, patience)
	s.learn("used.test", "used")
	place := s.enter("used.test", mail.Normal)
	for i := range 3 * maxKnown {
		s.learn("one.test", fmt.Sprint("site", i)) // a domain that changes its servers all the time
	}
	if len(s.byName) > maxKnown {
		t.Errorf("%d sites are remembered", len(s.byName))
	}
	if s.byName["used"] != place.site {
		t.Error("a site that is in use was forgotten")
	}
	place.leave()
	for i := range maxKnown {
		s.learn(mail.Destination(fmt.Sprint(i, ".test")), "another")
	}
	if s.byName["used"] != nil || len(s.siteOf) > maxKnown {
		t.Errorf("%d destinations are remembered, and a site that nobody uses", len(s.siteOf))
	}
}
