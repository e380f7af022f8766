package queuetest

import (
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var suspendTests = []test{
	{"suspend: a sender, a domain of senders, the null sender", suspendSenders},
	{"suspend: a sender whose mail is leased", suspendLeased},
	{"suspend: edits go on under a suspension", suspendEdit},
	{"suspend: all delivery", suspendDelivery},
	{"suspend: a class", suspendClass},
	{"suspend: intake is not the store's business", suspendIntake},
}

// mark sets a mark, or lifts it with an empty value.
func (w *world) mark(kind queue.MarkKind, key, value string) {
	w.Helper()
	m := queue.Mark{Kind: kind, Key: key, Value: value, At: w.now(), Actor: "operator"}
	w.ok(w.Store.PutMark(w.ctx, m, w.fact(mail.ReasonMarked, "")))
}

// from accepts an entry to a@one.example from a sender.
func (w *world) from(sender string) queue.Entry {
	w.Helper()
	e := w.entry("a@one.example")
	e.Envelope.From = mail.Address{}
	if sender != "" {
		e.Envelope.From = w.address(sender)
	}
	w.accept(e)
	return e
}

// isDue makes sure, also after a restart, that a number of deliveries are due
// and no others can be claimed.
func (w *world) isDue(what string, n int) {
	w.Helper()
	for range 2 {
		count := 0
		for _, d := range w.due().Destinations {
			count += d.Count
		}
		w.same(what, count, n)
		leases := w.claim("one.example", 100)
		w.same(what+" claimed", len(leases), n)
		w.ok(w.Store.Release(w.ctx, leases, w.now()))
		w.reopen()
	}
}

func suspendSenders(w *world) {
	w.from("Joe@Source.example")
	w.from("")
	w.from("eve@source.example")
	w.isDue("all", 3)
	w.mark(queue.MarkSuspendSender, "joe@source.example", "spam")
	w.isDue("without joe", 2)
	w.from("JOE@source.example") // while it is suspended
	w.isDue("without joe's new mail", 2)
	w.mark(queue.MarkSuspendSender, "@source.example", "spam")
	w.isDue("without the domain", 1)
	w.mark(queue.MarkSuspendSender, "joe@source.example", "")
	w.isDue("joe is of the domain", 1)
	w.mark(queue.MarkSuspendSender, "<>", "loop")
	w.isDue("without reports", 0)
	for range 3 {
		w.clock.Advance(time.Hour)
		w.same("next", w.due(), queue.Agenda{})
	}
	w.mark(queue.MarkSuspendSender, "@source.example", "")
	w.mark(queue.MarkSuspendSender, "<>", "")
	w.isDue("all again", 4)
}

func suspendLeased(w *world) {
	e := w.from("joe@source.example")
	l := w.claimOne("one.example")
	w.same("leased", w.Store.LeasedIn(e.ID), []mail.Destination{"one.example"})
	w.mark(queue.MarkSuspendSender, "joe@source.example", "spam")
	w.settle(l, mail.Deferred)
	w.same("leased", len(w.Store.LeasedIn(e.ID)), 0)
	w.clock.Advance(2 * time.Hour)
	w.isDue("while it is suspended", 0)
	w.mark(queue.MarkSuspendSender, "joe@source.example", "")
	w.isDue("later", 1)
	w.mark(queue.MarkSuspendSender, "joe@source.example", "spam")
	w.settleHeld(e.ID)
	w.mark(queue.MarkSuspendSender, "joe@source.example", "") // nobody is left to let go
	w.gone(e.ID)
}

// settleHeld removes an entry by hand.
func (w *world) settleHeld(id mail.ID) {
	w.Helper()
	w.same("removed", w.edit(queue.Filter{IDs: []mail.ID{id}}, queue.Change{Kind: queue.ChangeRemove}), queue.Edited{Changed: 1})
}

func suspendEdit(w *world) {
	e := w.from("joe@source.example")
	w.mark(queue.MarkSuspendSender, "joe@source.example", "spam")
	w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator})
	w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Held})
	w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeRelease})
	w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeReroute, Destination: "two.example"})
	w.same("due", len(w.dueNames()), 0)
	w.mark(queue.MarkSuspendSender, "joe@source.example", "")
	w.same("due", w.dueNames(), []mail.Destination{"two.example"})
}

func suspendDelivery(w *world) {
	w.from("joe@source.example")
	w.mark(queue.MarkSuspendDelivery, queue.All, "restored")
	w.from("eve@source.example")
	w.isDue("while delivery is suspended", 0)
	w.same("agenda", w.due(), queue.Agenda{})
	w.suspend("one.example", "broken")
	w.mark(queue.MarkSuspendDelivery, queue.All, "")
	w.isDue("while the destination is", 0)
	w.suspend("one.example", "")
	w.isDue("all", 2)
}

func suspendClass(w *world) {
	w.from("joe@source.example")
	e := w.entry("a@one.example")
	e.Class = mail.Bulk
	w.accept(e)
	w.mark(queue.MarkSuspendClass, "bulk", "later")
	w.isDue("without bulk", 1)
	more := w.entry("b@one.example")
	more.Class = mail.Bulk
	w.accept(more)
	w.isDue("without new bulk", 1)
	w.edit(queue.Filter{IDs: []mail.ID{e.ID}}, queue.Change{Kind: queue.ChangeClass, Class: mail.Urgent})
	w.isDue("with what is not bulk any more", 2)
	w.edit(queue.Filter{IDs: []mail.ID{e.ID}}, queue.Change{Kind: queue.ChangeClass, Class: mail.Bulk})
	w.isDue("without what is bulk again", 1)
	w.mark(queue.MarkSuspendClass, "no class", "which suspends nothing")
	w.isDue("the same", 1)
	w.mark(queue.MarkSuspendClass, "bulk", "")
	w.isDue("all", 3)
}

func suspendIntake(w *world) {
	w.mark(queue.MarkSuspendIntake, queue.All, "moving")
	w.from("joe@source.example")
	w.isDue("all", 1)
	marks, err := w.Store.ListMarks(w.ctx, queue.MarkSuspendIntake)
	w.ok(err)
	w.same("marks", len(marks), 1)
}
