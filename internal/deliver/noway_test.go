package deliver

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/route"
)

// partly is a router to a site whose server is of no use for one destination.
type partly struct {
	way route.Route
	no  mail.Destination
}

func (p partly) Route(_ context.Context, q route.Question) (route.Route, error) {
	if q.Destination == p.no {
		return route.Route{Name: p.way.Name, Site: p.way.Site}, mail.Refuse(451, "4.4.1", "No target can be used for it")
	}
	return p.way, nil
}

// TestNoWayBesideOthers: mail for which no server of a pool can be used is not tried again
// with each other message that gets through there: it waits for its time, or for a server.
func TestNoWayBesideOthers(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, partly{to("pool", sink.Addr()), "stuck.example"}, Options{})
	h.advance(time.Hour)
	stuck := h.submit("joe@sender.example", "a@stuck.example")
	h.awaitFacts(stuck, mail.ReasonDeferred, 1)
	await(t, "it is noted", func() bool { h.sites.mu.Lock(); defer h.sites.mu.Unlock(); return h.sites.passed == 1 })
	for i := range 5 {
		h.awaitFacts(h.submit("joe@sender.example", fmt.Sprintf("a%d@x.example", i)), mail.ReasonDelivered, 1)
	}
	h.finish()
	tried := 0
	for _, f := range h.facts(stuck) {
		if f.Reason == mail.ReasonDeferred {
			tried++
		}
	}
	if tried != 1 {
		t.Errorf("it was tried %d times", tried)
	}
}

// TestPassedBehindNoWay: what others getting through brings back comes also from behind what
// only a server does, and each in its order.
func TestPassedBehindNoWay(t *testing.T) {
	s := newSites(20, patience)
	x := s.get("site")
	for i, recoveries := range []int{1, 0, 1, 0} {
		s.passOver(x, []queue.Lease{{Entry: queue.Entry{ID: mail.ID(fmt.Sprint(i)), Deliveries: []queue.Delivery{{Destination: "d"}}}}}, recoveries)
	}
	taken := func() (order string) {
		for d, found := s.takePassed(x); found; d, found = s.takePassed(x) {
			order += string(d.entry)
		}
		return order
	}
	if got := taken(); got != "13" || s.passed != 2 {
		t.Errorf("%s, and %d are left", got, s.passed)
	}
	for range 5 {
		s.recover("another")
	}
	if got := taken(); got != "" {
		t.Errorf("%s come back because another site has a server", got)
	}
	s.recover("site")
	if got := taken(); got != "02" || s.passed != 0 {
		t.Errorf("%s, and %d are left", got, s.passed)
	}
}

// TestNotAllWereTried: that servers lack what a message demands is final only if all were
// tried, and not as many as one attempt tries.
func TestNotAllWereTried(t *testing.T) {
	clear := mailtest.NewSink(t)
	way := to("site", clear.Addr())
	for range maxAddresses {
		way.Hops = append(way.Hops, way.Hops[0])
	}
	h := start(t, routes{"": way, "sender.example": to("nowhere")}, Options{})
	id := h.submitWith("joe@sender.example", requiringTLS, "a@x.example")
	if f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]; f.Reply.Permanent() {
		t.Errorf("%s", brief(f))
	}
}

// facet is a target for messages with one demand: one server has several.
type facet struct {
	*pooled
	demand string
}

// TestPlaceOfAnotherDemand: a connection that is idle at a server gives its place to a message
// that demands what the connection is not good for, or there would be none as long as others use it.
func TestPlaceOfAnotherDemand(t *testing.T) {
	sink := mailtest.NewSink(t)
	server := &pooled{room: 1}
	way := func(demand string) route.Route {
		r := pool([]*pooled{server}, sink.Addr())
		r.Hops[0].Target, r.Connections = facet{server, demand}, 10
		return r
	}
	h := start(t, routes{"plain.example": way("plain"), "secure.example": way("secure")}, Options{Settings: Settings{IdleTimeout: time.Hour}})
	for _, domain := range []string{"plain", "secure", "plain"} {
		h.awaitFacts(h.submit("joe@sender.example", "a@"+domain+".example"), mail.ReasonDelivered, 1)
	}
	h.finish()
	if server.most != 1 || server.used != 0 || server.broken != 0 || server.connected != 3 {
		t.Errorf("%d at once, %d in use, %d too often, %d connected", server.most, server.used, server.broken, server.connected)
	}
}

// TestPoolOfSeveralComesBack: mail that goes by a pool and by what comes behind it is told
// likewise that the pool has a server again.
func TestPoolOfSeveralComesBack(t *testing.T) {
	var well atomic.Bool
	hub, sink := &pooled{room: 5}, mailtest.NewSink(t)
	h := start(t, routerFunc(func() (route.Route, error) {
		r := pool([]*pooled{hub}, refused)
		if well.Load() {
			r = pool([]*pooled{hub}, sink.Addr())
		}
		r.Site = "hubs:pool+smart:relay.example:25"
		return r, nil
	}), Options{})
	id := h.submit("joe@sender.example", "a@x.example")
	h.awaitFacts(id, mail.ReasonDeferred, 1)
	await(t, "it is noted", func() bool { h.sites.mu.Lock(); defer h.sites.mu.Unlock(); return h.sites.passed == 1 })
	well.Store(true)
	h.Recovered("hubs:pool")
	h.awaitFacts(id, mail.ReasonDelivered, 1)
}

// TestPartial: what servers lack is not final while there are others that cannot be asked.
func TestPartial(t *testing.T) {
	clear := mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: []string{"SIZE 10"}})
	some := func(r route.Route) route.Route { r.Partial = true; return r }
	h := start(t, routes{
		"all.example":  to("all", clear.Addr()),
		"some.example": some(to("some", clear.Addr())),
		"mx.example":   some(fromMX(to("mx", clear.Addr()))),
	}, Options{})
	for _, change := range []func(*queue.Entry){nil, requiringTLS} {
		for domain, want := range map[string]mail.Reason{"all": mail.ReasonDead, "some": mail.ReasonDeferred, "mx": mail.ReasonDeferred} {
			id := h.submitWith("", func(e *queue.Entry) {
				if change != nil {
					change(e)
					e.Envelope.From = mail.Address{Local: "joe", Domain: "sender.example"}
				}
			}, "a@"+domain+".example")
			if change != nil && want == mail.ReasonDead {
				want = mail.ReasonBounced
			}
			h.awaitFacts(id, want, 1)
		}
	}
	if counts, _ := h.Sites(); counts.Down != 0 {
		t.Error("a site is left alone for it")
	}
}

// blamed is a target that counts for how many messages it was told that it broke off.
type blamed struct {
	*pooled
	breaks *atomic.Int32
}

func (b blamed) Settled(outcomes []mail.Outcome) {
	b.pooled.Settled(outcomes)
	for i := range outcomes {
		if outcomes[i].Reply.Enhanced == "4.4.2" {
			b.breaks.Add(1)
		}
	}
}

// TestBrokenMessage: a message over which every server of a pool breaks off makes no more
// than one of them unusable for the others.
func TestBrokenMessage(t *testing.T) {
	var breaks atomic.Int32
	r := to("pool")
	var targets []*pooled
	for range 3 {
		target := &pooled{room: 5}
		targets = append(targets, target)
		hop := to("pool", upTo(t, (*mailtest.PeerConn).Drop).Addr()).Hops[0]
		hop.Target = blamed{target, &breaks}
		r.Hops = append(r.Hops, hop)
	}
	h := start(t, routes{"": r}, Options{})
	f := h.awaitFacts(h.submit("joe@sender.example", "a@x.example"), mail.ReasonDeferred, 1)[0]
	h.finish()
	for i, p := range targets {
		if p.outcomes[mail.Deferred] != 1 || p.used != 0 {
			t.Errorf("target %d was told of %v, %d in use", i, p.outcomes, p.used)
		}
	}
	if n := breaks.Load(); n != 1 || f.Reply.Enhanced != "4.4.2" {
		t.Errorf("%d are blamed; %s", n, brief(f))
	}
}

// TestRateIsOfWhatIsSent: a message that found no room at the targets has not used up what the
// rate of its transport lets go.
func TestRateIsOfWhatIsSent(t *testing.T) {
	sink := mailtest.NewSink(t)
	full := &pooled{}
	o := withTransport(Transport{IdleTimeout: patience, Rate: limit.Rate{Max: 2, Per: time.Hour}})
	h := start(t, routes{"": by("t", pool([]*pooled{full}, sink.Addr()))}, o)
	h.advance(2 * time.Hour)
	ids := []mail.ID{h.submit("joe@sender.example", "a@x.example"), h.submit("joe@sender.example", "b@x.example")}
	for tried := int32(1); tried < 5; tried++ {
		await(t, "no room is found", func() bool { return full.refusals.Load() >= tried && h.active.Load() == 0 })
		h.advance(roomWait)
	}
	full.mu.Lock()
	full.room = 5
	full.mu.Unlock()
	h.advance(roomWait)
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
	third := h.submit("joe@sender.example", "c@x.example")
	await(t, "the third waits for its turn", func() bool {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		return h.sites.byName["pool"].isBlocked() && h.active.Load() == 0
	})
	h.wantStates(third, "c@x.example queued 0")
}

// TestNoWayForGoodOutOfTime: what is final is so also where the time for it is over, or the message would be asked of
// for ever; what is not is asked again.
func TestNoWayForGoodOutOfTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		why  error
		lost int
	}{
		"for good": {mail.Refuse(550, "5.6.3", "No such charset"), 1},
		"for now":  {mail.Refuse(451, "4.4.3", "No answer from DNS"), 0},
		"unknown":  {ctx.Err(), 0},
	} {
		h := newHarness(t, routes{"": c.why}, Options{})
		h.submit("me@sender.example", "a@joe.example")
		leases, err := h.store.Claim(t.Context(), "joe.example", 1, begin, begin.Add(lease))
		if err != nil || len(leases) != 1 {
			t.Fatal(leases, err)
		}
		if got := h.route(ctx, h.settings.Load(), leases, nil); len(got.lost) != c.lost || len(got.elsewhere) != 1-c.lost {
			t.Errorf("%s: %d are lost, %d are released", name, len(got.lost), len(got.elsewhere))
		}
	}
}
