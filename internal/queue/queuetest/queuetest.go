// Package queuetest is the conformance suite of queue.Store: what every
// engine must do, sentence by sentence of the contract. It is imported by
// tests only.
package queuetest

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Subject is a store under test. Whoever makes it also frees it.
type Subject struct {
	Store queue.Store
	// Reopen ends the store and opens what it has stored again. After a
	// failed commit it does so as after the end of the process.
	Reopen func() queue.Store
	// FailCommit makes the n-th synced commit from now fail, and those after
	// it, until Reopen. 1 is the next. nil: this store cannot.
	FailCommit func(n int)
	// Seeds is how often the store is compared with the model, each time in
	// another order of operations. 0: 8.
	Seeds int
}

// Run runs the suite. open makes an empty store that runs on the clock.
func Run(t *testing.T, open func(t *testing.T, clock mail.Clock) *Subject) {
	for _, tests := range [][]test{acceptTests, variantTests, dueTests, claimTests, settleTests, regroupTests, editTests, suspendTests, readTests, factTests, failureTests, loadTests} {
		for _, c := range tests {
			t.Run(c.name, func(t *testing.T) {
				w := &world{T: t, ctx: t.Context(), clock: mail.NewManualClock(epoch)}
				w.Subject = *open(t, w.clock)
				c.run(w)
			})
		}
	}
}

type test struct {
	name string
	run  func(w *world)
}

// epoch is when every test begins.
var epoch = time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)

// world is one test: its store, its clock, and what it asks of them.
type world struct {
	*testing.T
	Subject
	ctx   context.Context
	clock *mail.ManualClock
	ids   mail.IDs
}

func (w *world) now() time.Time { return w.clock.Now() }

// in returns the time a while from now.
func (w *world) in(d time.Duration) time.Time { return w.now().Add(d) }

func (w *world) reopen() { w.Store = w.Reopen() }

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("unexpected error: %v", err)
	}
}

func (w *world) fails(err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Fatalf("error is %v, want %v", err, want)
	}
}

func (w *world) same(what string, got, want any) {
	w.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		w.Fatalf("%s differs (-want +got):\n%s", what, diff)
	}
}

func (w *world) address(s string) mail.Address {
	w.Helper()
	a, err := mail.ParseAddress(s)
	w.ok(err)
	return a
}

// entry makes an entry that is due now, its recipients queued.
func (w *world) entry(to ...string) queue.Entry {
	w.Helper()
	id := w.ids.New(w.now())
	var recipients []queue.Recipient
	for _, s := range to {
		recipients = append(recipients, queue.Recipient{Recipient: mail.Recipient{Address: w.address(s)}, State: mail.Queued})
	}
	return queue.Entry{
		ID: id, Message: id, Accepted: w.now(),
		Envelope:   mail.Envelope{From: w.address("sender@source.example")},
		Origin:     mail.Origin{Listener: "test", Hello: "client.example"},
		Deliveries: queue.Deliveries(recipients, w.now()),
	}
}

// held makes all recipients of e held.
func held(e queue.Entry, why mail.Hold) queue.Entry {
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			r := &e.Deliveries[i].Recipients[j]
			r.State, r.Hold = mail.Held, why
		}
	}
	return e
}

func (w *world) draft(content []byte) queue.Draft {
	w.Helper()
	d, err := w.Store.Create(w.ctx)
	w.ok(err)
	for part := range slices.Chunk(content, 10_000) {
		_, err := d.Write(part)
		w.ok(err)
	}
	return d
}

// accept stores entries, each with content of its own, in one group.
func (w *world) accept(entries ...queue.Entry) {
	w.Helper()
	var g queue.Group
	for _, e := range entries {
		g.Submissions = append(g.Submissions, queue.Submission{Entry: e, Draft: w.draft(contentOf(e.ID))})
	}
	w.ok(w.Store.Accept(w.ctx, g))
}

// contentOf is the content that accept gives an entry.
func contentOf(id mail.ID) []byte { return []byte("Subject: " + id + "\r\n\r\nhello\r\n") }

func (w *world) content(id mail.ID) []byte {
	w.Helper()
	b, err := w.Store.Body(w.ctx, id)
	w.ok(err)
	defer b.Close()
	content, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	w.ok(err)
	return content
}

func (w *world) get(id mail.ID) queue.Entry {
	w.Helper()
	e, err := w.Store.Get(w.ctx, id)
	w.ok(err)
	return e
}

func (w *world) gone(id mail.ID) {
	w.Helper()
	_, err := w.Store.Get(w.ctx, id)
	w.fails(err, queue.ErrNotFound)
}

// states lists the recipients that an entry still has, with their states.
func (w *world) states(id mail.ID) map[string]mail.State {
	w.Helper()
	states := make(map[string]mail.State)
	e, err := w.Store.Get(w.ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return states
	}
	w.ok(err)
	for _, d := range e.Deliveries {
		for _, r := range d.Recipients {
			states[r.Address.String()] = r.State
		}
	}
	return states
}

// leaseTime is how long claim leases.
const leaseTime = time.Minute

func (w *world) claim(d mail.Destination, n int) []queue.Lease {
	w.Helper()
	leases, err := w.Store.Claim(w.ctx, d, n, w.now(), w.in(leaseTime))
	w.ok(err)
	return leases
}

// claimOne claims the one delivery that is due.
func (w *world) claimOne(d mail.Destination) queue.Lease {
	w.Helper()
	leases := w.claim(d, 1)
	if len(leases) != 1 {
		w.Fatalf("claimed %d deliveries to %s, want 1", len(leases), d)
	}
	return leases[0]
}

// settlement makes every recipient of a lease end in one of the states, the
// last of which goes for all that follow. What is deferred is due in an hour.
func (w *world) settlement(l queue.Lease, states ...mail.State) queue.Settlement {
	s := queue.Settlement{Lease: l, Next: w.in(time.Hour)}
	for i := range l.Delivery().Recipients {
		o := mail.Outcome{State: states[min(i, len(states)-1)], Attempt: l.Attempt(), At: w.now(), Host: "mx.example",
			Reply: mail.NewReply(250, "2.0.0", "as the test wants")}
		s.Outcomes = append(s.Outcomes, o)
	}
	return s
}

func (w *world) settle(l queue.Lease, states ...mail.State) {
	w.Helper()
	w.ok(w.Store.Settle(w.ctx, []queue.Settlement{w.settlement(l, states...)}))
}

func (w *world) due() queue.Agenda {
	w.Helper()
	agenda, err := w.Store.Due(w.ctx, w.now(), 1000)
	w.ok(err)
	return agenda
}

// dueNames lists the destinations that are due, in order.
func (w *world) dueNames() []mail.Destination {
	w.Helper()
	var names []mail.Destination
	for _, d := range w.due().Destinations {
		names = append(names, d.Destination)
	}
	return names
}

func (w *world) edit(f queue.Filter, c queue.Change) queue.Edited {
	w.Helper()
	done, err := w.Store.Edit(w.ctx, f, c, "operator")
	w.ok(err)
	return done
}

func (w *world) facts() []mail.Fact {
	w.Helper()
	facts, err := w.Store.NextFacts(w.ctx, 0, 100_000)
	w.ok(err)
	return facts
}

func (w *world) fact(r mail.Reason, id mail.ID) mail.Fact {
	return mail.Fact{Time: w.now(), Reason: r, Message: id, From: "<sender@source.example>"}
}

// leaseIDs lists the entries of leases.
func leaseIDs(leases []queue.Lease) []mail.ID {
	var ids []mail.ID
	for i := range leases {
		ids = append(ids, leases[i].Entry.ID)
	}
	return ids
}

func entryIDs(entries []queue.Entry) []mail.ID {
	var ids []mail.ID
	for i := range entries {
		ids = append(ids, entries[i].ID)
	}
	return ids
}
