package deliver

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

// record collects facts that go with no change of state.
type record struct {
	mu    sync.Mutex
	facts []mail.Fact
}

func (r *record) add(f mail.Fact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts = append(r.facts, f)
}

// texts are those of the facts with a reason.
func (r *record) texts(reason mail.Reason) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var texts []string
	for _, f := range r.facts {
		if f.Reason == reason {
			texts = append(texts, f.Text)
		}
	}
	return texts
}

// unresponsive is a server that takes connections and greets nobody, until the test
// ends.
func unresponsive(t *testing.T) *mailtest.Peer {
	return mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) { c.Stall() }})
}

// warmUp lets a message through, and the time after the start pass in which
// there are few transactions.
func (h *harness) warmUp(to string) {
	h.Helper()
	h.awaitFacts(h.submit("joe@sender.example", to), mail.ReasonDelivered, 1)
	h.advance(time.Minute)
}

// TestFullSiteHoldsNobodyUp: hundreds of destinations of a site that has all it
// can take, and that came first, do not keep mail from others.
func TestFullSiteHoldsNobodyUp(t *testing.T) {
	full, sink := unresponsive(t), mailtest.NewSink(t)
	ways := routes{"": to("full", full.Addr()), "free.example": to("free", sink.Addr())}
	h := newHarness(t, ways, Options{Settings: Settings{MaxPerSite: 2}, Grace: time.Millisecond})
	for i := range 5 * agendaSize {
		h.submit("joe@sender.example", fmt.Sprintf("a@full%d.example", i))
	}
	h.start()
	h.warmUp("a@free.example")
	await(t, "the site is full", func() bool { return full.Connections() == 2 })
	h.awaitFacts(h.submit("joe@sender.example", "a@free.example"), mail.ReasonDelivered, 1)
}

// TestSilentSitesLeaveRoom: more sites than there are slots take connections
// and say nothing; mail to a site that is known to answer gets through.
func TestSilentSitesLeaveRoom(t *testing.T) {
	const slots = 8
	dead, sink := unresponsive(t), mailtest.NewSink(t)
	ways := routes{"good.example": to("good", sink.Addr())}
	for i := range 3 * slots {
		ways[mail.Destination(fmt.Sprintf("dead%d.example", i))] = to(fmt.Sprint("dead", i), dead.Addr())
	}
	h := start(t, ways, Options{Settings: Settings{MaxTransactions: slots}, Grace: time.Millisecond})
	h.warmUp("a@good.example")
	for i := range 3 * slots {
		h.submit("joe@sender.example", fmt.Sprintf("a@dead%d.example", i))
	}
	await(t, "the dead have what they may", func() bool { return dead.Connections() == slots-slots/4 })
	for range 20 {
		h.awaitFacts(h.submit("joe@sender.example", "a@good.example"), mail.ReasonDelivered, 1)
	}
	if n := dead.Connections(); n != slots-slots/4 {
		t.Errorf("%d connections to the dead, want %d", n, slots-slots/4)
	}
}

// TestDeadSite: a site that cannot be reached is left alone, and its mail keeps
// its schedule; when it is back, one message finds out.
func TestDeadSite(t *testing.T) {
	var alive atomic.Bool
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		if alive.Load() {
			converse(c, func(string) string { return "" })
		} else {
			c.Send("421 4.3.2 closed today")
		}
	}})
	var facts record
	schedule, err := mail.ParseSchedule("1m, every 5m until 1h")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, routes{"": to("mx:dead.example:25", peer.Addr())}, Options{Settings: Settings{Retry: schedule}, Record: facts.add})
	var ids []mail.ID
	submit := func() {
		ids = append(ids, h.submit("joe@sender.example", fmt.Sprintf("a@d%d.example", len(ids))))
	}
	deferred := func(attempt int) (tried, suspended int) {
		for _, id := range ids {
			f := h.awaitFacts(id, mail.ReasonDeferred, attempt)[attempt-1]
			switch {
			case strings.HasPrefix(brief(f), "deferred") && f.Command == "greeting" && f.Reply.Code == 421:
				tried++
			case f.Reply.Text == errLeftAlone.Reply.Text && strings.Contains(f.Text, "421 4.3.2 closed today"):
				suspended++
			default:
				t.Fatalf("%s: %s", brief(f), f.Text)
			}
			if wait := []time.Duration{1, 5}[min(attempt, 2)-1] * time.Minute; !f.Next.Equal(h.clock.Now().Add(wait)) {
				t.Fatalf("attempt %d at %v, the next is at %v", attempt, h.clock.Now(), f.Next)
			}
		}
		return tried, suspended
	}
	for range 300 {
		submit()
	}
	if tried, suspended := deferred(1); tried < downAfter || tried > downAfter+unheardWindow || tried != peer.Connections() {
		t.Errorf("%d messages were tried, over %d connections, %d were not", tried, peer.Connections(), suspended)
	}
	want := "mx:dead.example:25: mx0.example [" + peer.Addr().String() + "]: greeting: 421 4.3.2 closed today"
	if got := facts.texts(mail.ReasonUnreachable); len(got) != 1 || got[0] != want {
		t.Errorf("facts: %q, want %q", got, want)
	}

	h.advance(time.Minute)
	if tried, _ := deferred(2); tried != 1 {
		t.Errorf("%d messages were tried after the first pause, want 1", tried)
	}
	alive.Store(true)
	h.advance(5 * time.Minute)
	delivered := func() (n int) {
		for _, id := range ids {
			for _, f := range h.facts(id) {
				if f.Reason == mail.ReasonDelivered {
					n++
				}
			}
		}
		return n
	}
	await(t, "all that was not answered at once meanwhile is delivered", func() bool { return delivered() > 0 })
	h.advance(5 * time.Minute)
	await(t, "all is delivered", func() bool { return delivered() == len(ids) })
	if got := facts.texts(mail.ReasonReached); len(got) != 1 || got[0] != "mx:dead.example:25" {
		t.Errorf("facts: %q", got)
	}
}

// TestStoppingIsNoFailure: connections that are given up because the server
// stops say nothing of the site.
func TestStoppingIsNoFailure(t *testing.T) {
	peer, sink := unresponsive(t), mailtest.NewSink(t)
	h := start(t, routes{"": to("site", peer.Addr()), "good.example": to("good", sink.Addr())}, Options{Grace: time.Millisecond})
	h.warmUp("a@good.example")
	for i := range firstWindow {
		h.submit("joe@sender.example", fmt.Sprintf("a@d%d.example", i))
	}
	await(t, "as many connect as may", func() bool { return peer.Connections() == unheardWindow })
	h.finish()
	if n := h.sites.byName["site"].failures; n > 0 {
		t.Errorf("%d failures", n)
	}
}

// TestClockIsSet: mail is tried again after its wait, and expires at its age,
// whatever the clock does meanwhile.
func TestClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		var facts record
		schedule, err := mail.ParseSchedule("10m, every 20m until 1h")
		if err != nil {
			t.Fatal(err)
		}
		h := start(t, routes{"": to("site", refused)}, Options{Settings: Settings{Retry: schedule}, Record: facts.add})
		id := h.submit("joe@sender.example", "a@one.example")
		h.awaitFacts(id, mail.ReasonDeferred, 1)
		h.step(by)
		await(t, "the step is told", func() bool { return len(facts.texts(mail.ReasonStepped)) == 1 })
		for attempt, wait := range []time.Duration{10, 20, 20} {
			h.advance(wait*time.Minute - time.Second)
			other := h.submit("joe@sender.example", "a@other.example") // when it was tried, so was all that was due
			h.awaitFacts(other, mail.ReasonDeferred, 1)
			h.awaitFacts(id, mail.ReasonDeferred, attempt+1)
			if _, err := h.store.Edit(t.Context(), queue.Filter{IDs: []mail.ID{other}}, queue.Change{Kind: queue.ChangeRemove}, "test"); err != nil {
				t.Fatal(err)
			}
			h.advance(time.Second)
			h.awaitFacts(id, mail.ReasonDeferred, attempt+2)
		}
		h.advance(10 * time.Minute)
		h.awaitFacts(id, mail.ReasonExpired, 1)
		h.finish()
	}
}

// TestToday: what the age of a message is after the clock was set.
func TestToday(t *testing.T) {
	var s steps
	hour := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Hour) }
	s.add(step{hour(12), 10 * time.Hour}) // from 2 to 12
	s.add(step{hour(8), -6 * time.Hour})  // from 14 to 8
	for _, c := range []struct{ noted, now, today int }{
		{0, 20, 4},   // two hours before the first, six hours before the second
		{2, 20, 6},   // just before the first
		{12, 20, 12}, // may be of before the second, or later: taken for later
		{12, 11, 6},  // cannot be of later
		{15, 20, 15},
	} {
		if got := s.today(hour(c.noted), hour(c.now)); !got.Equal(hour(c.today)) {
			t.Errorf("noted at %d, now at %d: today at %v, want %d", c.noted, c.now, got.Sub(begin), c.today)
		}
	}
	for range 3 * maxSteps {
		s.add(step{hour(100), time.Hour})
	}
	if len(s.list) != maxSteps || len(s.take()) != maxSteps || len(s.take()) != 0 {
		t.Errorf("%d steps are remembered", len(s.list))
	}
}

// TestAvoidedAddress: of two servers, the one that could not be reached is
// tried last for a while, and first again afterwards.
func TestAvoidedAddress(t *testing.T) {
	broken := mailtest.NewPeer(t, "S: 421 4.3.2 closed\nCLOSED")
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", broken.Addr(), sink.Addr())}, Options{Settings: Settings{IdleTimeout: time.Nanosecond}})
	send := func(connections int) {
		t.Helper()
		h.awaitFacts(h.submit("joe@sender.example", "a@one.example"), mail.ReasonDelivered, 1)
		if n := broken.Connections(); n != connections {
			t.Errorf("%d connections to the broken one, want %d", n, connections)
		}
	}
	send(1)
	send(1)
	h.advance(avoidance - time.Second)
	send(1)
	h.advance(time.Second)
	send(2)
	h.advance(-24 * time.Hour)
	send(3) // it was not so long ago as the clock says
}
