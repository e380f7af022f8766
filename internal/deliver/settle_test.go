package deliver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

// TestLeaseLostBeforeDot: whoever has lost the lease does not end the message,
// so that nobody gets it twice.
func TestLeaseLostBeforeDot(t *testing.T) {
	reached, proceed, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		c.Play(hello + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA")
		close(reached)
		<-proceed
		c.Play("S: 354 go on\nCLOSED") // a final dot would bring the message here
		close(closed)
	}})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	receive(t, "the peer is asked for DATA", reached)
	other := h.claimElsewhere("one.example")
	close(proceed)
	receive(t, "the connection is closed", closed)
	h.finish()
	h.wantFacts(id)
	h.wantStates(id, "a@one.example queued 2")
	h.settleElsewhere(other)
}

// claimElsewhere lets the time of all leases pass, and claims a destination
// as another deliverer would.
func (h *harness) claimElsewhere(d mail.Destination) []queue.Lease {
	h.Helper()
	h.clock.Advance(lease)
	now := h.clock.Now()
	leases, err := h.store.Claim(h.Context(), d, 10, now, now.Add(lease))
	if err != nil || len(leases) != 1 {
		h.Fatalf("%d leases, %v", len(leases), err)
	}
	return leases
}

// settleElsewhere shows that the other deliverer's leases are whole.
func (h *harness) settleElsewhere(leases []queue.Lease) {
	h.Helper()
	err := h.store.Memory.Settle(context.Background(), []queue.Settlement{{Lease: leases[0], Outcomes: []mail.Outcome{{State: mail.Delivered}}}})
	if err != nil {
		h.Error(err)
	}
}

// TestLeaseLostAfterDot: the message went out, but what became of it is for
// the new holder of the lease to say.
func TestLeaseLostAfterDot(t *testing.T) {
	for name, reply := range map[string]string{"delivered": "250 ok", "bounced": "550 5.7.1 no"} {
		t.Run(name, func(t *testing.T) {
			reached, proceed := make(chan struct{}), make(chan struct{})
			peer := answering(t, func(line string) string {
				if line != "." {
					return ""
				}
				close(reached)
				<-proceed
				return reply
			})
			h := start(t, routes{"": to("site", peer.Addr())}, Options{})
			id := h.submit("joe@sender.example", "a@one.example")
			receive(t, "the message is there", reached)
			other := h.claimElsewhere("one.example")
			close(proceed)
			h.finish()
			h.wantFacts(id)
			h.wantOnly(id)
			if created, discarded := h.store.discarded(); created != discarded {
				t.Errorf("%d drafts, %d of them discarded", created, discarded)
			}
			h.settleElsewhere(other)
		})
	}
}

// TestKeeperAfterStep: a lease that was lost because somebody had looked at the
// clock before it was set back is known to be lost before the final dot.
func TestKeeperAfterStep(t *testing.T) {
	h := newHarness(t, routes{}, Options{})
	h.submit("joe@sender.example", "a@one.example")
	leases, err := h.store.Claim(t.Context(), "one.example", 1, begin, begin.Add(lease))
	if err != nil {
		t.Fatal(err)
	}
	k := h.keep(leases)
	defer k.stop()
	h.step(-24 * time.Hour)
	if err := k.err(); err != nil {
		t.Errorf("the lease is held, but: %v", err)
	}
	h.step(-24 * time.Hour)
	if _, err := h.store.Due(t.Context(), begin, 1); err != nil { // begin is a day ahead
		t.Fatal(err)
	}
	if err := k.err(); !errors.Is(err, queue.ErrFenced) {
		t.Errorf("the lease is lost, but the keeper says %v", err)
	}
}

// TestKeeperRenews: a lease that is renewed in time is held, also when the
// clock has passed its first end.
func TestKeeperRenews(t *testing.T) {
	h := newHarness(t, routes{}, Options{})
	h.submit("joe@sender.example", "a@one.example")
	leases, err := h.store.Claim(t.Context(), "one.example", 1, begin, begin.Add(lease))
	if err != nil {
		t.Fatal(err)
	}
	k := h.keep(leases)
	h.clock.Advance(lease - time.Second)
	k.renew()
	h.clock.Advance(lease - time.Second)
	if err := k.err(); err != nil || h.store.Leased() != 1 {
		t.Errorf("%v, with %d leases held", err, h.store.Leased())
	}
	h.clock.Advance(lease)
	if err := k.err(); !errors.Is(err, queue.ErrFenced) {
		t.Errorf("after its time: %v", err)
	}
	k.renew() // does not bring it back
	if err := k.err(); !errors.Is(err, queue.ErrFenced) {
		t.Errorf("after another renewal: %v", err)
	}
	k.stop()
}

// longBody is a store that takes its time, and counts renewals.
type longBody struct {
	*faulty
	takes    time.Duration
	renewals atomic.Int32
}

func (l *longBody) Body(context.Context, mail.ID) (queue.Body, error) {
	time.Sleep(l.takes)
	return nil, queue.ErrDamaged
}

func (l *longBody) Renew(ctx context.Context, leases []queue.Lease, until time.Time) error {
	l.renewals.Add(1)
	return l.faulty.Renew(ctx, leases, until)
}

// TestLongAttempt: the leases of an attempt are held for as long as it takes,
// and not renewed afterwards.
func TestLongAttempt(t *testing.T) {
	for _, takes := range []time.Duration{0, 3*lease + time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t, routes{"": to("nowhere")}, Options{})
			store := &longBody{faulty: h.store, takes: takes}
			h.store.Memory = queue.NewMemory(queue.Options{})
			h.Deliverer.Store, h.Deliverer.Clock = store, mail.SystemClock{}
			id := h.submitWith("joe@sender.example", func(e *queue.Entry) {
				e.Accepted = time.Now()
				e.Deliveries[0].Next = e.Accepted
			}, "a@one.example")
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { h.Deliverer.Run(ctx) })
			time.Sleep(takes + time.Second)
			cancel()
			running.Wait()
			h.wantStates(id, "a@one.example deferred 1")
			time.Sleep(2 * lease)
			if n, want := store.renewals.Load(), int32(takes/(lease/3)); n != want {
				t.Errorf("after %v: %d renewals, want %d", takes, n, want)
			}
		})
	}
}

// TestKeeperStops: what is settled is not renewed.
func TestKeeperStops(t *testing.T) {
	h := newHarness(t, routes{}, Options{})
	h.submit("joe@sender.example", "a@one.example")
	leases, err := h.store.Claim(t.Context(), "one.example", 1, begin, begin.Add(lease))
	if err != nil {
		t.Fatal(err)
	}
	k := h.keep(leases)
	k.stop()
	h.clock.Advance(lease - 1)
	k.renew()
	h.clock.Advance(1)
	if n := h.store.Leased(); n != 0 {
		t.Errorf("%d leases are held", n)
	}
}

// TestUnknownCommit: when nobody knows what is stored, the process is told to
// end, once.
func TestUnknownCommit(t *testing.T) {
	var failing atomic.Bool
	var mu sync.Mutex
	var failures []error
	told := make(chan struct{}, 10)
	arrived := make(chan struct{}, 2)
	proceed := make(chan struct{})
	peer := answering(t, func(line string) string {
		if line == "." {
			arrived <- struct{}{}
			<-proceed
		}
		return ""
	})
	h := newHarness(t, routes{"": to("site", peer.Addr())}, Options{Failed: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		failures = append(failures, err)
		told <- struct{}{}
	}})
	h.store.Memory = queue.NewMemory(queue.Options{Clock: h.clock, Commit: func() error {
		if failing.Load() {
			return errors.New("the disk is gone")
		}
		return nil
	}})
	h.start()
	h.submit("joe@sender.example", "a@one.example")
	h.submit("joe@sender.example", "b@two.example")
	receive(t, "the first message", arrived)
	receive(t, "the second message", arrived)
	failing.Store(true)
	close(proceed)
	receive(t, "it is told", told)
	h.finish()
	mu.Lock()
	defer mu.Unlock()
	if len(failures) != 1 || !errors.Is(failures[0], queue.ErrUnknown) {
		t.Errorf("told of %v, want one error that the outcome is unknown", failures)
	}
}

// failingDue is a store that cannot say what is due.
type failingDue struct {
	*faulty
	err error
}

func (f failingDue) Due(context.Context, time.Time, int) (queue.Agenda, error) {
	return queue.Agenda{}, f.err
}

// TestSchedulerEnds: what the scheduler does not survive.
func TestSchedulerEnds(t *testing.T) {
	for _, c := range []struct {
		err  error
		told bool
	}{{queue.ErrUnknown, true}, {queue.ErrClosed, false}} {
		told := false
		h := newHarness(t, routes{}, Options{Failed: func(error) { told = true }})
		h.Deliverer.Store = failingDue{h.store, c.err}
		h.start()
		receive(t, "the scheduler ends by itself", h.stopped)
		if told != c.told {
			t.Errorf("%v: told %v", c.err, told)
		}
	}
}

// noRoom fails settlements that bring new entries.
func noRoom(s []queue.Settlement) error {
	if slices.ContainsFunc(s, func(s queue.Settlement) bool { return len(s.New) > 0 }) {
		return queue.ErrFull
	}
	return nil
}

// TestDeadLetterCannotBeStored: nobody is dead without a dead letter.
func TestDeadLetterCannotBeStored(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"a": "550 5.1.1 no"}))
	h := newHarness(t, routes{"": to("site", peer.Addr())}, Options{})
	h.store.failSettle(noRoom)
	h.start()
	id := h.submit("", "a@one.example", "b@one.example")
	deferred := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
	h.wantStates(id, "a@one.example deferred 1")
	h.store.failSettle(nil)
	h.advance(deferred.Next.Sub(h.clock.Now()))
	h.wantOnly(h.awaitFacts(id, mail.ReasonHeld, 1)[0].Message)
}

// TestReportCannotBeWritten: without its report no failure is final, while
// what was delivered is.
func TestReportCannotBeWritten(t *testing.T) {
	full := errors.New("no space left on device")
	peer := answering(t, refusing(map[string]string{"a": "550 5.1.1 no"}))
	for name, fail := range map[string]func(*faulty){
		"no draft":        func(f *faulty) { f.failCreate(full) },
		"no second draft": func(f *faulty) { f.failLater(full) },
		"no room":         func(f *faulty) { f.failSettle(noRoom) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{CopyFailures: true, Company: func(mail.Address) mail.Company {
				return mail.Company{Hostname: "gate.example", Postmaster: address(t, "admin@sender.example")}
			}}})
			fail(h.store)
			h.start()
			id := h.submit("joe@sender.example", "a@one.example", "b@one.example")
			h.awaitFacts(id, mail.ReasonDelivered, 1)
			deferred := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
			if got := brief(deferred); got != "deferred 1 a@one.example: RCPT: 550 5.1.1 no" || deferred.Text == "" {
				t.Errorf("%q, text %q", got, deferred.Text)
			}
			h.wantStates(id, "a@one.example deferred 1")
			if wait := deferred.Next.Sub(begin); wait != time.Minute {
				t.Errorf("the next attempt is in %v", wait)
			}
			if created, discarded := h.store.discarded(); created != discarded {
				t.Errorf("%d drafts, %d of them discarded", created, discarded)
			}

			h.store.failCreate(nil)
			h.store.failSettle(nil)
			h.advance(deferred.Next.Sub(h.clock.Now()))
			if f := h.awaitFacts(id, mail.ReasonBounced, 1)[0]; f.Attempt != 2 {
				t.Errorf("bounced at attempt %d", f.Attempt)
			}
			h.awaitFacts(id, mail.ReasonAccepted, 2)
		})
	}
}

// TestExpiredReportCannotBeWritten: also one whose time is over waits until
// its report can be written.
func TestExpiredReportCannotBeWritten(t *testing.T) {
	h := newHarness(t, routes{"": to("nowhere")}, Options{})
	h.store.failCreate(errors.New("no space left on device"))
	id := h.submit("joe@sender.example", "a@one.example")
	h.clock.Advance(mail.DefaultSchedule.Until)
	h.start()
	deferred := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
	if wait := deferred.Next.Sub(h.clock.Now()); wait != postponed {
		t.Errorf("the next attempt is in %v", wait)
	}
	h.store.failCreate(nil)
	h.advance(postponed)
	h.awaitFacts(id, mail.ReasonExpired, 1)
}

// TestSettleFails: nothing is done, and the mail is attempted again when the
// lease is over.
func TestSettleFails(t *testing.T) {
	var failed atomic.Int32
	sink := mailtest.NewSink(t)
	h := newHarness(t, routes{"": to("site", sink.Addr())}, Options{Failed: func(error) { t.Error("the process was told to end") }})
	h.store.failSettle(func([]queue.Settlement) error {
		if failed.Add(1) > 1 {
			return nil
		}
		return errors.New("try again later")
	})
	h.start()
	id := h.submit("joe@sender.example", "a@one.example")
	await(t, "the settlement fails", func() bool { return failed.Load() == 1 })
	h.wantStates(id, "a@one.example queued 1")
	h.advance(lease)
	if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 2 {
		t.Errorf("delivered at attempt %d", f.Attempt)
	}
}

// noBody is a store whose content cannot be opened.
type noBody struct{ *faulty }

func (noBody) Body(context.Context, mail.ID) (queue.Body, error) { return nil, queue.ErrDamaged }

func TestContentCannotBeOpened(t *testing.T) {
	h := newHarness(t, routes{"": to("site", refused)}, Options{})
	h.Deliverer.Store = noBody{h.store}
	h.start()
	id := h.submit("joe@sender.example", "a@one.example")
	f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
	if f.Command != "content" || *f.Reply != mail.LocalError || !strings.Contains(f.Text, queue.ErrDamaged.Error()) {
		t.Errorf("%s, text %q", brief(f), f.Text)
	}
}
