package deliver

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
)

// crowded is a server that greets no more than some connections at a time, as
// many do for one client, and takes what these bring.
func crowded(t *testing.T, most int32) *mailtest.Peer {
	var open atomic.Int32
	return mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		defer open.Add(-1)
		if open.Add(1) > most {
			c.Send("421 4.7.0 Too many concurrent connections")
			return
		}
		converse(c, func(string) string { return "" })
	}})
}

// TestCrowdedIsNotDown: a server that refuses connections beyond a number, and
// takes mail over the others, is reached.
func TestCrowdedIsNotDown(t *testing.T) {
	peer := crowded(t, 2)
	var facts record
	schedule, err := mail.ParseSchedule("1m, every 1m until 5d")
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{Retry: schedule}, Record: facts.add})
	h.Deliverer.sites.learn("one.example", "site")
	var ids []mail.ID
	for range 60 {
		ids = append(ids, h.submit("joe@sender.example", "a@one.example"))
	}
	h.start()
	h.advance(time.Minute)
	delivered := func() (n int) {
		h.advance(time.Second)
		all, err := h.store.NextFacts(t.Context(), 0, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.Reason == mail.ReasonDelivered {
				n++
			}
		}
		return n
	}
	await(t, "all is delivered", func() bool { return delivered() == len(ids) })
	if got := facts.texts(mail.ReasonUnreachable); len(got) > 0 {
		t.Errorf("it is taken for one that cannot be reached: %q", got)
	}
}

// gated is a router that answers for one.example when the gate opens.
type gated struct {
	Router
	gate chan struct{}
}

func (g gated) Route(ctx context.Context, q route.Question) (route.Route, error) {
	if q.Destination == "one.example" {
		<-g.gate
	}
	return g.Router.Route(ctx, q)
}

// TestMayGoOnAtOnce: when an attempt has found out where a destination leads,
// the other mail for it need not wait for its end.
func TestMayGoOnAtOnce(t *testing.T) {
	peer, sink := unresponsive(t), mailtest.NewSink(t)
	gate := make(chan struct{})
	ways := routes{"": to("site", peer.Addr()), "good.example": to("good", sink.Addr())}
	h := start(t, gated{ways, gate}, Options{Grace: time.Millisecond})
	h.warmUp("a@good.example")
	for i := range 5 {
		h.submit("joe@sender.example", fmt.Sprintf("a%d@one.example", i))
	}
	await(t, "the scheduler has seen all", func() bool {
		return int(h.active.Load()) == 1 && len(h.store.Wake()) == 0 && len(h.Deliverer.wake) == 0
	})
	close(gate)
	await(t, "all connect", func() bool { return peer.Connections() == unheardWindow })
}

// TestLaneIsNotSite: a server that is reached, but not as one lane demands it,
// does not count as down together with another that is.
func TestLaneIsNotSite(t *testing.T) {
	sink := mailtest.NewSink(t)
	way := func() route.Route { return to("site", sink.Addr(), refused) }
	var facts record
	h := start(t, routes{"": way(), "strict.example": withTLS(way(), "required")}, Options{Record: facts.add})
	for i := range 2 * downAfter {
		h.awaitFacts(h.submit("joe@sender.example", fmt.Sprintf("a%d@strict.example", i)), mail.ReasonDeferred, 1)
	}
	h.awaitFacts(h.submit("joe@sender.example", "a@other.example"), mail.ReasonDelivered, 1)
	if got := facts.texts(mail.ReasonUnreachable); len(got) > 0 {
		t.Errorf("facts: %q", got)
	}
}

// TestBackWithoutTLS: a site that was down is back when a server takes a
// connection, though not as a lane demands it.
func TestBackWithoutTLS(t *testing.T) {
	var alive atomic.Bool
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		if alive.Load() {
			c.Play(hello + "CLOSED")
		} else {
			c.Send("421 4.3.2 closed today")
		}
	}})
	var facts record
	schedule, err := mail.ParseSchedule("every 1h until 5d")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, routes{"": withTLS(to("site", peer.Addr()), "required")}, Options{Settings: Settings{Retry: schedule}, Record: facts.add})
	h.advance(time.Minute)
	deferred := func() mail.Fact {
		return h.awaitFacts(h.submit("joe@sender.example", "a@one.example"), mail.ReasonDeferred, 1)[0]
	}
	for range downAfter {
		deferred()
	}
	if f := deferred(); f.Reply.Text != errLeftAlone.Reply.Text {
		t.Fatalf("not down: %s", brief(f))
	}
	alive.Store(true)
	h.clock.Advance(firstPause)
	if f := deferred(); f.Command != "STARTTLS" || len(facts.texts(mail.ReasonReached)) != 1 {
		t.Errorf("%s; facts: %q", brief(f), facts.texts(mail.ReasonReached))
	}
}

// TestPartsFailOnce: a transaction that goes in parts finds out once that the
// site cannot be reached.
func TestPartsFailOnce(t *testing.T) {
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) { c.Send("421 4.3.2 closed today") }})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{MaxRecipients: 1}})
	var recipients []string
	for i := range 2 * downAfter {
		recipients = append(recipients, fmt.Sprintf("a%d@one.example", i))
	}
	f := h.awaitFacts(h.submit("joe@sender.example", recipients...), mail.ReasonDeferred, 1)[0]
	if len(f.To) != len(recipients) || peer.Connections() != 1 {
		t.Errorf("%d recipients deferred together, after %d connections", len(f.To), peer.Connections())
	}
}

// TestActiveWindow: while the store gives out no more leases, destinations keep
// their places, and are not asked for in vain at each turn.
func TestActiveWindow(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", sink.Addr())}, Options{})
	h.warmUp("a@good.example")
	await(t, "nothing is in hand", func() bool { return int(h.active.Load()) == 0 && len(h.Deliverer.wake) == 0 })
	h.store.full.Store(true)
	before := h.store.claimed.Load()
	var ids []mail.ID
	for i := range 50 {
		ids = append(ids, h.submit("joe@sender.example", fmt.Sprintf("a@e%d.example", i)))
	}
	await(t, "they wait", func() bool { return h.Deliverer.sites.waits() })
	h.advance(0)
	await(t, "the scheduler has looked", func() bool { return len(h.store.Wake()) == 0 && len(h.Deliverer.wake) == 0 })
	if n := h.store.claimed.Load() - before; n > 0 {
		t.Errorf("%d claims in vain", n)
	}
	h.store.full.Store(false)
	h.free()
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
}
