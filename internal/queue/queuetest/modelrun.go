package queuetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// modelled does random operations on the store and on the model, and compares
// them after each.
func modelled(w *world) {
	const steps = 400
	for seed := range uint64(cmp.Or(w.Seeds, 8)) {
		w.Logf("seed %d", seed)
		r := &modelRun{world: w, random: rand.New(rand.NewPCG(seed, 0)), model: newModel(w.now()), leases: make(map[uint64]grant)}
		for i := range steps {
			r.step()
			r.model.forget()
			r.compare()
			if i%5 == 0 {
				r.compareStates()
			}
		}
		w.resumeAll()
		w.reopen() // without leases, so that everything can be removed
		w.edit(queue.Filter{}, queue.Change{Kind: queue.ChangeRemove})
	}
}

type modelRun struct {
	*world
	random *rand.Rand
	model  *model
	leases map[uint64]grant
}

// grant is a lease of the store and the model's delivery that it is for.
type grant struct {
	lease    queue.Lease
	delivery *modelDelivery
	granted  *modelLease
}

func (l grant) held() bool { return l.delivery.lease == l.granted }

const modelDestinations = 4

func destination(i int) mail.Destination { return mail.Destination(fmt.Sprintf("d%d.example", i)) }

func (w *world) resumeAll() {
	for i := range modelDestinations {
		w.suspend(destination(i), "")
	}
	for _, sender := range modelSenders {
		w.mark(queue.MarkSuspendSender, sender, "")
	}
	for _, class := range mail.Classes {
		w.mark(queue.MarkSuspendClass, class.String(), "")
	}
	w.mark(queue.MarkSuspendDelivery, queue.All, "")
}

var modelSenders = []string{"joe@source.example", "eve@source.example"}

func (r *modelRun) someDestination() mail.Destination {
	return destination(r.random.IntN(modelDestinations))
}

func (r *modelRun) someTime() time.Duration {
	return time.Duration(r.random.IntN(100)) * time.Second
}

func (r *modelRun) step() {
	switch n := r.random.IntN(100); {
	case n < 25:
		r.accept()
	case n < 45:
		r.claim()
	case n < 60:
		r.settle()
	case n < 64:
		r.release()
	case n < 68:
		r.regroup()
	case n < 74:
		r.renew()
	case n < 84:
		r.clock.Advance(r.someTime())
		r.model.advance(r.now())
	case n < 94:
		r.edit()
	case n < 97:
		r.toggle()
	default:
		r.reopen()
		r.model.restart()
		r.adopt()
	}
}

// toggle suspends something, or resumes it. All delivery is suspended more
// rarely than the rest, or nothing else would be seen.
func (r *modelRun) toggle() {
	value := func(suspended bool) string { return map[bool]string{true: "yes"}[suspended] }
	switch r.random.IntN(5) {
	case 4:
		class := mail.Classes[r.random.IntN(len(mail.Classes))]
		r.model.classes[class] = !r.model.classes[class]
		r.mark(queue.MarkSuspendClass, class.String(), value(r.model.classes[class]))
	case 0:
		r.model.stopped = !r.model.stopped
		r.mark(queue.MarkSuspendDelivery, queue.All, value(r.model.stopped))
	case 1:
		sender := modelSenders[r.random.IntN(len(modelSenders))]
		r.model.senders[sender] = !r.model.senders[sender]
		r.mark(queue.MarkSuspendSender, sender, value(r.model.senders[sender]))
	default:
		d := r.someDestination()
		r.model.suspended[d] = !r.model.suspended[d]
		r.suspend(d, value(r.model.suspended[d]))
	}
	if r.model.stopped && r.random.IntN(2) == 0 {
		r.model.stopped = false
		r.mark(queue.MarkSuspendDelivery, queue.All, "")
	}
}

func (r *modelRun) accept() {
	var to []string
	for i := range 1 + r.random.IntN(4) {
		to = append(to, fmt.Sprintf("r%d@%s", i, r.someDestination()))
	}
	e := r.entry(to...)
	e.Class = mail.Class(r.random.IntN(3) - 1)
	e.Envelope.From = r.address(modelSenders[r.random.IntN(len(modelSenders))])
	for i := range e.Deliveries {
		e.Deliveries[i].Next = r.in(r.someTime() - 50*time.Second)
		for j := range e.Deliveries[i].Recipients {
			if rcpt := &e.Deliveries[i].Recipients[j]; r.random.IntN(6) == 0 {
				rcpt.State, rcpt.Hold = mail.Held, mail.HoldPolicy
			}
		}
	}
	r.world.accept(e)
	r.model.accept(e)
}

func (r *modelRun) claim() {
	d, n, until := r.someDestination(), r.random.IntN(4), r.in(r.someTime()+time.Second)
	leases, err := r.Store.Claim(r.ctx, d, n, r.now(), until)
	r.ok(err)
	want := r.model.claim(d, n, until)
	r.same("number of leases", len(leases), len(want))
	for i, l := range leases {
		var to, wantTo []string
		for _, rcpt := range l.Delivery().Recipients {
			to = append(to, rcpt.Address.String())
		}
		for _, rcpt := range want[i].lease.recipients {
			wantTo = append(wantTo, rcpt.address)
		}
		r.same("entry", l.Entry.ID, want[i].entry.id)
		r.same("destination", l.Delivery().Destination, want[i].destination)
		r.same("attempt", l.Attempt(), want[i].attempts)
		r.same("recipients", to, wantTo)
		r.leases[l.Token] = grant{l, want[i], want[i].lease}
	}
}

// someLeases takes up to n leases out of those ever claimed.
func (r *modelRun) someLeases(n int) []grant {
	tokens := make([]uint64, 0, len(r.leases))
	for token := range r.leases {
		tokens = append(tokens, token)
	}
	// Tokens begin anywhere; their order of age is that of the time in
	// which they were given.
	slices.SortFunc(tokens, func(a, b uint64) int {
		x, y := r.leases[a], r.leases[b]
		return cmp.Or(x.granted.until.Compare(y.granted.until), cmp.Compare(x.lease.Entry.ID, y.lease.Entry.ID),
			cmp.Compare(x.lease.Delivery().Destination, y.lease.Delivery().Destination), cmp.Compare(x.lease.Attempt(), y.lease.Attempt()))
	})
	r.random.Shuffle(len(tokens), func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
	var some []grant
	for _, token := range tokens[:min(n, len(tokens))] {
		some = append(some, r.leases[token])
		delete(r.leases, token)
	}
	return some
}

func (r *modelRun) settle() {
	leases := r.someLeases(1 + r.random.IntN(3))
	var settlements []queue.Settlement
	var fenced error
	for _, l := range leases {
		var states []mail.State
		for range l.lease.Delivery().Recipients {
			states = append(states, []mail.State{mail.Delivered, mail.Deferred, mail.Bounced}[r.random.IntN(3)])
		}
		s := r.settlement(l.lease, states...)
		s.Next = r.in(r.someTime())
		settlements = append(settlements, s)
		if !l.held() {
			fenced = queue.ErrFenced
		}
	}
	r.same("error of settle", r.Store.Settle(r.ctx, settlements) != nil, fenced != nil)
	var repeated []queue.Settlement
	r.settleModel(leases, settlements)
	for i, l := range leases {
		if l.delivery.lease == nil && l.granted.recipients == nil {
			repeated = append(repeated, settlements[i])
		}
	}
	r.ok(r.Store.Settle(r.ctx, repeated))
}

// settleModel applies all outcomes before what was pending: one call is one
// change of each entry.
func (r *modelRun) settleModel(leases []grant, settlements []queue.Settlement) {
	var ended []*modelDelivery
	for i, l := range leases {
		if !l.held() {
			continue
		}
		var states []mail.State
		for _, o := range settlements[i].Outcomes {
			states = append(states, o.State)
		}
		r.model.settle(l.delivery, states, settlements[i].Next)
		ended = append(ended, l.delivery)
		l.granted.recipients = nil // marks it as settled
	}
	slices.SortStableFunc(ended, func(a, b *modelDelivery) int { return cmp.Compare(a.entry.id, b.entry.id) })
	r.model.end(ended...)
}

func (r *modelRun) release() {
	next := r.in(r.someTime())
	for _, l := range r.someLeases(1) { // of several, the order would matter
		r.ok(r.Store.Release(r.ctx, []queue.Lease{l.lease}, next))
		if l.held() {
			r.model.release(l.delivery, next)
		}
	}
}

func (r *modelRun) regroup() {
	some := r.someLeases(1 + r.random.IntN(3))
	var moves []queue.Move
	var held []modelMove
	for _, l := range some {
		var to []mail.Destination
		for range l.lease.Delivery().Recipients {
			to = append(to, r.someDestination())
		}
		moves = append(moves, queue.Move{Lease: l.lease, To: to})
		if l.held() {
			held = append(held, modelMove{l.delivery, to})
		}
	}
	r.ok(r.Store.Regroup(r.ctx, moves))
	slices.SortStableFunc(held, func(a, b modelMove) int { return cmp.Compare(a.delivery.entry.id, b.delivery.entry.id) })
	r.model.regroup(held)
}

func (r *modelRun) renew() {
	some := r.someLeases(2)
	until := r.in(r.someTime() + time.Second)
	var leases []queue.Lease
	lost := false
	for _, l := range some {
		leases = append(leases, l.lease)
		if l.held() {
			l.granted.until = until
			r.leases[l.lease.Token] = l
		} else {
			lost = true
		}
	}
	r.same("error of renew", r.Store.Renew(r.ctx, leases, until) != nil, lost)
}

func (r *modelRun) edit() {
	kinds := []queue.ChangeKind{queue.ChangeHold, queue.ChangeRelease, queue.ChangeRelease, queue.ChangeRemove, queue.ChangeRetry, queue.ChangeReroute, queue.ChangeReroute, queue.ChangeClass}
	c := change(kinds[r.random.IntN(len(kinds))])
	if c.Kind == queue.ChangeClass {
		c.Class = mail.Classes[r.random.IntN(len(mail.Classes))]
	}
	if c.Kind == queue.ChangeReroute {
		c.Destination = r.someDestination()
	}
	at := r.someDestination()
	done := r.world.edit(queue.Filter{Destination: at}, c)
	r.same("result of edit", done, r.model.edit(at, c))
}

// adopt takes over the attempts that survived a restart: registering one
// needs no sync.
func (r *modelRun) adopt() {
	for _, e := range r.model.entries {
		stored := r.get(e.id)
		for _, d := range stored.Deliveries {
			want := e.delivery(d.Destination, r.now())
			if d.Attempts > want.attempts {
				r.Fatalf("%d attempts after reopening, %d before", d.Attempts, want.attempts)
			}
			want.attempts = d.Attempts
		}
	}
}

func (r *modelRun) compare() {
	r.Helper()
	r.same("agenda", r.due(), r.model.due())
	counts, err := r.Store.Count(r.ctx, queue.Filter{})
	r.ok(err)
	wantCounts := make(map[mail.State]int)
	leased := 0
	for _, d := range r.model.all() {
		for _, rcpt := range d.recipients {
			wantCounts[rcpt.state]++
		}
		if d.lease != nil {
			leased++
		}
	}
	r.same("counts", counts, wantCounts)
	r.same("leased", r.Store.Leased(), leased)
	classes := make(map[mail.Class]int)
	for _, d := range r.model.all() {
		if n := len(d.waiting()); n > 0 {
			classes[d.entry.class] += n
		}
	}
	r.same("classes", r.Store.Classes(), classes)
}

func (r *modelRun) compareStates() {
	r.Helper()
	for _, e := range r.model.entries {
		want := make(map[string]mail.State)
		for _, d := range e.deliveries {
			for _, rcpt := range d.recipients {
				want[rcpt.address] = rcpt.state
			}
		}
		r.same("states", r.states(e.id), want)
		r.same("class", r.get(e.id).Class, e.class)
	}
}
