package deliver

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

// TestCallBack: when a message finds that a site is back, those that were
// deferred only because it was down follow, long before their time; those that
// were tried keep theirs.
func TestCallBack(t *testing.T) {
	peer, alive := dying(t)
	schedule, err := mail.ParseSchedule("5h, every 5h until 1d")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{Retry: schedule}})
	ids := h.bringDown(100)
	_, tried, suspended := h.answers(ids)
	if tried+suspended != 100 || suspended < 50 {
		t.Fatalf("%d were tried, %d suspended", tried, suspended)
	}
	await(t, "all that was passed over is noted", func() bool {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		return h.sites.passed == suspended
	})
	alive.Store(true)
	h.advance(firstPause)
	h.awaitFacts(h.submit("joe@sender.example", "a@new.example"), mail.ReasonDelivered, 1)
	await(t, "what was passed over is delivered", func() bool { n, _, _ := h.answers(ids); return n == suspended })
	h.finish()
	if n, now, _ := h.answers(ids); n != suspended || now != tried {
		t.Errorf("%d are delivered, want %d; %d were tried in vain, want %d", n, suspended, now, tried)
	}
	if s := h.sites; s.passed != 0 || s.byName["site"].passed != nil {
		t.Errorf("%d are noted still", s.passed)
	}
}

// TestNoCallBack: a server that is back but takes no message gets no more of
// them before their time than some now and then.
func TestNoCallBack(t *testing.T) {
	var alive atomic.Bool
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		if alive.Load() {
			converse(c, refusing(map[string]string{"a": "451 4.3.0 not now"}))
		} else {
			c.Send("421 4.3.2 closed today")
		}
	}})
	schedule, err := mail.ParseSchedule("5h, every 5h until 1d")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{Retry: schedule}})
	ids := h.bringDown(50)
	_, _, suspended := h.answers(ids)
	alive.Store(true)
	h.advance(firstPause)
	if f := h.awaitFacts(h.submit("joe@sender.example", "a@new.example"), mail.ReasonDeferred, 1)[0]; f.Command != "RCPT" {
		t.Fatalf("the site is not back: %s", brief(f))
	}
	noted := func() int { h.sites.mu.Lock(); defer h.sites.mu.Unlock(); return h.sites.passed }
	if n := noted(); n != suspended {
		t.Errorf("%d are noted, want %d", n, suspended)
	}
	for _, id := range ids {
		if e, err := h.store.Get(t.Context(), id); err != nil || !e.Deliveries[0].Next.Equal(begin.Add(5*time.Hour)) {
			t.Errorf("%+v, %v", e.Deliveries, err)
		}
	}
	for left := suspended; left > 0; left -= firstWindow {
		h.advance(returnPace)
		await(t, "some more are tried", func() bool { return noted() == max(0, left-firstWindow) && h.active.Load() == 0 })
	}
	tried := func() int { _, n, _ := h.answers(ids); return n }
	await(t, "all were tried", func() bool { return tried() == len(ids) })
	h.finish()
	if h.bringMore(h.clock.Now()); len(h.sites.returning) > 0 {
		t.Error("nothing is left to come back, and that is waited for")
	}
}

// TestPassedAreBounded: the oldest of a site gives way, and one that has none
// noted gets no place.
func TestPassedAreBounded(t *testing.T) {
	s := newSites(20, patience)
	s.learn("d", "site")
	s.learn("e", "other")
	leases := func(first, n int) (list []queue.Lease) {
		for i := range n {
			list = append(list, queue.Lease{Entry: queue.Entry{ID: mail.ID(fmt.Sprint(first + i)), Deliveries: []queue.Delivery{{Destination: "d"}}}})
		}
		return list
	}
	p, other := s.enter("d", mail.Normal), s.enter("e", mail.Normal)
	p.passOver(leases(0, maxPassed))
	p.passOver(leases(maxPassed, 3))
	other.passOver(leases(0, 1))
	if len(p.site.passed) != maxPassed || s.passed != maxPassed || len(other.site.passed) != 0 {
		t.Errorf("%d of the one, %d of the other, %d in all", len(p.site.passed), len(other.site.passed), s.passed)
	}
	if d, found := s.takePassed(p.site); !found || d != (delivery{"3", "d"}) {
		t.Errorf("the first is %v", d)
	}
	other.passOver(leases(7, 1))
	if d, found := s.takePassed(other.site); !found || d.entry != "7" {
		t.Errorf("of the other: %v", d)
	}
	p.site.pause = firstPause
	if d, found := s.takePassed(p.site); found {
		t.Errorf("%v is brought back to a site that is down", d)
	}
	p.leave()
	p.site.failedAt = time.Now().Add(-3 * lastPause)
	s.sweep()
	if s.passed != 0 || s.byName["site"] != nil {
		t.Errorf("%d of a site that is forgotten", s.passed)
	}
}
