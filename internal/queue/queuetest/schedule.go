package queuetest

import (
	"fmt"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var dueTests = []test{
	{"due: highest class first, then oldest", dueOrder},
	{"due: limit, and when the next is due", dueLimit},
	{"due: held mail is not", dueHeld},
	{"due: a clock that steps back", dueBack},
	{"due: suspended destinations are left out", dueSuspended},
	{"due: a domain is suspended by every route", dueSuspendedRoutes},
	{"due: parked destinations are left out, and claimed all the same", dueParked},
	{"due: what is hastened", dueHastened},
	{"due: a clock that was stepped", dueShifted},
	{"backlog: what waits for its turn, and what for its time", backlog},
	{"due: an edit after the clock was stepped", dueShiftedEdited},
	{"wake: after accept, retry and a lifted suspension", wakes},
}

var claimTests = []test{
	{"claim: order and number", claimOrder},
	{"claim: what a lease shows", claimShows},
	{"claim: lower classes have their share", claimShare},
	{"claim: brings siblings", claimSiblings},
	{"claim: leaves other siblings", claimOtherSiblings},
	{"claim: a lease that ends before it begins", claimInvalid},
	{"renew prolongs, and tells of lost leases", renew},
	{"a lost lease is due again and counts its attempt", leaseLost},
	{"release counts no attempt", release},
	{"no lease survives reopening", leaseReopen},
}

func dueOrder(w *world) {
	at := func(to string, class mail.Class, ago time.Duration) queue.Entry {
		e := w.entry(to)
		e.Class, e.Deliveries[0].Next = class, w.in(-ago)
		return e
	}
	w.accept(at("a@new.example", 0, time.Second), at("a@old.example", 0, time.Hour), at("a@high.example", 5, time.Second),
		at("a@low.example", -1, 2*time.Hour), at("a@both.example", 0, time.Minute), at("a@both.example", 5, time.Minute),
		at("a@both.example", 0, 3*time.Hour), at("a@future.example", 9, -time.Hour))
	w.same("agenda", w.due(), queue.Agenda{
		Destinations: []queue.Due{
			{Destination: "both.example", Class: 5, Count: 3, Oldest: w.in(-3 * time.Hour)},
			{Destination: "high.example", Class: 5, Count: 1, Oldest: w.in(-time.Second)},
			{Destination: "old.example", Class: 0, Count: 1, Oldest: w.in(-time.Hour)},
			{Destination: "new.example", Class: 0, Count: 1, Oldest: w.in(-time.Second)},
			{Destination: "low.example", Class: -1, Count: 1, Oldest: w.in(-2 * time.Hour)},
		},
		Next: w.in(time.Hour),
	})
	w.clock.Advance(time.Hour)
	w.same("first due after an hour", w.due().Destinations[0].Destination, mail.Destination("future.example"))
}

func dueLimit(w *world) {
	w.same("agenda of an empty store", w.due(), queue.Agenda{})
	for i := range 5 {
		e := w.entry(fmt.Sprintf("a@d%d.example", i))
		e.Deliveries[0].Next = w.in(time.Duration(i) * time.Minute)
		w.accept(e)
	}
	w.clock.Advance(2 * time.Minute)
	agenda, err := w.Store.Due(w.ctx, w.now(), 2)
	w.ok(err)
	if len(agenda.Destinations) != 2 || agenda.Destinations[0].Destination != "d0.example" {
		w.Fatalf("destinations are %v, want d0 and d1", agenda.Destinations)
	}
	w.same("next", agenda.Next, w.in(time.Minute))
	w.claim("d0.example", 1)
	w.same("next, when a lease ends before", w.due().Next, w.in(leaseTime))
}

func dueHeld(w *world) {
	w.accept(held(w.entry("a@held.example"), mail.HoldPolicy), w.entry("b@free.example"))
	w.same("due", w.dueNames(), []mail.Destination{"free.example"})
	if leases := w.claim("held.example", 10); len(leases) != 0 {
		w.Fatalf("claimed %d held deliveries", len(leases))
	}
}

func dueBack(w *world) {
	late := w.entry("a@one.example")
	late.Deliveries[0].Next = w.in(time.Hour)
	w.accept(w.entry("b@two.example"), late)
	agenda, err := w.Store.Due(w.ctx, w.in(2*time.Hour), 10)
	w.ok(err)
	if len(agenda.Destinations) != 2 {
		w.Fatalf("due in two hours: %v", agenda)
	}
	w.same("due now", w.dueNames(), []mail.Destination{"two.example"})
	w.same("next", w.due().Next, w.in(time.Hour))
}

func (w *world) suspend(d mail.Destination, value string) {
	w.Helper()
	m := queue.Mark{Kind: queue.MarkSuspend, Key: string(d), Value: value, At: w.now(), Actor: "operator"}
	w.ok(w.Store.PutMark(w.ctx, m, w.fact(mail.ReasonMarked, "")))
}

func dueSuspended(w *world) {
	later := w.entry("a@one.example")
	later.Deliveries[0].Next = w.in(time.Hour)
	w.accept(w.entry("a@one.example"), later, w.entry("b@two.example"))
	w.suspend("one.example", "maintenance")
	check := func() {
		w.Helper()
		agenda := w.due()
		if len(agenda.Destinations) != 1 || agenda.Destinations[0].Destination != "two.example" || !agenda.Next.IsZero() {
			w.Fatalf("agenda with one.example suspended: %+v", agenda)
		}
		if leases := w.claim("one.example", 1); len(leases) != 0 {
			w.Fatal("claimed from a suspended destination")
		}
	}
	check()
	w.reopen()
	check()
	w.accept(w.entry("c@one.example"))
	check()
	w.suspend("one.example", "")
	w.same("due", w.due().Destinations[0].Count, 2)
	w.reopen()
	w.same("due after reopening", w.due().Destinations[0].Count, 2)
}

// dueSuspendedRoutes: who suspends a domain means its mail, by whichever route policy
// sends it; a route alone can be suspended, too.
func dueSuspendedRoutes(w *world) {
	const plain, routed, other = mail.Destination("one.example"), mail.Destination("one.example/relay.example:25"), mail.Destination("two.example")
	through := func() queue.Entry {
		e := w.entry("b@one.example")
		e.Deliveries[0].Destination = routed
		return e
	}
	w.accept(w.entry("a@one.example"), through(), w.entry("c@two.example"))
	check := func(want ...mail.Destination) {
		w.Helper()
		names := w.dueNames()
		slices.Sort(names)
		w.same("due", names, want)
		for _, d := range []mail.Destination{plain, routed, other} {
			if leases := w.claim(d, 1); len(leases) > 0 != slices.Contains(want, d) {
				w.Fatalf("claimed %d of %s", len(leases), d)
			} else if len(leases) > 0 {
				w.ok(w.Store.Release(w.ctx, leases, w.now()))
			}
		}
	}
	w.suspend(plain, "maintenance")
	check(other)
	w.reopen()
	w.accept(through())
	check(other)
	w.suspend(routed, "and this")
	w.suspend(plain, "")
	check(plain, other)
	w.reopen()
	check(plain, other)
	w.suspend(routed, "")
	check(plain, routed, other)
}

func dueHastened(w *world) {
	e := w.entry("a@one.example", "b@two.example", "c@three.example", "d@four.example")
	for i := range e.Deliveries {
		e.Deliveries[i].Next = w.in(time.Hour)
	}
	now := held(w.entry("a@held.example"), mail.HoldPolicy)
	w.accept(e, now)
	w.same("due", len(w.dueNames()), 0)
	hasten := func(id mail.ID, d mail.Destination, want bool) {
		w.Helper()
		w.same("hastened to "+string(d), w.Store.Hasten(id, d, w.now()), want)
	}
	hasten(e.ID, "one.example", true)
	hasten(e.ID, "one.example", false) // it is due already
	hasten(e.ID, "unknown.example", false)
	hasten(now.ID, "held.example", false)
	hasten(w.ids.New(w.now()), "one.example", false)
	w.suspend("two.example", "maintenance")
	hasten(e.ID, "two.example", true)
	w.same("due", w.dueNames(), []mail.Destination{"one.example"})
	w.same("next", w.due().Next, w.in(time.Hour))
	w.same("its time", w.get(e.ID).Deliveries[3].Next, w.now()) // in order of destination
	l := w.claimOne("one.example")
	hasten(e.ID, "one.example", false)
	w.settle(l, mail.Deferred)
	w.same("due", len(w.dueNames()), 0)
	hasten(e.ID, "one.example", true) // by the time of its deferral
	w.suspend("two.example", "")
	w.same("due", len(w.dueNames()), 2)
}

func backlog(w *world) {
	later, last := w.entry("a@one.example"), w.entry("a@one.example", "b@two.example")
	later.Deliveries[0].Next, last.Deliveries[0].Next = w.in(time.Hour), w.in(2*time.Hour)
	w.accept(w.entry("a@one.example"), w.entry("a@one.example"), later, last, held(w.entry("c@one.example"), mail.HoldPolicy))
	check := func(what string, due, waits int, next time.Time) {
		w.Helper()
		w.due()
		w.same(what, w.Store.Backlog("one.example"), queue.Backlog{Due: due, Later: waits, Next: next})
	}
	check("at first", 2, 2, w.in(time.Hour))
	w.reopen()
	w.suspend("one.example", "maintenance")
	check("while it is suspended", 2, 2, w.in(time.Hour))
	w.suspend("one.example", "")
	w.claimOne("two.example")
	w.claim("one.example", 1)
	check("without what is leased", 1, 2, w.in(time.Hour))
	w.clock.Advance(2 * time.Hour)
	check("when all is due, and the lease is lost", 4, 0, time.Time{})
	w.same("of an unknown destination", w.Store.Backlog("three.example"), queue.Backlog{})
}

func dueParked(w *world) {
	later := w.entry("a@one.example")
	later.Deliveries[0].Next = w.in(time.Hour)
	w.accept(w.entry("a@one.example", "b@two.example"), later, w.entry("c@one.example"))
	w.Store.Park("one.example", true, mail.Normal)
	w.same("due with one parked", w.dueNames(), []mail.Destination{"two.example"})
	w.same("claimed of two, with the sibling that is parked", len(w.claim("two.example", 1)), 2)
	w.same("claimed of the one parked", len(w.claim("one.example", 10)), 1)
	w.clock.Advance(time.Hour)
	w.accept(w.entry("d@one.example"))
	w.same("due an hour later", w.dueNames(), []mail.Destination{"two.example"}) // its lease was lost
	w.Store.Park("one.example", false, mail.Normal)
	w.same("let in again", w.due().Destinations[0].Count, 4)
	w.Store.Park("one.example", true, mail.Normal)
	w.reopen()
	w.same("due after reopening", w.due().Destinations[0].Count, 4)
	raised := func(what string, class mail.Class, due ...mail.Destination) {
		w.Helper()
		e := w.entry("z@one.example")
		e.Class = class
		w.accept(e)
		w.same(what, w.dueNames(), due)
	}
	w.Store.Park("one.example", true, mail.Normal)
	raised("parked, with nothing higher", mail.Normal, "two.example")
	raised("something urgent for one that is parked", mail.Urgent, "one.example", "two.example")
	w.Store.Park("one.example", true, mail.Urgent)
	raised("that is known now", mail.Urgent, "two.example")
	w.Store.Park("one.example", false, mail.Normal)
	w.Store.Park("nowhere.example", true, mail.Normal)
	w.accept(w.entry("e@nowhere.example"))
	w.same("parked while nothing was queued", w.dueNames(), []mail.Destination{"one.example", "two.example", "nowhere.example"})
}

func dueShifted(w *world) {
	in := func(to string, d time.Duration) queue.Entry {
		e := w.entry(to)
		e.Deliveries[0].Next = w.in(d)
		return e
	}
	w.accept(in("a@due.example", 0), in("a@soon.example", 10*time.Minute), in("a@leased.example", 0))
	l := w.claimOne("leased.example")
	for _, step := range []time.Duration{24 * time.Hour, -72 * time.Hour} {
		w.Store.Shift(step)
		w.clock.Advance(step)
		w.same("due", w.dueNames(), []mail.Destination{"due.example"})
		w.same("next", w.due().Next, w.in(min(10*time.Minute, leaseTime)))
		w.ok(w.Store.Renew(w.ctx, []queue.Lease{l}, w.in(leaseTime)))
	}
	w.clock.Advance(leaseTime - time.Second)
	w.same("due before the lease ends", w.dueNames(), []mail.Destination{"due.example"})
	w.clock.Advance(10*time.Minute - leaseTime + time.Second)
	w.same("due when the time has come", w.dueNames(), []mail.Destination{"due.example", "leased.example", "soon.example"})
}

// dueShiftedEdited: an edit that leaves a delivery its time, leaves it the one
// on the clock as it is now, and not the one that is stored.
func dueShiftedEdited(w *world) {
	for _, step := range []time.Duration{24 * time.Hour, -72 * time.Hour} {
		e := w.entry("a@one.example", "b@one.example")
		e.Deliveries[0].Next = w.in(10 * time.Minute)
		w.accept(e)
		id := e.ID
		w.Store.Shift(step)
		w.clock.Advance(step)
		w.edit(queue.Filter{IDs: []mail.ID{id}, Recipient: "a@one.example"}, queue.Change{Kind: queue.ChangeRemove})
		w.same("due", w.dueNames(), []mail.Destination(nil))
		w.same("next", w.due().Next, w.in(10*time.Minute))
		w.same("as it is told", w.get(id).Deliveries[0].Next, w.in(10*time.Minute))
		w.edit(queue.Filter{IDs: []mail.ID{id}}, queue.Change{Kind: queue.ChangeRetry})
		w.same("due when it was asked for", w.dueNames(), []mail.Destination{"one.example"})
		w.edit(queue.Filter{IDs: []mail.ID{id}}, queue.Change{Kind: queue.ChangeRemove})
	}
}

// woken reports whether the scheduler was woken, and takes that back.
func (w *world) woken() bool {
	select {
	case <-w.Store.Wake():
		return true
	default:
		return false
	}
}

func wakes(w *world) {
	wakened := func(what string) {
		w.Helper()
		if !w.woken() {
			w.Fatalf("not woken by %s", what)
		}
		w.due()
	}
	w.due()
	w.woken()
	e := w.entry("a@one.example")
	e.Deliveries[0].Next = w.in(time.Hour)
	w.accept(e)
	wakened("accept")
	sooner := w.entry("b@two.example")
	sooner.Deliveries[0].Next = w.in(30 * time.Minute)
	w.accept(sooner)
	wakened("something due sooner")
	w.edit(queue.Filter{IDs: []mail.ID{e.ID}}, queue.Change{Kind: queue.ChangeRetry})
	wakened("retry")
	l := w.claimOne("one.example")
	w.due()
	w.ok(w.Store.Release(w.ctx, []queue.Lease{l}, w.now()))
	wakened("release")
	w.suspend("one.example", "x")
	w.due()
	w.woken()
	w.suspend("one.example", "")
	wakened("a lifted suspension")
}

func claimOrder(w *world) {
	var want []mail.ID
	for i, c := range []struct {
		class mail.Class
		ago   time.Duration
	}{{2, time.Second}, {0, time.Hour}, {0, time.Minute}, {0, time.Second}} {
		e := w.entry("a@one.example")
		e.Class, e.Deliveries[0].Next = c.class, w.in(-c.ago)
		w.accept(e)
		if i < 3 {
			want = append(want, e.ID)
		}
	}
	w.same("claimed", leaseIDs(w.claim("one.example", 3)), want)
	w.same("leased", w.Store.Leased(), 3)
	w.same("left", w.due().Destinations[0].Count, 1)
	w.same("claimed of the rest", len(w.claim("one.example", 10)), 1)
	w.same("claimed of nothing", len(w.claim("one.example", 10)), 0)
	w.same("claimed at an unknown destination", len(w.claim("no.example", 10)), 0)
}

// claimShare claims one after the other where there is more than enough of each class: of
// 25, 20 are urgent, 4 normal and one bulk; and all of what there is of one alone.
func claimShare(w *world) {
	for i := range 50 {
		for _, class := range mail.Classes {
			e := w.entry("a@one.example")
			e.Class, e.Deliveries[0].Next = class, w.in(time.Duration(i-60)*time.Second)
			w.accept(e)
		}
	}
	claimed, last := make(map[mail.Class]int), make(map[mail.Class]time.Time)
	for range 5 {
		for _, l := range w.claim("one.example", 5) {
			class, next := l.Entry.Class, l.Delivery().Next
			if claimed[class]++; next.Before(last[class]) {
				w.Errorf("%s: one from %v after one from %v", class, next, last[class])
			}
			last[class] = next
		}
	}
	w.same("claimed", claimed, map[mail.Class]int{mail.Urgent: 20, mail.Normal: 4, mail.Bulk: 1})
	w.mark(queue.MarkSuspendClass, "urgent", "x")
	w.mark(queue.MarkSuspendClass, "normal", "x")
	w.same("claimed of bulk alone", len(w.claim("one.example", 100)), 49)
}

func claimShows(w *world) {
	e := fullEntry(w)
	e.Deliveries[0].Attempts = 4
	w.accept(e)
	l := w.claim("one.example", 1)[0]
	want := w.get(e.ID)
	want.Deliveries = []queue.Delivery{want.Deliveries[1]}
	want.Deliveries[0].Recipients = want.Deliveries[0].Recipients[:1] // the other is held
	want.Deliveries[0].Attempts = 5
	w.same("entry of the lease", l.Entry, want)
	w.same("end of the lease", l.Until, w.in(leaseTime))
	w.same("attempt", l.Attempt(), 5)
	w.same("attempts registered", w.get(e.ID).Deliveries[1].Attempts, 5)
}

func claimSiblings(w *world) {
	many := w.entry("a@one.example", "b@two.example", "c@zulu.example")
	single := w.entry("d@one.example")
	w.accept(many, single)
	leases := w.claim("one.example", 1)
	var got []mail.Destination
	tokens := make(map[uint64]bool)
	for i := range leases {
		got = append(got, leases[i].Delivery().Destination)
		tokens[leases[i].Token] = true
	}
	w.same("claimed", got, []mail.Destination{"one.example", "two.example", "zulu.example"})
	w.same("tokens", len(tokens), 3)
	w.same("due", w.due().Destinations[0].Count, 1)
	w.settle(leases[1], mail.Delivered)
	w.same("left", w.states(many.ID), map[string]mail.State{"a@one.example": mail.Queued, "c@zulu.example": mail.Queued})
}

func claimOtherSiblings(w *world) {
	e := w.entry("a@one.example", "b@later.example", "c@held.example", "d@suspended.example", "e@leased.example")
	e.Deliveries[1].Next = w.in(time.Minute)
	e.Deliveries[2].Recipients[0].State, e.Deliveries[2].Recipients[0].Hold = mail.Held, mail.HoldPolicy
	e.Deliveries[4].Next = w.in(-time.Minute)
	e.Deliveries[0].Next = w.in(time.Second)
	w.suspend("suspended.example", "x")
	w.accept(e)
	w.same("claimed first", len(w.claim("leased.example", 1)), 1)
	w.clock.Advance(time.Second)
	leases := w.claim("one.example", 1)
	if len(leases) != 1 || leases[0].Delivery().Destination != "one.example" {
		w.Fatalf("claimed %d deliveries, want that to one.example alone", len(leases))
	}
}

func claimInvalid(w *world) {
	w.accept(w.entry("a@one.example"))
	_, err := w.Store.Claim(w.ctx, "one.example", 1, w.now(), w.now())
	w.fails(err, queue.ErrInvalid)
	l := w.claimOne("one.example")
	w.fails(w.Store.Renew(w.ctx, []queue.Lease{l}, w.now()), queue.ErrInvalid)
	w.settle(l, mail.Delivered)
}

func renew(w *world) {
	w.accept(w.entry("a@one.example"), w.entry("b@two.example"))
	one, two := w.claimOne("one.example"), w.claimOne("two.example")
	w.clock.Advance(leaseTime - 1)
	w.ok(w.Store.Renew(w.ctx, []queue.Lease{one}, w.in(leaseTime)))
	w.clock.Advance(1)
	w.same("leased", w.Store.Leased(), 1)
	w.same("due", w.dueNames(), []mail.Destination{"two.example"})
	w.fails(w.Store.Renew(w.ctx, []queue.Lease{two, one}, w.in(2*leaseTime)), queue.ErrFenced)
	w.clock.Advance(leaseTime) // one was prolonged all the same
	w.settle(one, mail.Delivered)
}

func leaseLost(w *world) {
	e := w.entry("a@one.example")
	w.accept(e)
	old := w.claimOne("one.example")
	w.clock.Advance(leaseTime)
	again := w.claimOne("one.example")
	if again.Token == old.Token {
		w.Fatal("two leases have one token")
	}
	w.same("attempt", again.Attempt(), 2)
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{w.settlement(old, mail.Delivered)}), queue.ErrFenced)
	w.ok(w.Store.Release(w.ctx, []queue.Lease{old}, w.now())) // passed over
	w.same("due", w.dueNames(), []mail.Destination(nil))
	w.settle(again, mail.Deferred)
	w.same("attempts", w.get(e.ID).Deliveries[0].Attempts, 2)
	w.reopen()
	w.same("attempts after reopening", w.get(e.ID).Deliveries[0].Attempts, 2)
}

func release(w *world) {
	e := w.entry("a@one.example", "b@two.example")
	w.accept(e)
	leases := w.claim("one.example", 1)
	w.ok(w.Store.Release(w.ctx, leases[1:], w.in(time.Hour)))
	w.settle(leases[0], mail.Deferred)
	for range 2 { // an attempt later than the first is taken back too
		w.clock.Advance(time.Hour)
		l := w.claim("two.example", 1)
		w.same("claimed", len(l), 2)
		w.same("attempt", l[0].Attempt(), 1)
		w.same("attempt of the sibling", l[1].Attempt(), 2)
		w.ok(w.Store.Release(w.ctx, l, w.in(time.Hour)))
	}
	check := func() {
		w.Helper()
		stored := w.get(e.ID)
		w.same("attempts", stored.Deliveries[0].Attempts, 1)
		w.same("attempts", stored.Deliveries[1].Attempts, 0)
		w.same("next", w.due(), queue.Agenda{Next: w.in(time.Hour)})
	}
	check()
	w.reopen()
	check()
}

func leaseReopen(w *world) {
	w.accept(w.entry("a@one.example"))
	old := w.claimOne("one.example")
	w.reopen()
	w.same("leased", w.Store.Leased(), 0)
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{w.settlement(old, mail.Delivered)}), queue.ErrFenced)
	again := w.claimOne("one.example")
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{w.settlement(old, mail.Delivered)}), queue.ErrFenced)
	w.settle(again, mail.Delivered)
}
