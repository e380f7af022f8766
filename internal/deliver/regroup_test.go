package deliver

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/metrics"
	"postern/internal/queue"
)

// always chooses one route for everybody.
func always(key mail.RouteKey) chooser {
	return choosing(func(mail.Routing) mail.RouteKey { return key })
}

// chooser is what the settings ask.
type chooser func(mail.Routing, mail.Destination) mail.Destination

// choosing chooses routes for all that nobody has pinned.
func choosing(key func(mail.Routing) mail.RouteKey) chooser {
	return func(r mail.Routing, at mail.Destination) mail.Destination {
		if at.Chosen(r.To) {
			return at
		}
		return at.Via(key(r).ByRoutes())
	}
}

// settingsFor are those of a harness, with other routes.
func (h *harness) choose(choose chooser) {
	s := *h.settings.Load()
	s.Choose = choose
	h.Change(s)
}

// TestReloadMovesWaitingMail: a thousand messages that wait for their next attempt, at a
// site that refuses them, go to the site of the new routes when their time has come,
// and none of that counts as an attempt.
func TestReloadMovesWaitingMail(t *testing.T) {
	const messages = 1000
	refuses := answering(t, refusing(map[string]string{"a": "451 4.3.0 not now"}))
	sink := mailtest.NewSink(t)
	h := start(t, routes{"x.example/~old": to("old", refuses.Addr()), "x.example/~new": to("new", sink.Addr())},
		Options{Settings: Settings{Choose: always("old")}})
	h.advance(time.Hour) // the start is over
	var ids []mail.ID
	for range messages {
		ids = append(ids, h.submit("joe@sender.example", "a@x.example"))
	}
	await(t, "all are deferred", func() bool {
		n, err := h.store.Count(t.Context(), queue.Filter{States: []mail.State{mail.Deferred}})
		return err == nil && n[mail.Deferred] == messages
	})
	h.choose(always("new"))
	h.advance(time.Hour)
	await(t, "all are delivered", func() bool { return h.store.Entries() == 0 })
	if n := len(sink.Received()); n != messages {
		t.Errorf("%d messages came, want %d", n, messages)
	}
	want := []string{
		"routed 1 ", "attempted 1 ", "deferred 1 a@x.example: RCPT: 451 4.3.0 not now",
		"routed 2 ", "attempted 2 ", "delivered 2 a@x.example: end of data: 250 2.0.0 Ok",
	}
	facts := h.facts(ids[messages/2])
	got := briefs(facts)
	for i := range got {
		if strings.HasPrefix(got[i], "delivered") {
			got[i] = want[5] // the words are the sink's
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if facts[0].Text != "old" || facts[3].Text != "new" {
		t.Errorf("the sites were %q and %q", facts[0].Text, facts[3].Text)
	}
}

// TestRegroupSplits: of one delivery some recipients go elsewhere, others stay, and what
// is pinned is not asked about.
func TestRegroupSplits(t *testing.T) {
	sinks := map[mail.Destination]*mailtest.Sink{}
	ways := routes{}
	for _, d := range []mail.Destination{"x.example", "x.example/~b", "x.example/~c", "x.example/pinned"} {
		sinks[d] = mailtest.NewSink(t)
		ways[d] = to("site of "+string(d), sinks[d].Addr())
	}
	counted := metrics.NewSet()
	h := start(t, ways, Options{Metrics: NewMetrics(counted), Settings: Settings{Choose: choosing(func(q mail.Routing) mail.RouteKey {
		if q.To.Local == "a" {
			return ""
		}
		return mail.RouteKey(q.To.Local)
	})}})
	id := h.submitWith("joe@sender.example", func(e *queue.Entry) {
		last := len(e.Deliveries[0].Recipients) - 1
		pinned := e.Deliveries[0].Recipients[last]
		e.Deliveries[0].Recipients = e.Deliveries[0].Recipients[:last]
		e.Deliveries = append(e.Deliveries, queue.Delivery{Destination: "x.example/pinned", Next: begin, Recipients: []queue.Recipient{pinned}})
	}, "a@x.example", "b@x.example", "c@x.example", "pinned@x.example")
	h.awaitFacts(id, mail.ReasonDelivered, 4)
	for d, local := range map[mail.Destination]string{"x.example": "a", "x.example/~b": "b", "x.example/~c": "c", "x.example/pinned": "pinned"} {
		got := sinks[d].Received()
		if len(got) != 1 || !slices.Equal(got[0].To(), []string{local + "@x.example"}) {
			t.Errorf("at %s came %v", d, got)
		}
	}
	for _, f := range h.facts(id) {
		if f.Attempt > 1 {
			t.Errorf("%s: moving counted as an attempt", brief(f))
		}
	}
	const name = "postern_delivery_unattempted_total"
	at := slices.IndexFunc(counted.Descriptions(), func(d metrics.Description) bool { return d.Name == name })
	want := "# HELP " + name + " " + counted.Descriptions()[at].Help + "\n# TYPE " + name + " counter\n"
	for _, line := range []string{`{why="rate"} 0`, `{why="room"} 0`, `{why="route"} 1`} {
		want += name + line + "\n"
	}
	if err := testutil.GatherAndCompare(counted.Gatherer(), strings.NewReader(want), name); err != nil {
		t.Error(err)
	}
}

// TestFlippingRoutes: routes that give another answer each time do not keep a message
// from being attempted, and are not asked without end.
func TestFlippingRoutes(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"a": "451 4.3.0 not now"}))
	var asked atomic.Int32
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{Choose: choosing(func(mail.Routing) mail.RouteKey {
		return mail.RouteKey(fmt.Sprintf("r%d", asked.Add(1)))
	})}})
	h.advance(time.Second) // the clock goes on
	id := h.submit("joe@sender.example", "a@x.example")
	for attempt := 1; attempt <= 3; attempt++ {
		h.awaitFacts(id, mail.ReasonDeferred, attempt)
		if n := int(asked.Load()); n != attempt {
			t.Fatalf("asked %d times before attempt %d, want one each", n, attempt)
		}
		h.advance(24 * time.Hour)
	}
}

// TestGoneTransport: what the routes chose and is no more is chosen anew, before
// anybody asks for the way there.
func TestGoneTransport(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, routes{"x.example": to("site", sink.Addr()), "": mail.Refuse(451, "4.3.5", "no such transport")},
		Options{Settings: Settings{Choose: always("")}})
	id := h.submitWith("joe@sender.example", func(e *queue.Entry) { e.Deliveries[0].Destination = "x.example/~gone" }, "a@x.example")
	h.awaitFacts(id, mail.ReasonDelivered, 1)
	h.wantFacts(id, "routed 1 ", "attempted 1 ", brief(h.awaitFacts(id, mail.ReasonDelivered, 1)[0]))
}

// TestReloadLeavesSuspendedSite: mail that waits because an operator suspended its site
// goes another way as soon as the routes have one.
func TestReloadLeavesSuspendedSite(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := newHarness(t, routes{"x.example/~old": to("old", refused), "x.example/~new": to("new", sink.Addr())},
		Options{Settings: Settings{Choose: always("old")}})
	h.SuspendSite("old", true)
	h.start()
	id := h.submit("joe@sender.example", "a@x.example")
	await(t, "it waits at the site", func() bool { return h.SiteOf("x.example/~old") == "old" && h.active.Load() == 0 })
	h.clock.Advance(time.Second)
	h.choose(always("new"))
	h.awaitFacts(id, mail.ReasonDelivered, 1)
}

// TestChangeIsFollowedAtOnce: a choice that moved a recipient stands for a minute, but not when what
// the routes ask has changed since, such as a map: then the next attempt goes where they say now.
func TestChangeIsFollowedAtOnce(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"a": "451 4.3.0 not now"}))
	var key atomic.Value
	var changes atomic.Uint64
	become := func(k mail.RouteKey, counted uint64) {
		key.Store(k)
		changes.Add(counted)
	}
	become("first", 0)
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{
		ChoiceChanges: changes.Load,
		Choose:        choosing(func(mail.Routing) mail.RouteKey { return key.Load().(mail.RouteKey) }),
	}})
	h.advance(time.Second) // the clock goes on
	id := h.submit("joe@sender.example", "a@x.example")
	for i, step := range []struct {
		key     mail.RouteKey
		counted uint64
		want    mail.Destination
	}{
		{"first", 0, "x.example/~first"},
		{"second", 1, "x.example/~second"},
		{"third", 0, "x.example/~second"}, // the guard against routes that change their mind
		{"fourth", 1, "x.example/~fourth"},
	} {
		if i > 0 {
			become(step.key, step.counted)
			h.advance(time.Second)
			h.retryAll()
		}
		h.awaitFacts(id, mail.ReasonDeferred, i+1)
		if got := h.wantOnly(id)[0].Deliveries[0].Destination; got != step.want {
			t.Fatalf("attempt %d was to %s, want %s", i+1, got, step.want)
		}
	}
}

// TestChangeReachesSuspendedSite: mail that waits because an operator suspended its site goes
// another way as soon as a map has one, and is looked at only when something has changed.
func TestChangeReachesSuspendedSite(t *testing.T) {
	sink := mailtest.NewSink(t)
	var changes atomic.Uint64
	h := newHarness(t, routes{"x.example/~old": to("old", refused), "x.example/~new": to("new", sink.Addr())}, Options{Settings: Settings{
		ChoiceChanges: changes.Load,
		Choose: choosing(func(mail.Routing) mail.RouteKey {
			if changes.Load() > 0 {
				return "new"
			}
			return "old"
		}),
	}})
	h.SuspendSite("old", true)
	h.start()
	id := h.submit("joe@sender.example", "a@x.example")
	await(t, "it waits at the site", func() bool { return h.SiteOf("x.example/~old") == "old" && h.active.Load() == 0 })
	h.clock.Advance(time.Second)
	h.RoutesLooked()
	h.RoutesLooked()
	if site := h.SiteOf("x.example/~old"); site != "old" {
		t.Errorf("without a change it has left the site, for %q", site)
	}
	changes.Add(1)
	h.RoutesLooked()
	h.awaitFacts(id, mail.ReasonDelivered, 1)
}
