package queuetest

import (
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var settleTests = []test{
	{"settle: each recipient by its outcome", settleOutcomes},
	{"settle: every final state leaves the queue", settleFinal},
	{"settle: the last recipient takes the entry and its body along", settleLast},
	{"settle: repeating it is a no-op", settleTwice},
	{"settle: what is fenced is left out, all else is done", settleFenced},
	{"settle: a report and a dead letter", settleNew},
	{"settle: the new entry may name a body whose last entry goes", settleBody},
	{"settle refuses what breaks the contract, and does nothing", settleInvalid},
	{"settle: deferred stays deferred", settleDeferred},
	{"settle: siblings in one call", settleSiblings},
	{"settle: who was warned of stays so, whatever comes", settleWarned},
}

func settleOutcomes(w *world) {
	e := w.entry("a@one.example", "b@one.example", "c@one.example", "d@two.example")
	w.accept(e)
	leases := w.claim("one.example", 1)
	s := w.settlement(leases[0], mail.Delivered, mail.Deferred, mail.Bounced)
	s.Facts = []mail.Fact{w.fact(mail.ReasonDelivered, e.ID), w.fact(mail.ReasonDeferred, e.ID)}
	w.ok(w.Store.Settle(w.ctx, []queue.Settlement{s}))
	check := func() {
		w.Helper()
		w.same("states", w.states(e.ID), map[string]mail.State{"b@one.example": mail.Deferred, "d@two.example": mail.Queued})
		d := w.get(e.ID).Deliveries[0]
		w.same("next", d.Next, w.in(time.Hour))
		w.same("attempts", d.Attempts, 1)
		w.same("last outcome", d.Recipients[0].Last, &s.Outcomes[1])
		w.same("facts", len(w.facts()), 2)
	}
	check()
	w.reopen()
	check()
}

func settleFinal(w *world) {
	for _, state := range mail.States {
		if !state.Final() {
			continue
		}
		e := w.entry("a@one.example")
		w.accept(e)
		w.settle(w.claimOne("one.example"), state)
		w.gone(e.ID)
	}
}

func settleLast(w *world) {
	small, large := w.entry("a@one.example"), w.entry("b@two.example")
	w.accept(small)
	w.ok(w.Store.Accept(w.ctx, queue.Group{Submissions: []queue.Submission{{Entry: large, Draft: w.draft(largeContent(1 << 20))}}}))
	w.settle(w.claimOne("one.example"), mail.Delivered)
	w.settle(w.claimOne("two.example"), mail.Delivered)
	check := func() {
		w.Helper()
		for _, id := range []mail.ID{small.ID, large.ID} {
			w.gone(id)
			_, err := w.Store.Body(w.ctx, id)
			w.fails(err, queue.ErrNotFound)
		}
		w.same("agenda", w.due(), queue.Agenda{})
		counts, err := w.Store.Count(w.ctx, queue.Filter{})
		w.ok(err)
		w.same("count", counts, map[mail.State]int{})
	}
	check()
	w.reopen()
	check()
}

func settleTwice(w *world) {
	e := w.entry("a@one.example", "b@one.example")
	w.accept(e)
	s := w.settlement(w.claimOne("one.example"), mail.Delivered, mail.Deferred)
	report := w.entry("sender@source.example")
	s.New = []queue.Submission{{Entry: report, Draft: w.draft([]byte("report"))}}
	s.Facts = []mail.Fact{w.fact(mail.ReasonDelivered, e.ID)}
	for range 3 {
		w.ok(w.Store.Settle(w.ctx, []queue.Settlement{s}))
	}
	w.same("facts", len(w.facts()), 1)
	w.same("states", w.states(e.ID), map[string]mail.State{"b@one.example": mail.Deferred})
	w.settle(w.claimOne("source.example"), mail.Delivered)
	w.gone(report.ID)
	w.ok(w.Store.Settle(w.ctx, []queue.Settlement{s}))
	w.gone(report.ID)
}

func settleFenced(w *world) {
	lost, good := w.entry("a@one.example"), w.entry("b@two.example")
	w.accept(lost, good)
	l := w.claimOne("one.example")
	w.clock.Advance(leaseTime)
	settlements := []queue.Settlement{w.settlement(l, mail.Delivered), w.settlement(w.claimOne("two.example"), mail.Delivered)}
	report := w.entry("sender@source.example")
	settlements[0].New = []queue.Submission{{Entry: report, Draft: w.draft([]byte("report"))}}
	settlements[0].Facts = []mail.Fact{w.fact(mail.ReasonDelivered, lost.ID)}
	settlements[1].Facts = []mail.Fact{w.fact(mail.ReasonDelivered, good.ID)}
	w.fails(w.Store.Settle(w.ctx, settlements), queue.ErrFenced)
	w.gone(good.ID)
	w.gone(report.ID)
	w.same("states", w.states(lost.ID), map[string]mail.State{"a@one.example": mail.Queued})
	facts := w.facts()
	if len(facts) != 1 || facts[0].Message != good.ID {
		w.Fatalf("facts are %v, want that of the lease that was held", facts)
	}
	w.same("due", w.dueNames(), []mail.Destination{"one.example"})
}

func settleNew(w *world) {
	e := w.entry("a@one.example", "b@one.example")
	w.accept(e)
	s := w.settlement(w.claimOne("one.example"), mail.Bounced, mail.Dead)
	report, dead := w.entry("sender@source.example"), held(w.entry("b@one.example"), mail.HoldDeadLetter)
	report.Envelope.From = mail.Address{}
	dead.Body = e.Body
	if dead.Body == "" {
		dead.Body = s.Lease.Entry.Body
	}
	s.New = []queue.Submission{{Entry: report, Draft: w.draft([]byte("report"))}, {Entry: dead}}
	w.ok(w.Store.Settle(w.ctx, []queue.Settlement{s}))
	check := func() {
		w.Helper()
		w.gone(e.ID)
		w.same("report", w.content(report.ID), []byte("report"))
		w.same("dead letter", w.content(e.ID), contentOf(e.ID))
		w.same("dead letter's state", w.states(dead.ID), map[string]mail.State{"b@one.example": mail.Held})
		w.same("due", w.dueNames(), []mail.Destination{"source.example"})
	}
	check()
	w.reopen()
	check()
	w.edit(queue.Filter{IDs: []mail.ID{dead.ID}}, queue.Change{Kind: queue.ChangeRemove})
	_, err := w.Store.Body(w.ctx, e.ID)
	w.fails(err, queue.ErrNotFound)
}

// settleBody settles two entries at once; the new entry of the one names the
// body that the other's end would take away.
func settleBody(w *world) {
	one, two := w.entry("a@one.example"), w.entry("b@two.example")
	w.accept(one, two)
	settlements := []queue.Settlement{w.settlement(w.claimOne("one.example"), mail.Delivered), w.settlement(w.claimOne("two.example"), mail.Dead)}
	dead := held(w.entry("b@two.example"), mail.HoldDeadLetter)
	dead.Body = one.ID
	settlements[1].New = []queue.Submission{{Entry: dead}}
	w.ok(w.Store.Settle(w.ctx, settlements))
	w.same("content", w.content(one.ID), contentOf(one.ID))
	_, err := w.Store.Body(w.ctx, two.ID)
	w.fails(err, queue.ErrNotFound)
}

func settleInvalid(w *world) {
	e, other := w.entry("a@one.example", "b@one.example"), w.entry("c@two.example")
	w.accept(e, other)
	l, l2 := w.claimOne("one.example"), w.claimOne("two.example")
	spoil := map[string]func(s *queue.Settlement){
		"too few outcomes":            func(s *queue.Settlement) { s.Outcomes = s.Outcomes[:1] },
		"too many outcomes":           func(s *queue.Settlement) { s.Outcomes = append(s.Outcomes, s.Outcomes[0]) },
		"unknown state":               func(s *queue.Settlement) { s.Outcomes[1].State = "lost" },
		"queued again":                func(s *queue.Settlement) { s.Outcomes[1].State = mail.Queued },
		"held, for no reason":         func(s *queue.Settlement) { s.Outcomes[1].State = mail.Held },
		"deferred, no time":           func(s *queue.Settlement) { s.Next = time.Time{} },
		"fact without reason":         func(s *queue.Settlement) { s.Facts = []mail.Fact{{}} },
		"new entry is invalid":        func(s *queue.Settlement) { s.New = []queue.Submission{{Entry: queue.Entry{ID: "x"}}} },
		"new entry is stored":         func(s *queue.Settlement) { s.New = []queue.Submission{{Entry: other, Draft: w.draft([]byte("x"))}} },
		"warned of nobody":            func(s *queue.Settlement) { s.Warned = []int{2} },
		"warned of a final recipient": func(s *queue.Settlement) { s.Warned = []int{0} },
		"fewer recipients than leased": func(s *queue.Settlement) {
			s.Outcomes = s.Outcomes[:1]
			s.Lease.Entry = s.Lease.Entry.Clone()
			s.Lease.Delivery().Recipients = s.Lease.Delivery().Recipients[:1]
		},
	}
	for name, f := range spoil {
		s := w.settlement(l, mail.Delivered, mail.Deferred)
		f(&s)
		w.Log(name)
		w.fails(w.Store.Settle(w.ctx, []queue.Settlement{w.settlement(l2, mail.Delivered), s}), queue.ErrInvalid)
	}
	twice := w.settlement(l, mail.Delivered)
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{twice, twice}), queue.ErrInvalid)
	unknown := w.settlement(l, mail.Delivered)
	dead := held(w.entry("a@one.example"), mail.HoldDeadLetter)
	dead.Body = w.ids.New(w.now())
	unknown.New = []queue.Submission{{Entry: dead}}
	w.fails(w.Store.Settle(w.ctx, []queue.Settlement{unknown}), queue.ErrNotFound)

	w.same("facts", w.facts(), []mail.Fact(nil))
	w.same("leased", w.Store.Leased(), 2)
	w.clock.Advance(leaseTime - 1)
	w.settle(l, mail.Delivered) // the leases are still good
	w.settle(l2, mail.Delivered)
}

func settleDeferred(w *world) {
	e := w.entry("a@one.example")
	w.accept(e)
	for attempt := 1; attempt < 6; attempt++ {
		l := w.claimOne("one.example")
		w.same("attempt", l.Attempt(), attempt)
		w.settle(l, mail.Deferred)
		w.same("states", w.states(e.ID), map[string]mail.State{"a@one.example": mail.Deferred})
		w.same("agenda", w.due(), queue.Agenda{Next: w.in(time.Hour)})
		if attempt == 3 {
			w.reopen()
		}
		w.clock.Advance(time.Hour)
	}
}

func settleSiblings(w *world) {
	e := w.entry("a@one.example", "b@two.example", "c@zulu.example")
	w.accept(e)
	leases := w.claim("one.example", 1)
	w.ok(w.Store.Settle(w.ctx, []queue.Settlement{
		w.settlement(leases[2], mail.Delivered), w.settlement(leases[0], mail.Bounced), w.settlement(leases[1], mail.Deferred),
	}))
	w.same("states", w.states(e.ID), map[string]mail.State{"b@two.example": mail.Deferred})
	w.clock.Advance(time.Hour)
	w.settle(w.claimOne("two.example"), mail.Relayed)
	w.gone(e.ID)
}

func settleWarned(w *world) {
	e := w.entry("a@one.example", "b@one.example")
	w.accept(e)
	s := w.settlement(w.claimOne("one.example"), mail.Deferred)
	s.Warned = []int{1}
	w.ok(w.Store.Settle(w.ctx, []queue.Settlement{s}))
	warned := w.now()
	check := func(of queue.Entry) {
		w.Helper()
		recipients := of.Deliveries[0].Recipients
		w.same("first is warned of", recipients[0].Warned.IsZero(), true)
		w.same("second is warned of", recipients[1].Warned, warned)
	}
	check(w.get(e.ID))
	w.reopen()
	check(w.get(e.ID))
	w.clock.Advance(time.Hour)
	l := w.claimOne("one.example")
	check(l.Entry)
	w.settle(l, mail.Deferred) // says nothing of a warning
	check(w.get(e.ID))
	for _, kind := range []queue.ChangeKind{queue.ChangeHold, queue.ChangeRelease, queue.ChangeReroute} {
		w.edit(queue.Filter{}, change(kind))
		check(w.get(e.ID))
	}
	check(w.claimOne("other.example").Entry)
}
