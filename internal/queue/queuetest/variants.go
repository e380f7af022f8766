package queuetest

import (
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// variantTests are about what policy makes of one message: several entries with
// contents of their own or shared ones, some of them held or for later.
var variantTests = []test{
	{"variants of a message are stored in one group", variantsWhole},
	{"variants are all or nothing", variantsAllOrNothing},
	{"variants whose commit fails", variantsUnknown},
	{"what policy said of a hold goes with it", holdText},
	{"routes of one domain are destinations", routesApart},
	{"edit: a route that policy chose stays with another address", editKeepsRoute},
	{"filters by tag and route", filterPolicy},
}

// sizes of the contents of variants: on both sides of every threshold.
var variantSizes = []int{500, 700_000, 1_200_000, 20_000}

// variants makes a group of one message: an entry of each size, and two more
// that share the contents of others; one is held, and one is for later.
func (w *world) variants() (queue.Group, []queue.Entry) {
	w.Helper()
	var g queue.Group
	var entries []queue.Entry
	for i, size := range variantSizes {
		e := w.entry(string(rune('a'+i)) + "@one.example")
		g.Submissions = append(g.Submissions, queue.Submission{Entry: e, Draft: w.draft(largeContent(size))})
		e.Body, e.Size = e.ID, int64(size)
		entries = append(entries, e)
	}
	waits, later := held(w.entry("held@two.example"), mail.HoldQuarantine), w.entry("later@three.example")
	waits.Deliveries[0].Recipients[0].Why = "it is too large"
	later.Deliveries[0].Next = w.in(time.Hour)
	for i, e := range []queue.Entry{waits, later} {
		e.Body, e.Size, e.Tags = entries[i+1].ID, entries[i+1].Size, []string{"policy"}
		g.Submissions = append(g.Submissions, queue.Submission{Entry: e})
		entries = append(entries, e)
	}
	for i := range entries {
		entries[i].Message = entries[0].ID
		g.Submissions[i].Entry.Message = entries[0].ID
		g.Facts = append(g.Facts, w.fact(mail.ReasonAccepted, entries[i].ID))
	}
	return g, entries
}

func (w *world) checkVariants(entries []queue.Entry) {
	w.Helper()
	for i, e := range entries {
		w.same("entry", w.get(e.ID), e)
		if i < len(variantSizes) {
			w.sameBytes("content", w.content(e.ID), largeContent(variantSizes[i]))
		}
	}
	w.same("facts", len(w.facts()), len(entries))
}

func variantsWhole(w *world) {
	g, entries := w.variants()
	w.ok(w.Store.Accept(w.ctx, g))
	w.checkVariants(entries)
	w.same("due", w.dueNames(), []mail.Destination{"one.example"})
	w.reopen()
	w.checkVariants(entries)
	leases := w.claim("one.example", 10)
	w.same("claimed", len(leases), len(variantSizes))
	for _, l := range leases {
		w.settle(l, mail.Delivered)
	}
	// The contents that nobody else uses are gone, those that are shared stay.
	for i, size := range variantSizes {
		body, err := w.Store.Body(w.ctx, entries[i].ID)
		if shared := i == 1 || i == 2; !shared {
			w.fails(err, queue.ErrNotFound)
			continue
		}
		w.ok(err)
		w.same("size of a shared content", body.Size(), int64(size))
		w.ok(body.Close())
	}
	w.clock.Advance(time.Hour)
	w.same("due later", w.dueNames(), []mail.Destination{"three.example"})
}

// variantsAllOrNothing: when the last submission cannot be stored nothing is,
// and every draft can be used again, however large it is.
func variantsAllOrNothing(w *world) {
	g, entries := w.variants()
	bad := g
	lost := w.entry("x@one.example")
	lost.Body = w.ids.New(w.now())
	bad.Submissions = append(append([]queue.Submission{}, g.Submissions...), queue.Submission{Entry: lost})
	for range 2 {
		w.fails(w.Store.Accept(w.ctx, bad), queue.ErrNotFound)
		for _, e := range entries {
			w.gone(e.ID)
		}
		w.same("facts", len(w.facts()), 0)
	}
	w.ok(w.Store.Accept(w.ctx, g))
	w.checkVariants(entries)
	w.reopen()
	w.checkVariants(entries)
}

func variantsUnknown(w *world) {
	g, entries := w.variants()
	w.failCommit(1)
	w.fails(w.Store.Accept(w.ctx, g), queue.ErrUnknown)
	w.reopen()
	if len(w.states(entries[0].ID)) > 0 {
		w.checkVariants(entries)
		return
	}
	for _, e := range entries {
		w.gone(e.ID)
	}
	for i := range variantSizes {
		_, err := w.Store.Body(w.ctx, entries[i].ID)
		w.fails(err, queue.ErrNotFound)
	}
	w.same("facts", len(w.facts()), 0)
}

func holdText(w *world) {
	e := held(w.entry("a@one.example", "b@one.example"), mail.HoldPolicy)
	for i := range e.Deliveries[0].Recipients {
		e.Deliveries[0].Recipients[i].Why = "not today"
	}
	w.accept(e)
	w.reopen()
	w.edit(queue.Filter{Recipient: "a@one.example"}, queue.Change{Kind: queue.ChangeRelease})
	why := func() map[string]string {
		all := make(map[string]string)
		for _, r := range w.get(e.ID).Deliveries[0].Recipients {
			all[r.Address.String()] = string(r.State) + " " + r.Why
		}
		return all
	}
	w.same("after the release", why(), map[string]string{"a@one.example": "queued ", "b@one.example": "held not today"})
	w.edit(queue.Filter{Recipient: "a@one.example"}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator})
	w.same("after another hold", why()["a@one.example"], "held ")
}

// routed makes an entry whose recipients go by routes.
func (w *world) routed(by map[string]mail.RouteKey, to ...string) queue.Entry {
	w.Helper()
	e := w.entry(to...)
	var all []queue.Recipient
	for _, d := range e.Deliveries {
		all = append(all, d.Recipients...)
	}
	e.Deliveries = queue.DeliveriesBy(all, w.now(), func(i int) mail.Destination {
		return all[i].Address.Destination().Via(by[all[i].Address.String()])
	})
	return e
}

func routesApart(w *world) {
	e := w.routed(map[string]mail.RouteKey{"b@one.example": "r.example:25", "c@one.example": "r.example:25", "d@one.example": "s.example:587"},
		"a@one.example", "b@one.example", "c@one.example", "d@one.example")
	w.accept(e)
	w.reopen()
	w.same("due", w.dueNames(), []mail.Destination{"one.example", "one.example/r.example:25", "one.example/s.example:587"})
	w.suspend("one.example/r.example:25", "down")
	w.same("due with one route suspended", w.dueNames(), []mail.Destination{"one.example", "one.example/s.example:587"})
	w.suspend("one.example/r.example:25", "")
	leases := w.claim("one.example/r.example:25", 1) // with its siblings
	w.same("claimed", len(leases), 3)
	w.same("recipients by that route", len(leases[0].Delivery().Recipients), 2)
	w.settle(leases[0], mail.Delivered, mail.Delivered)
	w.same("left", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Queued, "d@one.example": mail.Queued})
}

func editKeepsRoute(w *world) {
	e := w.routed(map[string]mail.RouteKey{"a@one.example": "r.example:25"}, "a@one.example", "b@one.example")
	w.accept(e)
	w.setRecipient("a@one.example", "a@two.example")
	w.setRecipient("b@one.example", "b@two.example")
	w.same("due", w.dueNames(), []mail.Destination{"two.example", "two.example/r.example:25"})
	w.edit(queue.Filter{Recipient: "a@two.example"}, queue.Change{Kind: queue.ChangeReroute, Destination: "hub.example"})
	w.same("due after a reroute", w.dueNames(), []mail.Destination{"hub.example", "two.example"})
	via := queue.Change{Kind: queue.ChangeReroute, Route: "partners"}
	w.same("rerouted by a transport", w.edit(queue.Filter{}, via).Changed, 2)
	w.same("due by a transport", w.dueNames(), []mail.Destination{"hub.example/partners", "two.example/partners"})
	w.same("rerouted so again", w.edit(queue.Filter{}, via).Changed, 0)
	facts := w.facts()
	w.same("the text of the last fact", facts[len(facts)-1].Text, "by partners")
}

func filterPolicy(w *world) {
	tagged, plain := w.routed(map[string]mail.RouteKey{"a@one.example": "r.example:25"}, "a@one.example", "b@one.example"), w.entry("c@one.example")
	tagged.Tags = []string{"bulk", "payroll"}
	w.accept(tagged, plain)
	w.reopen()
	for where, want := range map[string]int{
		"tag = payroll": 2, "tag != payroll": 1, "tag ~ b*": 2, "route = r.example:25": 1, `route = ""`: 2, "destination = one.example/r.example:25": 1, "domain = one.example": 3,
	} {
		counts, err := w.Store.Count(w.ctx, queue.Filter{Where: where})
		w.ok(err)
		w.same(where, counts, map[mail.State]int{mail.Queued: want})
	}
}
