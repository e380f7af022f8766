package queuetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var loadTests = []test{
	{"load: every recipient ends exactly once", hammer},
	{"load: random operations agree with a model", modelled},
}

// hammer has many goroutines accept, claim, settle and edit at once.
func hammer(w *world) {
	const producers, each = 8, 40
	h := &hammering{world: w, settled: make(map[mail.ID]int), total: producers * each}
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	var workers sync.WaitGroup
	for p := range producers {
		workers.Go(func() { h.produce(ctx, p, each) })
	}
	for c := range 4 {
		workers.Go(func() { h.consume(ctx, rand.New(rand.NewPCG(uint64(c), 1))) })
	}
	workers.Go(func() { h.operate(ctx) })
	workers.Wait()
	w.ok(ctx.Err())
	h.check()
}

type hammering struct {
	*world
	total    int
	accepted atomic.Int64
	finished atomic.Int64

	mu      sync.Mutex
	settled map[mail.ID]int // recipients that came to their end
	failed  error
}

// fail is for goroutines, in which Fatal must not be called.
func (h *hammering) fail(err error) bool {
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.failed = errors.Join(h.failed, err)
	}
	return err != nil
}

func (h *hammering) over(ctx context.Context) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return ctx.Err() != nil || h.failed != nil || h.finished.Load() == int64(h.total)*3
}

func (h *hammering) produce(ctx context.Context, p, n int) {
	for i := range n {
		e := h.entry(fmt.Sprintf("a@d%d.example", i%5), fmt.Sprintf("b@d%d.example", i%5), fmt.Sprintf("c@e%d.example", p))
		d, err := h.Store.Create(ctx)
		if h.fail(err) {
			return
		}
		_, err = d.Write(contentOf(e.ID))
		fact := mail.Fact{Time: h.now(), Reason: mail.ReasonAccepted, Message: e.ID}
		if h.fail(err) || h.fail(h.Store.Accept(ctx, queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: d}}, Facts: []mail.Fact{fact}})) {
			return
		}
		h.accepted.Add(1)
	}
}

func (h *hammering) consume(ctx context.Context, r *rand.Rand) {
	for !h.over(ctx) {
		agenda, err := h.Store.Due(ctx, h.now(), 10)
		if h.fail(err) {
			return
		}
		for _, due := range agenda.Destinations {
			leases, err := h.Store.Claim(ctx, due.Destination, 1+r.IntN(4), h.now(), h.in(time.Hour))
			if h.fail(err) || !h.serve(ctx, r, leases) {
				return
			}
		}
	}
}

// serve ends leases, in one call or one by one, in one way or another.
func (h *hammering) serve(ctx context.Context, r *rand.Rand, leases []queue.Lease) bool {
	var settlements []queue.Settlement
	for _, l := range leases {
		if r.IntN(10) == 0 {
			if h.fail(h.Store.Release(ctx, []queue.Lease{l}, h.now())) {
				return false
			}
			continue
		}
		s := h.settlement(l, mail.Delivered)
		s.Next = h.now()
		if r.IntN(4) == 0 {
			s.Outcomes[0].State = mail.Deferred
		}
		settlements = append(settlements, s)
	}
	step := 1
	if r.IntN(2) == 0 {
		step = len(settlements)
	}
	for len(settlements) > 0 {
		batch := settlements[:step]
		settlements = settlements[step:]
		if h.fail(h.Store.Settle(ctx, batch)) {
			return false
		}
		h.note(batch)
	}
	return true
}

func (h *hammering) note(settlements []queue.Settlement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range settlements {
		for _, o := range s.Outcomes {
			if o.State.Final() {
				h.settled[s.Lease.Entry.ID]++
				h.finished.Add(1)
			}
		}
	}
}

// operate edits and reads while mail moves. Nothing it does ends a recipient.
func (h *hammering) operate(ctx context.Context) {
	for i := 0; !h.over(ctx); i++ {
		f := queue.Filter{Destination: mail.Destination(fmt.Sprintf("d%d.example", i%5))}
		_, err := h.Store.Edit(ctx, f, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}, "operator")
		if h.fail(err) {
			return
		}
		_, err = h.Store.Edit(ctx, queue.Filter{Destination: "e1.example"}, queue.Change{Kind: queue.ChangeReroute, Destination: "d1.example"}, "operator")
		if h.fail(err) {
			return
		}
		_, err = h.Store.List(ctx, f, queue.Page{Limit: 10})
		if h.fail(err) {
			return
		}
		_, err = h.Store.Edit(ctx, queue.Filter{}, queue.Change{Kind: queue.ChangeRelease}, "operator")
		if h.fail(err) {
			return
		}
	}
}

func (h *hammering) check() {
	h.Helper()
	h.ok(h.failed)
	h.same("accepted", h.accepted.Load(), int64(h.total))
	h.same("entries settled", len(h.settled), h.total)
	for id, n := range h.settled {
		if n != 3 {
			h.Fatalf("%d recipients of entry %s ended, want 3", n, id)
		}
	}
	counts, err := h.Store.Count(h.ctx, queue.Filter{})
	h.ok(err)
	h.same("left", counts, map[mail.State]int{})
	h.same("leased", h.Store.Leased(), 0)
	for i, n := range numbers(h.facts()) {
		if n != uint64(i)+1 {
			h.Fatalf("fact %d has number %d", i+1, n)
		}
	}
}
