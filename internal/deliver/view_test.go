package deliver

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

// dying is a server that can be told to greet with a refusal.
func dying(t *testing.T) (peer *mailtest.Peer, alive *atomic.Bool) {
	alive = new(atomic.Bool)
	return mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		if alive.Load() {
			converse(c, func(string) string { return "" })
		} else {
			c.Send("421 4.3.2 closed today")
		}
	}}), alive
}

// bringDown sends mail to a site until it is down, and some more.
func (h *harness) bringDown(n int) (ids []mail.ID) {
	h.Helper()
	for i := range n {
		ids = append(ids, h.submit("joe@sender.example", fmt.Sprintf("a@d%d.example", i)))
	}
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDeferred, 1)
	}
	return ids
}

// retryAll makes all mail due, as an operator does.
func (h *harness) retryAll() {
	h.Helper()
	h.TryNow()
	if _, err := h.store.Edit(h.Context(), queue.Filter{}, queue.Change{Kind: queue.ChangeRetry}, "me"); err != nil {
		h.Fatal(err)
	}
}

// answers counts what became of the attempts of messages: those that failed with
// a connection, and those that were answered without one, apart.
func (h *harness) answers(ids []mail.ID) (delivered, tried, suspended int) {
	for _, id := range ids {
		for _, f := range h.facts(id) {
			switch {
			case f.Reason == mail.ReasonDelivered:
				delivered++
			case f.Reason == mail.ReasonDeferred && f.Reply.Text == errLeftAlone.Reply.Text:
				suspended++
			case f.Reason == mail.ReasonDeferred:
				tried++
			}
		}
	}
	return delivered, tried, suspended
}

// TestView: what an operator sees of a site that is down, and of others.
func TestView(t *testing.T) {
	peer, _ := dying(t)
	sink := mailtest.NewSink(t)
	schedule, err := mail.ParseSchedule("1h, every 1h until 1d")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, routes{"": to("mx:dead.example:25", peer.Addr()), "good.example": to("mx:good.example:25", sink.Addr())}, Options{Settings: Settings{Retry: schedule}})
	h.warmUp("a@good.example")
	h.bringDown(30)
	await(t, "nothing is in hand", func() bool { _, all := h.Sites(); return all[0].InHand == 0 })
	counts, all := h.Sites()
	if counts.Known != 2 || counts.Down != 1 || counts.Suspended != 0 || counts.Unknown != 0 || counts.Transactions.Bound != "" {
		t.Errorf("counts: %+v", counts)
	}
	dead, good := all[0], all[1]
	if dead.Name != "mx:dead.example:25" || dead.Destinations != 30 || dead.Due != 0 || dead.Later != 30 || !dead.Next.Equal(h.clock.Now().Add(time.Hour)) {
		t.Errorf("dead: %+v", dead)
	}
	if d := dead.Down; d == nil || !d.Since.Equal(h.clock.Now()) || !d.Until.Equal(h.clock.Now().Add(firstPause)) || d.Probing || dead.Failures < downAfter || !strings.Contains(dead.Failure, "closed today") {
		t.Errorf("down: %+v of %+v", d, dead)
	}
	if good.Down != nil || good.Destinations != 1 || good.Later != 0 || good.Idle != 1 || good.TransactionMS < 1 || good.Failure != "" {
		t.Errorf("good: %+v", good)
	}
	if list := h.Destinations(dead.Name); len(list) != 30 || list[0] != "d0.example" || list[29] != "d9.example" {
		t.Errorf("destinations: %v", list)
	}
}

// TestRetryIsAnAttempt: what an operator asks for is tried although the site is
// down and its time is not over; the rest waits for what one message finds out.
func TestRetryIsAnAttempt(t *testing.T) {
	peer, alive := dying(t)
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	ids := h.bringDown(100)
	_, tried, suspended := h.answers(ids)

	h.retryAll() // in vain
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDeferred, 2)
	}
	_, triedThen, suspendedThen := h.answers(ids)
	if triedThen != tried+1 || suspendedThen != suspended+len(ids)-1 {
		t.Errorf("%d were tried and %d suspended, then %d and %d", tried, suspended, triedThen, suspendedThen)
	}
	alive.Store(true)
	h.retryAll()
	await(t, "all is delivered", func() bool { n, _, _ := h.answers(ids); return n == len(ids) })
	if _, triedNow, suspendedNow := h.answers(ids); triedNow != triedThen || suspendedNow != suspendedThen {
		t.Errorf("%d were deferred, %d of them untried", triedNow-triedThen, suspendedNow-suspendedThen)
	}
}

// TestTryNowByName: the others are left alone.
func TestTryNowByName(t *testing.T) {
	s := newSites(20, patience)
	for _, name := range []string{"one", "two", "up"} {
		s.learn(mail.Destination(name), name)
	}
	fail := func(name mail.Destination) {
		for range downAfter {
			p := s.enter(name, mail.Normal)
			p.seek()
			p.failed(&noConnection, begin)
			p.leave()
		}
	}
	fail("one")
	fail("two")
	if n := s.tryNow(begin, []string{"one", "up"}); n != 1 {
		t.Errorf("%d sites are tried, want 1", n)
	}
	for name, want := range map[mail.Destination]bool{"one": true, "two": false, "up": true} {
		p := s.enter(name, mail.Normal)
		if _, may := p.try(begin); may != want {
			t.Errorf("%s may be tried: %t", name, may)
		}
		p.leave()
	}
	if one, up := s.byName["one"], s.byName["up"]; one.room() != probeWindow || up.room() != unheardWindow {
		t.Errorf("room for %d at the one that is tried, %d at the one that is up", one.room(), up.room())
	}
}

// TestSuspendedSite: no mail for it is tried, whether it is known that it leads
// there or not, and none counts as an attempt; resumed, all goes.
func TestSuspendedSite(t *testing.T) {
	sink := mailtest.NewSink(t)
	other := mailtest.NewSink(t)
	h := newHarness(t, routes{"": to("site", sink.Addr()), "other.example": to("other", other.Addr())}, Options{})
	h.SuspendSite("site", true)
	h.start()
	ids := []mail.ID{
		h.submit("joe@sender.example", "a@one.example", "b@other.example"),
		h.submit("joe@sender.example", "a@one.example"), h.submit("joe@sender.example", "a@two.example"),
	}
	h.awaitFacts(ids[0], mail.ReasonDelivered, 1)
	await(t, "it is known where all leads", func() bool {
		return h.SiteOf("one.example") == "site" && h.SiteOf("two.example") == "site" && h.SiteOf("three.example") == ""
	})
	ids = append(ids, h.submit("joe@sender.example", "a@one.example"))
	h.advance(time.Hour)
	await(t, "all waits", func() bool {
		counts, all := h.Sites()
		return counts.Suspended == 1 && all[0].Suspended && all[0].Due == 4 && all[0].InHand == 0 && counts.Transactions.Bound == BoundSites
	})
	for _, id := range ids {
		e, err := h.store.Get(t.Context(), id)
		if err != nil || e.Deliveries[0].Attempts != 0 || e.Deliveries[0].Recipients[0].State != mail.Queued {
			t.Errorf("%+v, %v", e, err)
		}
	}
	h.SuspendSite("site", false)
	h.awaitFacts(ids[0], mail.ReasonDelivered, 2)
	for _, id := range ids[1:] {
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
	h.finish()
	if n := len(sink.Received()); n != 4 {
		t.Errorf("the site got %d messages, want 4", n)
	}
}

// TestSuspendedSiteIsRemembered: however many there are.
func TestSuspendedSiteIsRemembered(t *testing.T) {
	s := newSites(2, patience)
	s.suspend("site", true)
	s.sweep()
	if x := s.byName["site"]; x == nil || x.room() != 0 {
		t.Errorf("it is forgotten: %+v", x)
	}
	s.suspend("site", false)
	s.sweep()
	if s.byName["site"] != nil {
		t.Error("it is never forgotten")
	}
}

func TestFindSite(t *testing.T) {
	d := New(Options{Settings: Settings{Router: routes{"new.example": to("mx:new.example:25"), "": errors.New("nobody knows")}}})
	for _, name := range []string{"mx:one.example:25", "mx:one.example:25,two.example:25", "mx:other.example:25"} {
		d.sites.learn(mail.Destination(strings.TrimPrefix(name, "mx:")), name)
	}
	d.sites.learn("one.example", "mx:other.example:25")
	for text, want := range map[string]string{
		"mx:one.example:25": "mx:one.example:25", "ONE.example": "mx:other.example:25", "mx:ot": "mx:other.example:25",
		"new.example": "mx:new.example:25",
	} {
		if got, err := d.FindSite(t.Context(), text); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"mx:one":      `no such site: more than one begins with "mx:one": mx:one.example:25, mx:one.example:25,two.example:25`,
		"two.example": `no such site: none begins with "two.example", and it has no way as a destination: nobody knows`,
		"mx:two":      `no such site: none is known that begins with "mx:two"; name a destination that leads there, or a name of ` + "`postern site list`",
		"":            `no such site: none is known that begins with ""; name a destination that leads there, or a name of ` + "`postern site list`",
	} {
		if got, err := d.FindSite(t.Context(), text); !errors.Is(err, ErrNoSite) || err.Error() != want {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for i := range 2 * maxShown {
		d.sites.learn("d", fmt.Sprintf("many%d", i))
	}
	if _, err := d.FindSite(t.Context(), "many"); err == nil || !strings.HasSuffix(err.Error(), "many3, many4 and 5 more") {
		t.Errorf("got %v", err)
	}
}

// TestBoundOfTransactions: why mail that is due waits.
func TestBoundOfTransactions(t *testing.T) {
	full := Transactions{InHand: 8, Limit: 8, Most: 8}
	free := Transactions{InHand: 6, Limit: 8, Most: 8}
	for _, c := range []struct {
		name   string
		t      Transactions
		leased int
		do     func(s *sites)
		want   Bound
	}{
		{"nothing waits", full, 0, func(s *sites) { s.dismiss(s.waiters["d"]) }, ""},
		{"the start", Transactions{InHand: 5, Limit: 5, Most: 8}, 0, nil, BoundStart},
		{"slots", full, 0, nil, BoundSlots},
		{"leases", free, queue.ActiveWindow, nil, BoundLeases},
		{"sites", free, 0, func(s *sites) { s.suspend("site", true) }, BoundSites},
		{"slow sites", free, 0, func(s *sites) { s.others = 6 }, BoundSlow},
		{"quick ones may have the rest", free, 0, func(s *sites) { s.others = 6; s.byName["site"].took = 1; s.fix(s.byName["site"]) }, ""},
		{"its turn comes", free, 0, nil, ""},
	} {
		s := newSites(20, patience)
		s.learn("d", "site")
		s.wait("d", 0)
		if c.do != nil {
			c.do(s)
		}
		if got := s.bound(&c.t, c.leased); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
