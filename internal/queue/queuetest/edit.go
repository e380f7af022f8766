package queuetest

import (
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var editTests = []test{
	{"edit: every change in every state", editTable},
	{"edit: records its facts", editFacts},
	{"edit: reroute joins a delivery that is there", editJoin},
	{"edit: reroute joins a leased delivery, not its attempt", editJoinLeased},
	{"edit of a leased delivery waits for settle, and final wins", editLeased},
	{"edit of a leased delivery waits for release", editReleased},
	{"edit of a leased delivery waits until the lease is lost", editLost},
	{"edit of a leased delivery survives reopening", editReopen},
	{"edit: one after the other on a leased delivery", editSequence},
	{"edit: a pending reroute", editPendingReroute},
	{"edit: another address, elsewhere and at the same place", editRecipient},
	{"edit: another address for a leased delivery", editRecipientLeased},
	{"edit: another class is that of the whole entry", editClass},
	{"edit: selects by filter", editFilter},
	{"edit: selects by expression", editWhere},
	{"edit: selects by how long it is held, and says why", editHeldBefore},
	{"edit of more than one step", editMany},
	{"edit refuses what breaks the contract", editInvalid},
}

// stateAfter is what a change makes of a recipient in a stored state; "" is
// no change, "gone" is that it has left the queue.
var stateAfter = map[queue.ChangeKind]map[mail.State]mail.State{
	queue.ChangeHold:    {mail.Queued: mail.Held, mail.Deferred: mail.Held, mail.Held: ""},
	queue.ChangeRelease: {mail.Queued: "", mail.Deferred: "", mail.Held: mail.Queued},
	queue.ChangeRemove:  {mail.Queued: "gone", mail.Deferred: "gone", mail.Held: "gone"},
	queue.ChangeRetry:   {mail.Queued: mail.Queued, mail.Deferred: mail.Deferred, mail.Held: ""},
	queue.ChangeReroute: {mail.Queued: mail.Queued, mail.Deferred: mail.Deferred, mail.Held: mail.Held},

	queue.ChangeRecipient: {mail.Queued: mail.Queued, mail.Deferred: mail.Deferred, mail.Held: mail.Held},
	queue.ChangeClass:     {mail.Queued: mail.Queued, mail.Deferred: mail.Deferred, mail.Held: mail.Held},
}

func change(k queue.ChangeKind) queue.Change {
	c := queue.Change{Kind: k}
	switch k {
	case queue.ChangeHold:
		c.Hold = mail.HoldOperator
	case queue.ChangeReroute:
		c.Destination = "other.example"
	case queue.ChangeRecipient:
		c.Recipient = mail.Address{Local: "new", Domain: "other.example"}
	case queue.ChangeClass:
		c.Class = mail.Urgent
	}
	return c
}

// inState stores an entry to a@one.example whose recipient is in a state,
// and not due for an hour.
func (w *world) inState(s mail.State) mail.ID {
	w.Helper()
	e := w.entry("a@one.example")
	switch s {
	case mail.Held:
		e = held(e, mail.HoldPolicy)
	case mail.Queued:
		e.Deliveries[0].Next = w.in(time.Hour)
	}
	w.accept(e)
	if s == mail.Deferred {
		w.settle(w.claimOne("one.example"), mail.Deferred)
	}
	return e.ID
}

func editTable(w *world) {
	for kind, states := range stateAfter {
		for before, after := range states {
			id := w.inState(before)
			done := w.edit(queue.Filter{IDs: []mail.ID{id}}, change(kind))
			w.Logf("%s of a %s recipient", kind, before)
			w.checkEdited(id, kind, before, after, done)
			w.edit(queue.Filter{IDs: []mail.ID{id}}, queue.Change{Kind: queue.ChangeRemove})
		}
	}
}

func (w *world) checkEdited(id mail.ID, kind queue.ChangeKind, before, after mail.State, done queue.Edited) {
	w.Helper()
	changed, destination := 1, mail.Destination("one.example")
	switch after {
	case "gone":
		w.same("result", done, queue.Edited{Changed: 1})
		w.gone(id)
		return
	case "":
		changed, after = 0, before
	}
	if kind == queue.ChangeReroute || kind == queue.ChangeRecipient {
		destination = "other.example"
	}
	w.same("result", done, queue.Edited{Changed: changed})
	w.reopen()
	e := w.get(id)
	if len(e.Deliveries) != 1 || e.Deliveries[0].Destination != destination {
		w.Fatalf("deliveries are %+v, want one to %s", e.Deliveries, destination)
	}
	r := e.Deliveries[0].Recipients[0]
	w.same("state", r.State, after)
	w.same("is held for a reason", r.Hold != "", after == mail.Held)
	isDue := changed == 1 && after != mail.Held && kind != queue.ChangeClass // which changes no time
	w.same("is due", len(w.due().Destinations) == 1, isDue)
}

func editFacts(w *world) {
	e := w.entry("a@one.example", "b@one.example", "c@two.example")
	w.accept(e)
	w.edit(queue.Filter{Recipient: "B@ONE.example"}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator})
	w.edit(queue.Filter{Destination: "one.example"}, queue.Change{Kind: queue.ChangeRemove})
	w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeReroute, Destination: "other.example"})
	base := mail.Fact{Source: queue.FactSource, Time: w.now(), Message: e.ID, From: "<sender@source.example>", Actor: "operator"}
	hold, remove, reroute := base, base, base
	hold.N, hold.Reason, hold.To, hold.Hold = 1, mail.ReasonHeld, []string{"<b@one.example>"}, mail.HoldOperator
	remove.N, remove.Reason, remove.To = 2, mail.ReasonRemoved, []string{"<a@one.example>", "<b@one.example>"}
	reroute.N, reroute.Reason, reroute.To, reroute.Text = 3, mail.ReasonRerouted, []string{"<c@two.example>"}, "to other.example"
	w.same("facts", w.facts(), []mail.Fact{hold, remove, reroute})
}

func editJoin(w *world) {
	e := w.entry("a@one.example", "b@two.example")
	e.Deliveries[1].Next = w.in(time.Hour)
	w.accept(e)
	done := w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeReroute, Destination: "two.example"})
	w.same("result", done, queue.Edited{Changed: 1})
	l := w.claimOne("two.example")
	w.same("recipients", len(l.Delivery().Recipients), 2)
	w.settle(l, mail.Delivered)
	w.gone(e.ID)
}

func editJoinLeased(w *world) {
	e := w.entry("a@one.example", "b@two.example")
	e.Deliveries[0].Next = w.in(time.Hour)
	w.accept(e)
	l := w.claimOne("two.example")
	w.edit(queue.Filter{Destination: "one.example"}, queue.Change{Kind: queue.ChangeReroute, Destination: "two.example"})
	w.same("due", w.dueNames(), []mail.Destination(nil))
	w.settle(l, mail.Deferred)
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Queued, "b@two.example": mail.Deferred})
	w.settle(w.claimOne("two.example"), mail.Delivered) // due at once, for the one that joined
	w.gone(e.ID)
}

func editLeased(w *world) {
	e := w.entry("a@one.example", "b@one.example", "c@one.example")
	w.accept(e)
	l := w.claimOne("one.example")
	done := w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator})
	w.same("result", done, queue.Edited{Pending: 3})
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Queued, "b@one.example": mail.Queued, "c@one.example": mail.Queued})
	w.same("facts", w.facts(), []mail.Fact(nil))
	w.settle(l, mail.Delivered, mail.Deferred, mail.Bounced)
	check := func() {
		w.Helper()
		w.same("states", w.states(e.ID), map[string]mail.State{"b@one.example": mail.Held})
		facts := w.facts()
		if len(facts) != 1 || facts[0].Reason != mail.ReasonHeld || len(facts[0].To) != 1 {
			w.Fatalf("facts are %+v, want one of the hold", facts)
		}
	}
	check()
	w.reopen()
	check()
	w.clock.Advance(2 * time.Hour)
	w.same("agenda", w.due(), queue.Agenda{})
}

func editReleased(w *world) {
	e := w.entry("a@one.example", "b@one.example")
	w.accept(e)
	l := w.claimOne("one.example")
	w.edit(queue.Filter{Recipient: "a@one.example"}, queue.Change{Kind: queue.ChangeRemove})
	w.ok(w.Store.Release(w.ctx, []queue.Lease{l}, w.now()))
	w.same("states", w.states(e.ID), map[string]mail.State{"b@one.example": mail.Queued})
	w.reopen()
	w.same("states after reopening", w.states(e.ID), map[string]mail.State{"b@one.example": mail.Queued})
	w.settle(w.claimOne("one.example"), mail.Delivered)
	w.gone(e.ID)
}

func editLost(w *world) {
	e := w.entry("a@one.example", "b@two.example")
	w.accept(e)
	leases := w.claim("one.example", 1)
	w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator})
	w.ok(w.Store.Renew(w.ctx, leases[1:], w.in(2*leaseTime)))
	w.clock.Advance(leaseTime)
	w.same("due", w.dueNames(), []mail.Destination(nil))
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Held, "b@two.example": mail.Queued})
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{w.settlement(leases[0], mail.Delivered)}), queue.ErrFenced)
	w.clock.Advance(leaseTime)
	w.same("claimed", len(w.claim("two.example", 1)), 0)
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Held, "b@two.example": mail.Held})
	w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeRelease})
	w.same("due", len(w.dueNames()), 2)
}

func editReopen(w *world) {
	e := w.entry("a@one.example")
	w.accept(e)
	w.claimOne("one.example")
	w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeReroute, Destination: "other.example"})
	w.reopen()
	w.same("due", w.dueNames(), []mail.Destination{"other.example"})
	w.reopen()
	w.same("facts", len(w.facts()), 1)
	w.settle(w.claimOne("other.example"), mail.Delivered)
	w.gone(e.ID)
}

func editSequence(w *world) {
	e := w.entry("a@one.example")
	w.accept(e)
	l := w.claimOne("one.example")
	hold := queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}
	w.same("hold", w.edit(queue.Filter{}, hold), queue.Edited{Pending: 1})
	w.same("hold again", w.edit(queue.Filter{}, hold), queue.Edited{})
	w.same("release", w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeRelease}), queue.Edited{Pending: 1})
	w.settle(l, mail.Deferred)
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Queued})
	w.same("due", w.dueNames(), []mail.Destination{"one.example"})
	l = w.claimOne("one.example")
	w.same("remove", w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeRemove}), queue.Edited{Pending: 1})
	w.same("release of what will be gone", w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeRelease}), queue.Edited{})
	w.settle(l, mail.Deferred)
	w.gone(e.ID)
}

func editPendingReroute(w *world) {
	e := w.entry("a@one.example", "b@two.example", "c@zulu.example")
	w.accept(e)
	leases := w.claim("one.example", 1)
	w.edit(queue.Filter{Destination: "one.example"}, queue.Change{Kind: queue.ChangeReroute, Destination: "two.example"})
	w.edit(queue.Filter{Destination: "zulu.example"}, queue.Change{Kind: queue.ChangeReroute, Destination: "other.example"})
	w.ok(w.Store.Settle(w.ctx, []queue.Settlement{
		w.settlement(leases[0], mail.Deferred), w.settlement(leases[1], mail.Delivered), w.settlement(leases[2], mail.Deferred),
	}))
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Deferred, "c@zulu.example": mail.Deferred})
	w.reopen()
	again := w.claim("two.example", 1)
	w.same("claimed", len(again), 2)
	w.settle(again[0], mail.Delivered)
	w.settle(again[1], mail.Delivered)
	w.gone(e.ID)
}

func editFilter(w *world) {
	one, two := w.entry("a@one.example", "b@two.example"), w.entry("a@one.example")
	two.Envelope.From = w.address("other@source.example")
	w.accept(one, two)
	done := w.edit(queue.Filter{Sender: "other@source.example"}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator})
	w.same("by sender", done, queue.Edited{Changed: 1})
	done = w.edit(queue.Filter{States: []mail.State{mail.Queued}, Destination: "one.example"}, queue.Change{Kind: queue.ChangeRemove})
	w.same("by state and destination", done, queue.Edited{Changed: 1})
	w.same("first entry", w.states(one.ID), map[string]mail.State{"b@two.example": mail.Queued})
	w.same("second entry", w.states(two.ID), map[string]mail.State{"a@one.example": mail.Held})
}

// editHeldBefore has one recipient that is held from its acceptance, one that
// an edit holds later, and one that is not held.
func editHeldBefore(w *world) {
	e := held(w.entry("a@one.example"), mail.HoldQuarantine)
	e.Deliveries = append(e.Deliveries, w.entry("b@two.example", "c@three.example").Deliveries...)
	w.accept(e)
	w.clock.Advance(time.Hour)
	w.edit(queue.Filter{Recipient: "b@two.example"}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldQuarantine})
	w.reopen()
	filter := queue.Filter{Hold: mail.HoldQuarantine, HeldBefore: e.Accepted.Add(time.Minute)}
	remove := queue.Change{Kind: queue.ChangeRemove, Why: "its time was over"}
	w.same("what is held for long", w.edit(filter, remove), queue.Edited{Changed: 1})
	w.same("and only that", w.edit(filter, remove), queue.Edited{})
	facts := w.facts()
	w.same("why", facts[len(facts)-1].Text, remove.Why)
	filter.HeldBefore = w.in(time.Second)
	w.edit(filter, queue.Change{Kind: queue.ChangeRelease})
	w.same("without a hold", w.edit(queue.Filter{HeldBefore: w.in(time.Hour)}, remove), queue.Edited{})
	w.same("what is left", w.states(e.ID), map[string]mail.State{"b@two.example": mail.Queued, "c@three.example": mail.Queued})
}

// setRecipient gives another address to whoever has one.
func (w *world) setRecipient(from, to string) queue.Edited {
	w.Helper()
	return w.edit(queue.Filter{Recipient: from}, queue.Change{Kind: queue.ChangeRecipient, Recipient: w.address(to)})
}

// original returns the original recipients by the present ones.
func (w *world) original(id mail.ID) map[string]string {
	w.Helper()
	all := make(map[string]string)
	for _, d := range w.get(id).Deliveries {
		for _, r := range d.Recipients {
			w.same("destination", d.Destination, r.Address.Destination())
			all[r.Address.String()] = r.Original
		}
	}
	return all
}

func editRecipient(w *world) {
	e := w.entry("a@one.example", "b@one.example", "c@two.example")
	e.Deliveries[0].Next = w.in(time.Hour)
	e.Deliveries[0].Recipients[1].Original = "rfc822;first@one.example"
	w.accept(e)
	w.same("to the same", w.setRecipient("a@one.example", "a@one.example"), queue.Edited{})
	w.same("due", w.dueNames(), []mail.Destination{"two.example"})
	w.same("at the same place", w.setRecipient("a@one.example", "A2@one.example"), queue.Edited{Changed: 1})
	w.same("due", len(w.dueNames()), 2)
	w.same("elsewhere", w.setRecipient("b@one.example", "b@New.example"), queue.Edited{Changed: 1})
	w.same("to a delivery that is there", w.setRecipient("c@two.example", "c@one.example"), queue.Edited{Changed: 1})
	want := map[string]string{
		"A2@one.example": "rfc822;a@one.example", "b@New.example": "rfc822;first@one.example", "c@one.example": "rfc822;c@two.example",
	}
	w.same("original", w.original(e.ID), want)
	w.reopen()
	w.same("original after reopening", w.original(e.ID), want)
	f := w.facts()[0]
	w.same("fact", []any{f.Reason, f.To, f.Text, f.Actor}, []any{mail.ReasonReaddressed, []string{"<a@one.example>"}, "to <A2@one.example>", "operator"})
	w.settle(w.claim("new.example", 1)[0], mail.Delivered)
	w.same("left", len(w.original(e.ID)), 2)
}

// editRecipientLeased: what waits for the lease means the recipient that was
// selected, whoever joins the delivery meanwhile.
func editRecipientLeased(w *world) {
	e := w.entry("a@one.example", "b@two.example")
	e.Deliveries[1].Next = w.in(time.Hour)
	w.accept(e)
	l := w.claimOne("one.example")
	w.same("result", w.setRecipient("a@one.example", "new@one.example"), queue.Edited{Pending: 1})
	hold := queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}
	w.same("hold of the old address", w.edit(queue.Filter{Recipient: "a@one.example"}, hold), queue.Edited{})
	w.same("hold", w.edit(queue.Filter{Where: "destination = one.example"}, hold), queue.Edited{Pending: 1})
	w.same("join", w.edit(queue.Filter{Recipient: "b@two.example"}, queue.Change{Kind: queue.ChangeReroute, Destination: "one.example"}), queue.Edited{Changed: 1})
	w.settle(l, mail.Deferred)
	w.same("states", w.states(e.ID), map[string]mail.State{"new@one.example": mail.Held, "b@two.example": mail.Queued})
}

func editWhere(w *world) {
	old := w.entry("a@one.example", "b@two.example")
	w.accept(old)
	w.clock.Advance(time.Hour)
	young := w.entry("a@one.example")
	w.accept(young)
	done := w.edit(queue.Filter{Where: "age >= 1h and not domain = two.example"}, queue.Change{Kind: queue.ChangeRemove})
	w.same("old ones", done, queue.Edited{Changed: 1})
	w.same("old", w.states(old.ID), map[string]mail.State{"b@two.example": mail.Queued})
	done = w.edit(queue.Filter{Where: "id in (" + string(young.ID) + ")", Recipient: "b@two.example"}, queue.Change{Kind: queue.ChangeRemove})
	w.same("expression and field", done, queue.Edited{})
	done = w.edit(queue.Filter{Where: "id = " + string(young.ID) + " and id = " + string(old.ID)}, queue.Change{Kind: queue.ChangeRemove})
	w.same("what cannot be", done, queue.Edited{})
	_, underWay := w.Store.Editing()
	w.same("an edit is under way", underWay, false)
}

// acceptMany stores n entries with two recipients each.
func (w *world) acceptMany(n int) {
	w.Helper()
	for n > 0 {
		var g queue.Group
		first := w.entry("a@one.example", "b@two.example")
		g.Submissions = []queue.Submission{{Entry: first, Draft: w.draft([]byte("x"))}}
		for len(g.Submissions) < min(n, 500) {
			e := w.entry("a@one.example", "b@two.example")
			e.Body = first.ID
			g.Submissions = append(g.Submissions, queue.Submission{Entry: e})
		}
		n -= len(g.Submissions)
		w.ok(w.Store.Accept(w.ctx, g))
	}
}

func editMany(w *world) {
	const n = 2*queue.EditStep + 7
	w.acceptMany(n)
	done := w.edit(queue.Filter{Destination: "one.example"}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator})
	w.same("result", done, queue.Edited{Changed: n})
	w.same("due", w.dueNames(), []mail.Destination{"two.example"})
	done = w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeRemove})
	w.same("result", done, queue.Edited{Changed: 2 * n})
	w.reopen()
	list, err := w.Store.List(w.ctx, queue.Filter{}, queue.Page{})
	w.ok(err)
	w.same("entries left", len(list), 0)
	w.same("facts", len(w.facts()), 3*n)
}

// editClass gives an entry another class by one of its recipients, while an attempt at
// another is under way: at once, and what the attempt leaves is of that class too.
func editClass(w *world) {
	e := w.entry("a@one.example", "b@one.example", "c@two.example", "d@three.example")
	w.accept(e, w.entry("x@two.example"))
	leases := w.claim("three.example", 1)
	w.ok(w.Store.Release(w.ctx, leases[1:], w.now()))
	classes := func(want map[mail.Class]int) {
		w.Helper()
		w.same("classes", w.Store.Classes(), want)
	}
	classes(map[mail.Class]int{mail.Normal: 5})
	w.same("edited", w.edit(queue.Filter{Recipient: "a@one.example"}, queue.Change{Kind: queue.ChangeClass, Class: mail.Bulk}), queue.Edited{Changed: 1})
	w.same("edited again", w.edit(queue.Filter{Recipient: "a@one.example"}, queue.Change{Kind: queue.ChangeClass, Class: mail.Bulk}), queue.Edited{})
	w.same("of nobody", w.edit(queue.Filter{Recipient: "n@one.example"}, queue.Change{Kind: queue.ChangeClass, Class: mail.Urgent}), queue.Edited{})
	classes(map[mail.Class]int{mail.Normal: 1, mail.Bulk: 4})
	w.settle(leases[0], mail.Deferred)
	classes(map[mail.Class]int{mail.Normal: 1, mail.Bulk: 4})
	facts := w.facts()
	w.same("fact", facts[0], mail.Fact{
		Source: queue.FactSource, N: 1, Time: w.now(), Reason: mail.ReasonReclassified, Message: e.ID,
		From: "<sender@source.example>", To: []string{"<a@one.example>"}, Class: "bulk", Actor: "operator",
	})
	w.reopen()
	classes(map[mail.Class]int{mail.Normal: 1, mail.Bulk: 4})
	w.same("class", w.get(e.ID).Class, mail.Bulk)
	list, err := w.Store.List(w.ctx, queue.Filter{Where: "class = bulk"}, queue.Page{})
	w.ok(err)
	w.same("of the class", len(list), 1)
	w.same("of the lease", w.claim("one.example", 1)[0].Entry.Class, mail.Bulk)
}

func editInvalid(w *world) {
	w.accept(w.entry("a@one.example"))
	for i, c := range []queue.Change{
		{}, {Kind: "forget"}, {Kind: queue.ChangeHold}, {Kind: queue.ChangeReroute},
		{Kind: queue.ChangeRemove, Hold: mail.HoldOperator}, {Kind: queue.ChangeRetry, Destination: "x"}, {Kind: queue.ChangeRecipient},
		{Kind: queue.ChangeRecipient, Recipient: mail.Address{Local: "a"}}, {Kind: queue.ChangeHold, Hold: mail.HoldOperator, Recipient: mail.Address{Local: "a", Domain: "x.example"}},
		{Kind: queue.ChangeClass, Class: 2}, {Kind: queue.ChangeRetry, Class: mail.Urgent},
	} {
		w.Logf("change %d", i)
		_, err := w.Store.Edit(w.ctx, queue.Filter{}, c, "operator")
		w.fails(err, queue.ErrInvalid)
	}
	for i, f := range []queue.Filter{{Where: "age"}, {Sender: "nobody"}, {Recipient: "a@"}, {States: []mail.State{"lost"}}} {
		w.Logf("filter %d", i)
		_, err := w.Store.Edit(w.ctx, f, queue.Change{Kind: queue.ChangeRemove}, "operator")
		w.fails(err, queue.ErrInvalid)
	}
	w.same("due", w.dueNames(), []mail.Destination{"one.example"})
}
