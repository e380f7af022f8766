package queuetest

import (
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var regroupTests = []test{
	{"regroup: recipients move, due now, and no attempt is counted", regroupMoves},
	{"regroup: a delivery that is there is joined, and the larger number of attempts counts", regroupJoins},
	{"regroup: a leased delivery is joined, not its attempt", regroupJoinsLeased},
	{"regroup: siblings change places in one call", regroupSiblings},
	{"regroup: what is held, and what joined meanwhile, stays", regroupHeld},
	{"regroup: pending edits come first", regroupPending},
	{"regroup: who gets another address is asked about anew", regroupReaddressed},
	{"regroup: a lost lease is passed over, and a settled one", regroupLost},
	{"regroup fences: the lease is over", regroupFences},
	{"regroup: a delivery that it empties takes nothing of the entry along", regroupReopen},
	{"regroup refuses what breaks the contract, and does nothing", regroupInvalid},
}

// regroup moves the recipients of a lease.
func (w *world) regroup(l queue.Lease, to ...mail.Destination) {
	w.Helper()
	w.ok(w.Store.Regroup(w.ctx, []queue.Move{{Lease: l, To: to}}))
}

// places lists where the recipients of an entry are, in the order in which they
// stand there.
func (w *world) places(id mail.ID) map[mail.Destination][]string {
	w.Helper()
	places := make(map[mail.Destination][]string)
	for _, d := range w.get(id).Deliveries {
		for _, r := range d.Recipients {
			places[d.Destination] = append(places[d.Destination], r.Address.Local)
		}
	}
	return places
}

// deliveryTo is that of an entry to a destination.
func (w *world) deliveryTo(id mail.ID, at mail.Destination) queue.Delivery {
	w.Helper()
	for _, d := range w.get(id).Deliveries {
		if d.Destination == at {
			return d
		}
	}
	w.Fatalf("entry %s has no delivery to %s", id, at)
	return queue.Delivery{}
}

func regroupMoves(w *world) {
	e := w.entry("a@one.example", "b@one.example", "c@one.example")
	w.accept(e)
	w.settle(w.claimOne("one.example"), mail.Deferred)
	w.clock.Advance(time.Hour)
	w.regroup(w.claimOne("one.example"), "one.example/~x", "one.example", "one.example/~y")
	check := func() {
		w.Helper()
		w.same("places", w.places(e.ID), map[mail.Destination][]string{"one.example": {"b"}, "one.example/~x": {"a"}, "one.example/~y": {"c"}})
		for at := range w.places(e.ID) {
			d := w.deliveryTo(e.ID, at)
			w.same("attempts", d.Attempts, 1)
			w.same("next", d.Next, w.now())
			w.same("last outcome is kept", d.Recipients[0].Last != nil, true)
			w.same("state", d.Recipients[0].State, mail.Deferred)
			moved := w.now()
			if at == "one.example" {
				moved = time.Time{}
			}
			w.same("moved at", d.Recipients[0].Moved, moved)
		}
		w.same("due", len(w.dueNames()), 3)
		w.same("facts", w.facts(), []mail.Fact(nil))
	}
	check()
	w.same("leased", w.Store.Leased(), 0)
	l := w.claimOneOf("one.example/~x")
	w.same("attempt", l.Attempt(), 2)
	w.ok(w.Store.Release(w.ctx, []queue.Lease{l}, w.now()))
	check()
}

func regroupJoins(w *world) {
	e := w.entry("a@one.example", "b@two.example")
	w.accept(e)
	for range 2 {
		w.settle(w.claimOneOf("one.example"), mail.Deferred)
		w.clock.Advance(time.Hour)
	}
	w.regroup(w.claimOneOf("one.example"), "two.example")
	w.same("places", w.places(e.ID), map[mail.Destination][]string{"two.example": {"b", "a"}})
	w.same("attempts", w.deliveryTo(e.ID, "two.example").Attempts, 2)

	more, few := w.entry("a@three.example", "b@four.example"), mail.Destination("three.example")
	w.accept(more)
	w.settle(w.claimOneOf("four.example"), mail.Deferred) // and is due in an hour
	w.regroup(w.claimOneOf(few), "four.example")
	w.same("places", w.places(more.ID), map[mail.Destination][]string{"four.example": {"b", "a"}})
	w.same("attempts", w.deliveryTo(more.ID, "four.example").Attempts, 1)
	w.same("next", w.deliveryTo(more.ID, "four.example").Next, w.now())
}

// claimOneOf claims a delivery, and gives its siblings back.
func (w *world) claimOneOf(at mail.Destination) queue.Lease {
	w.Helper()
	leases := w.claim(at, 1)
	if len(leases) == 0 {
		w.Fatalf("nothing is due at %s", at)
	}
	w.ok(w.Store.Release(w.ctx, leases[1:], w.now()))
	return leases[0]
}

func regroupJoinsLeased(w *world) {
	e := w.entry("a@one.example", "b@two.example")
	w.accept(e)
	leases := w.claim("one.example", 1)
	w.regroup(leases[0], "two.example")
	w.same("due", w.dueNames(), []mail.Destination(nil))
	w.settle(leases[1], mail.Delivered)
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Queued})
	w.settle(w.claimOne("two.example"), mail.Delivered)
	w.gone(e.ID)
}

func regroupSiblings(w *world) {
	e := w.entry("a@one.example", "b@two.example", "c@three.example")
	w.accept(e)
	leases := w.claim("one.example", 1) // one, three, two
	w.ok(w.Store.Regroup(w.ctx, []queue.Move{
		{Lease: leases[0], To: []mail.Destination{"two.example"}},
		{Lease: leases[1], To: []mail.Destination{"two.example"}},
		{Lease: leases[2], To: []mail.Destination{"one.example"}},
	}))
	w.same("places", w.places(e.ID), map[mail.Destination][]string{"one.example": {"b"}, "two.example": {"a", "c"}})
	w.reopen()
	again := w.claim("one.example", 1)
	w.same("claimed", len(again), 2)
	w.settle(again[0], mail.Delivered)
	w.settle(again[1], mail.Delivered)
	w.gone(e.ID)
}

func regroupHeld(w *world) {
	e := w.entry("a@one.example", "b@one.example", "c@two.example")
	e.Deliveries[0].Recipients[0].State, e.Deliveries[0].Recipients[0].Hold = mail.Held, mail.HoldPolicy
	e.Deliveries[1].Next = w.in(time.Hour)
	w.accept(e)
	l := w.claimOne("one.example")
	w.edit(queue.Filter{Destination: "two.example"}, queue.Change{Kind: queue.ChangeReroute, Destination: "one.example"})
	w.regroup(l, "other.example")
	w.same("places", w.places(e.ID), map[mail.Destination][]string{"one.example": {"a", "c"}, "other.example": {"b"}})
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Held, "b@one.example": mail.Queued, "c@two.example": mail.Queued})
}

func regroupPending(w *world) {
	e := w.entry("held@one.example", "rerouted@one.example", "removed@one.example", "moved@one.example")
	w.accept(e)
	l := w.claimOne("one.example")
	w.edit(queue.Filter{Recipient: "held@one.example"}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator})
	w.edit(queue.Filter{Recipient: "rerouted@one.example"}, queue.Change{Kind: queue.ChangeReroute, Destination: "one.example/pinned"})
	w.edit(queue.Filter{Recipient: "removed@one.example"}, queue.Change{Kind: queue.ChangeRemove})
	w.regroup(l, "other.example", "other.example", "other.example", "other.example")
	check := func() {
		w.Helper()
		w.same("places", w.places(e.ID), map[mail.Destination][]string{
			"one.example": {"held"}, "one.example/pinned": {"rerouted"}, "other.example": {"moved"}})
		w.same("facts", len(w.facts()), 3)
	}
	check()
	w.reopen()
	check()
}

// regroupReaddressed: where the routes send one address says nothing of another.
func regroupReaddressed(w *world) {
	e := w.entry("a@one.example")
	w.accept(e)
	l := w.claimOne("one.example")
	readdress := func(from string, to mail.Address) {
		w.edit(queue.Filter{Recipient: from}, queue.Change{Kind: queue.ChangeRecipient, Recipient: to})
	}
	readdress("a@one.example", mail.Address{Local: "b", Domain: "one.example"})
	w.regroup(l, "one.example/~a")
	w.same("places", w.places(e.ID), map[mail.Destination][]string{"one.example": {"b"}})
	w.regroup(w.claimOne("one.example"), "one.example/~b")
	w.same("moved", w.deliveryTo(e.ID, "one.example/~b").Recipients[0].Moved, w.now())
	readdress("b@one.example", mail.Address{Local: "c", Domain: "one.example"})
	w.same("moved", w.deliveryTo(e.ID, "one.example/~b").Recipients[0].Moved, time.Time{})
}

func regroupLost(w *world) {
	e, settled, good := w.entry("a@one.example"), w.entry("b@two.example", "c@two.example"), w.entry("d@three.example")
	w.accept(e, settled, good)
	lost, over := w.claimOne("one.example"), w.claimOne("two.example")
	w.settle(over, mail.Delivered, mail.Deferred)
	w.clock.Advance(leaseTime)
	w.ok(w.Store.Regroup(w.ctx, []queue.Move{
		{Lease: lost, To: []mail.Destination{"other.example"}},
		{Lease: over, To: []mail.Destination{"other.example", "other.example"}},
		{Lease: w.claimOne("three.example"), To: []mail.Destination{"other.example"}},
	}))
	w.same("where the lost one is", w.places(e.ID), map[mail.Destination][]string{"one.example": {"a"}})
	w.same("where the settled one is", w.places(settled.ID), map[mail.Destination][]string{"two.example": {"c"}})
	w.same("where the other is", w.places(good.ID), map[mail.Destination][]string{"other.example": {"d"}})
}

func regroupFences(w *world) {
	e := w.entry("a@one.example")
	w.accept(e)
	l := w.claimOne("one.example")
	w.regroup(l, "other.example")
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{w.settlement(l, mail.Delivered)}), queue.ErrFenced)
	w.fails(w.Store.Renew(w.ctx, []queue.Lease{l}, w.in(leaseTime)), queue.ErrFenced)
	w.regroup(l, "nowhere.example") // again: it is no lease any more
	w.same("places", w.places(e.ID), map[mail.Destination][]string{"other.example": {"a"}})
}

// regroupReopen: of a move that was not synced the entry is in one place or in the
// other, whole.
func regroupReopen(w *world) {
	e := w.entry("a@one.example", "b@one.example")
	w.accept(e)
	w.regroup(w.claimOne("one.example"), "other.example", "other.example")
	w.reopen()
	w.same("recipients", len(w.states(e.ID)), 2)
	names := w.dueNames()
	w.same("destinations", len(names), 1)
	w.same("content", w.content(e.ID), contentOf(e.ID))
	w.settle(w.claimOne(names[0]), mail.Delivered)
	w.gone(e.ID)
}

func regroupInvalid(w *world) {
	e := w.entry("a@one.example", "b@one.example")
	w.accept(e)
	l := w.claimOne("one.example")
	few := l
	few.Entry = l.Entry.Clone()
	few.Delivery().Recipients = few.Delivery().Recipients[:1]
	for name, moves := range map[string][]queue.Move{
		"too few":                      {{Lease: l, To: []mail.Destination{"other.example"}}},
		"nowhere":                      {{Lease: l, To: []mail.Destination{"other.example", ""}}},
		"NUL":                          {{Lease: l, To: []mail.Destination{"other.example", "x\x00y"}}},
		"twice":                        {{Lease: l, To: []mail.Destination{"a", "b"}}, {Lease: l, To: []mail.Destination{"a", "b"}}},
		"fewer recipients than leased": {{Lease: few, To: []mail.Destination{"other.example"}}},
	} {
		w.Log(name)
		w.fails(w.Store.Regroup(w.ctx, moves), queue.ErrInvalid)
	}
	w.same("places", w.places(e.ID), map[mail.Destination][]string{"one.example": {"a", "b"}})
	w.settle(l, mail.Delivered) // it is held all the same
	w.gone(e.ID)
}
