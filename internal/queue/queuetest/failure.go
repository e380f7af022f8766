package queuetest

import (
	"context"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var failureTests = []test{
	{"closed: everything says so", closed},
	{"accept whose outcome is unknown", acceptUnknown},
	{"settle whose outcome is unknown", settleUnknown},
	{"an edit that was cut short is finished at reopening", editInterrupted},
}

// attempts at every method that can fail.
func (w *world) everyMethod(e queue.Entry, l queue.Lease) map[string]error {
	errs := make(map[string]error)
	_, errs["Create"] = w.Store.Create(w.ctx)
	_, errs["Due"] = w.Store.Due(w.ctx, w.now(), 1)
	_, errs["Claim"] = w.Store.Claim(w.ctx, "one.example", 1, w.now(), w.in(leaseTime))
	_, errs["Edit"] = w.Store.Edit(w.ctx, queue.Filter{}, queue.Change{Kind: queue.ChangeRemove}, "operator")
	_, errs["Get"] = w.Store.Get(w.ctx, e.ID)
	_, errs["List"] = w.Store.List(w.ctx, queue.Filter{}, queue.Page{})
	_, errs["Count"] = w.Store.Count(w.ctx, queue.Filter{})
	_, errs["Body"] = w.Store.Body(w.ctx, e.ID)
	_, errs["Damaged"] = w.Store.Damaged(w.ctx, queue.Page{})
	_, errs["NextFacts"] = w.Store.NextFacts(w.ctx, 0, 1)
	_, errs["Mark"] = w.Store.Mark(w.ctx, queue.MarkSuspend, "x")
	_, errs["ListMarks"] = w.Store.ListMarks(w.ctx, queue.MarkSuspend)
	errs["Accept"] = w.Store.Accept(w.ctx, queue.Group{Facts: []mail.Fact{w.fact(mail.ReasonRefused, "")}})
	errs["Renew"] = w.Store.Renew(w.ctx, []queue.Lease{l}, w.in(leaseTime))
	errs["Release"] = w.Store.Release(w.ctx, []queue.Lease{l}, w.now())
	errs["Settle"] = w.Store.Settle(w.ctx, []queue.Settlement{w.settlement(l, mail.Delivered)})
	errs["ForgetFacts"] = w.Store.ForgetFacts(w.ctx, 1)
	errs["PutMark"] = w.Store.PutMark(w.ctx, queue.Mark{Kind: "k", Key: "x", Value: "y"}, w.fact(mail.ReasonMarked, ""))
	return errs
}

func closed(w *world) {
	e := w.entry("a@one.example")
	w.accept(e)
	l := w.claimOne("one.example")
	w.ok(w.Store.Close())
	for method, err := range w.everyMethod(e, l) {
		w.Log(method)
		w.fails(err, queue.ErrClosed)
	}
	w.ok(w.Store.Close()) // again: nothing happens
	w.reopen()
	w.settle(w.claimOne("one.example"), mail.Delivered)
}

func (w *world) failCommit(n int) {
	w.Helper()
	if w.FailCommit == nil {
		w.Skip("the commits of this store cannot be made to fail")
	}
	w.FailCommit(n)
}

func acceptUnknown(w *world) {
	before, e := w.entry("a@one.example"), w.entry("b@two.example")
	w.accept(before)
	l := w.claimOne("one.example")
	draft := w.draft([]byte("content"))
	w.failCommit(1)
	err := w.Store.Accept(w.ctx, queue.Group{
		Submissions: []queue.Submission{{Entry: e, Draft: draft}}, Facts: []mail.Fact{w.fact(mail.ReasonAccepted, e.ID)},
	})
	w.fails(err, queue.ErrUnknown)
	for method, err := range w.everyMethod(before, l) {
		w.Log(method)
		w.fails(err, queue.ErrUnknown)
	}
	w.reopen()
	w.same("what was there before", w.content(before.ID), contentOf(before.ID))
	stored := len(w.states(e.ID)) == 1
	w.same("facts", len(w.facts()) == 1, stored)
	if _, err := w.Store.Body(w.ctx, e.ID); stored {
		w.ok(err)
	} else {
		w.fails(err, queue.ErrNotFound)
	}
	w.settle(w.claimOne("one.example"), mail.Delivered)
}

func settleUnknown(w *world) {
	e := w.entry("a@one.example", "b@one.example")
	w.accept(e)
	report := w.entry("sender@source.example")
	s := w.settlement(w.claimOne("one.example"), mail.Delivered, mail.Bounced)
	s.New = []queue.Submission{{Entry: report, Draft: w.draft([]byte("report"))}}
	s.Facts = []mail.Fact{w.fact(mail.ReasonDelivered, e.ID)}
	w.failCommit(1)
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{s}), queue.ErrUnknown)
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{s}), queue.ErrUnknown)
	w.reopen()
	settled := len(w.states(e.ID)) == 0
	w.same("the report is there", len(w.states(report.ID)) == 1, settled)
	w.same("facts", len(w.facts()) == 1, settled)
	want := mail.Destination("one.example")
	if settled {
		want = "source.example"
	}
	w.settle(w.claimOne(want), mail.Delivered)
}

// editInterrupted fails the second commit of an edit of three steps. It goes
// on with the ages of its beginning.
func editInterrupted(w *world) {
	const n = 2*queue.EditStep + 1
	w.acceptMany(n)
	leased := w.claim("one.example", 1)
	w.same("claimed", len(leased), 2)
	w.failCommit(2)
	_, err := w.Store.Edit(w.ctx, queue.Filter{Where: "destination = one.example and age < 1h"}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}, "operator")
	w.fails(err, queue.ErrUnknown)
	w.clock.Advance(2 * time.Hour)
	w.reopen()
	w.checkInterrupted(n)
	w.reopen() // the edit is over
	w.checkInterrupted(n)
	w.clock.Advance(time.Hour)
	w.same("due", w.dueNames(), []mail.Destination{"two.example"})
}

func (w *world) checkInterrupted(n int) {
	w.Helper()
	counts, err := w.Store.Count(context.Background(), queue.Filter{Destination: "one.example"})
	w.ok(err)
	w.same("held", counts, map[mail.State]int{mail.Held: n})
	held := make(map[mail.ID]int)
	for _, f := range w.facts() {
		held[f.Message]++
	}
	w.same("entries with facts", len(held), n)
	for id, facts := range held {
		if facts != 1 {
			w.Fatalf("entry %s has %d facts, want 1", id, facts)
		}
	}
}
