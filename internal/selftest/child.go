package selftest

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// What Accept says of a message, each followed by its id, the first also by
// the SHA-256 of its content.
const (
	saysStored   = "stored"   // it is acknowledged
	saysSettling = "settling" // it is delivered, and to be removed
	saysSettled  = "settled"  // it is removed
)

// The domains to which messages go: what goes to kept stays in the store.
const (
	kept   = "kept.example"
	leaves = "leaves.example"
)

// acceptors is how many accept at once.
const acceptors = 4

// Accept opens the store in a directory, accepts messages of all sizes and
// delivers some of them, until it is killed or ctx ends. Each line on out says
// what is true by then of one message. It fails when the store does, or when
// nobody reads the lines.
func Accept(ctx context.Context, dir string, out io.Writer) (err error) {
	// Small segments and a low threshold set all parts of the store to work.
	store, err := embedded.Open(dir, embedded.Options{InlineSize: 1000, SegmentSize: 1 << 20})
	if err != nil {
		return err
	}
	working, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	w := &worker{store: store, out: out}
	var all sync.WaitGroup
	work := func(do func(context.Context) error) {
		all.Go(func() {
			if err := do(working); err != nil {
				fail(err)
			}
		})
	}
	for i := range acceptors {
		work(func(ctx context.Context) error { return w.acceptAll(ctx, i == 0) })
	}
	work(w.deliverAll)
	<-working.Done()
	all.Wait()
	if ctx.Err() != nil {
		return store.Close()
	}
	return errors.Join(context.Cause(working), store.Close())
}

// worker works on a store, and tells of it.
type worker struct {
	store queue.Store
	ids   mail.IDs

	mu  sync.Mutex
	out io.Writer
}

func (w *worker) say(what string, id mail.ID, more ...any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := fmt.Fprintln(w.out, append([]any{what, id}, more...)...)
	return err
}

// acceptAll accepts messages until ctx ends.
func (w *worker) acceptAll(ctx context.Context, keep bool) error {
	domain := leaves
	if keep {
		domain = kept
	}
	for ctx.Err() == nil {
		content := make([]byte, size(rand.Uint64()))
		_, _ = crand.Read(content) // never fails
		now := time.Now()
		due := now
		if keep {
			due = now.Add(time.Hour)
		}
		e := entry(w.ids.New(now), domain, due)
		if err := accept(ctx, w.store, e, content); err != nil {
			return err
		}
		if err := w.say(saysStored, e.ID, fmt.Sprintf("%x", sha256.Sum256(content))); err != nil {
			return err
		}
	}
	return nil
}

// size makes a size of a random number: most are small, some go to the body
// log, and one in a hundred has a file of its own.
func size(n uint64) int {
	switch kind := n % 100; {
	case kind == 0:
		return 1<<20 + int(n>>32)%(200<<10)
	case kind < 10:
		return int(n>>32) % (50 << 10)
	}
	return int(n>>32) % (8 << 10)
}

// deliverAll delivers what is due until ctx ends.
func (w *worker) deliverAll(ctx context.Context) error {
	for round := 0; ctx.Err() == nil; round++ {
		now := time.Now()
		leases, err := w.store.Claim(ctx, leaves, 20, now, now.Add(time.Hour))
		if err != nil {
			return err
		}
		if len(leases) == 0 {
			select {
			case <-w.store.Wake():
			case <-ctx.Done():
			}
			continue
		}
		// Every tenth round nothing is delivered, and all comes again at once.
		if err := w.settle(ctx, leases, round%10 != 9); err != nil {
			return err
		}
	}
	return nil
}

// settle ends leases in one commit.
func (w *worker) settle(ctx context.Context, leases []queue.Lease, delivered bool) error {
	state := mail.Deferred
	if delivered {
		state = mail.Delivered
	}
	var all []queue.Settlement
	for _, l := range leases {
		now := time.Now()
		all = append(all, queue.Settlement{
			Lease: l, Next: now,
			Outcomes: []mail.Outcome{{State: state, Attempt: l.Attempt(), At: now}},
			Facts:    []mail.Fact{{Time: now, Reason: mail.ReasonFor(state), Message: l.Entry.ID}},
		})
	}
	tell := func(what string) error {
		if !delivered {
			return nil
		}
		for _, l := range leases {
			if err := w.say(what, l.Entry.ID); err != nil {
				return err
			}
		}
		return nil
	}
	if err := tell(saysSettling); err != nil {
		return err
	}
	if err := w.store.Settle(ctx, all); err != nil {
		return err
	}
	return tell(saysSettled)
}
