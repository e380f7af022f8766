package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// patience bounds every wait of these tests. It is no expectation.
const patience = time.Minute

var begin = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const content = "From: <joe@sender.example>\r\nSubject: Test\r\n\r\n.dot\r\ntext\r\n"

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// receive waits for a channel to be closed or to give a value.
func receive[T any](t *testing.T, what string, c <-chan T) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
}

// routes is a Router with a way, or an error, for each destination; "" is for
// all others.
type routes map[mail.Destination]any

func (r routes) Route(_ context.Context, q route.Question) (route.Route, error) {
	way, listed := r[q.Destination]
	if !listed {
		way = r[""]
	}
	switch way := way.(type) {
	case error:
		return route.Route{}, way
	case route.Route:
		return way, nil
	}
	return route.Route{}, errors.New("the test has no way to " + string(q.Destination))
}

// to is a way over hops at the given addresses, without TLS.
func to(site string, addresses ...netip.AddrPort) route.Route {
	r := route.Route{Name: "test", Site: site}
	for i, a := range addresses {
		r.Hops = append(r.Hops, route.Hop{
			Addresses: []netip.AddrPort{a},
			Lane:      route.Lane{Host: fmt.Sprintf("mx%d.example", i), Port: a.Port(), TLS: tlspolicy.Policy{Level: tlspolicy.None}},
		})
	}
	return r
}

func withTLS(r route.Route, level tlspolicy.Level) route.Route {
	for i := range r.Hops {
		r.Hops[i].TLS.Level = level
	}
	return r
}

// faulty is a store that fails on demand, and counts.
type faulty struct {
	*queue.Memory
	mu      sync.Mutex
	create  error                            // what Create fails with
	spare   int                              // after so many that succeed
	settle  func(s []queue.Settlement) error // what Settle fails with
	drafts  []*draft                         // that were created
	settled int                              // calls of Settle
	claimed atomic.Int32                     // calls of Claim
	full    atomic.Bool                      // it gives out no more leases
}

type draft struct {
	queue.Draft
	discarded bool
}

func (d *draft) Discard() {
	d.discarded = true
	d.Draft.Discard()
}

func (f *faulty) Create(ctx context.Context) (queue.Draft, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.create != nil && f.spare == 0 {
		return nil, f.create
	}
	f.spare = max(0, f.spare-1)
	inner, err := f.Memory.Create(ctx)
	if err != nil {
		return nil, err
	}
	d := &draft{Draft: inner}
	f.drafts = append(f.drafts, d)
	return d, nil
}

func (f *faulty) Settle(ctx context.Context, settlements []queue.Settlement) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled++
	if f.settle != nil {
		if err := f.settle(settlements); err != nil {
			return err
		}
	}
	unwrapped := slices.Clone(settlements)
	for i := range unwrapped {
		unwrapped[i].New = slices.Clone(unwrapped[i].New)
		for j := range unwrapped[i].New {
			if d, wrapped := unwrapped[i].New[j].Draft.(*draft); wrapped {
				unwrapped[i].New[j].Draft = d.Draft
			}
		}
	}
	return f.Memory.Settle(ctx, unwrapped)
}

// Leased is queue.ActiveWindow while the store is full.
func (f *faulty) Leased() int {
	if f.full.Load() {
		return queue.ActiveWindow
	}
	return f.Memory.Leased()
}

func (f *faulty) Claim(ctx context.Context, d mail.Destination, n int, now, until time.Time) ([]queue.Lease, error) {
	f.claimed.Add(1)
	if f.full.Load() {
		return nil, nil
	}
	return f.Memory.Claim(ctx, d, n, now, until)
}

func (f *faulty) failCreate(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.create = err
}

// failLater lets one draft be made first.
func (f *faulty) failLater(err error) {
	f.failCreate(err)
	f.spare = 1
}

func (f *faulty) failSettle(fail func([]queue.Settlement) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle = fail
}

// discarded counts the drafts that were created, and those given back.
func (f *faulty) discarded() (created, discarded int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.drafts {
		if d.discarded {
			discarded++
		}
	}
	return len(f.drafts), discarded
}

// harness is a Deliverer with a store and a clock of its own.
type harness struct {
	*testing.T
	clock *mail.ManualClock
	store *faulty
	*Deliverer
	content string // of what is submitted
	stop    context.CancelFunc
	stopped chan struct{}
}

func noJitter() float64 { return 0 }

// newHarness returns a deliverer that does not run yet.
func newHarness(t *testing.T, router Router, o Options) *harness {
	h := &harness{T: t, clock: mail.NewManualClock(begin), content: content, stopped: make(chan struct{})}
	h.store = &faulty{Memory: queue.NewMemory(queue.Options{Clock: h.clock})}
	o.Settings.Hostname, o.Settings.Router = "gate.example", router
	o.Store, o.Clock = h.store, h.clock
	o.IDs = new(mail.IDs)
	if o.Jitter == nil {
		o.Jitter = noJitter
	}
	if o.Settings.IdleTimeout == 0 {
		o.Settings.IdleTimeout = patience
	}
	h.Deliverer = New(o)
	return h
}

// start runs the deliverer until the test ends, or stop is called.
func (h *harness) start() {
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() {
		defer close(h.stopped)
		h.Deliverer.Run(ctx)
	}()
	h.Cleanup(func() {
		cancel()
		receive(h.T, "the deliverer has stopped", h.stopped)
	})
}

func start(t *testing.T, router Router, o Options) *harness {
	h := newHarness(t, router, o)
	h.start()
	return h
}

// finish stops the deliverer and waits for it.
func (h *harness) finish() {
	h.Helper()
	h.stop()
	receive(h.T, "the deliverer has stopped", h.stopped)
}

// advance moves the clock and lets the scheduler look at it.
func (h *harness) advance(d time.Duration) {
	h.clock.Advance(d)
	h.free()
}

// step sets the clock, and tells as the daemon does.
func (h *harness) step(by time.Duration) {
	h.clock.Step(by, func(at time.Time, by time.Duration) {
		h.store.Shift(by)
		h.Stepped(at, by)
	})
}

var address = mailtest.Address

// submit stores a message. A recipient is an address, with a NOTIFY keyword
// behind it if it has one.
func (h *harness) submit(from string, to ...string) mail.ID {
	h.Helper()
	return h.submitWith(from, nil, to...)
}

func (h *harness) submitWith(from string, change func(*queue.Entry), to ...string) mail.ID {
	h.Helper()
	var recipients []queue.Recipient
	for _, s := range to {
		name, keyword, _ := strings.Cut(s, " ")
		r := queue.Recipient{Recipient: mail.Recipient{Address: address(h.T, name)}, State: mail.Queued}
		if keyword != "" {
			r.Notify, _ = mail.ParseNotify(keyword)
		}
		recipients = append(recipients, r)
	}
	now := h.clock.Now()
	id := h.IDs.New(now)
	entry := queue.Entry{
		ID: id, Message: id, Accepted: now,
		Envelope:   mail.Envelope{From: address(h.T, from), Body: mail.Body7Bit},
		Deliveries: queue.Deliveries(recipients, now),
	}
	if change != nil {
		change(&entry)
	}
	draft, err := h.store.Memory.Create(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	if _, err := draft.Write([]byte(h.content)); err != nil {
		h.Fatal(err)
	}
	err = h.store.Accept(h.Context(), queue.Group{Submissions: []queue.Submission{{Entry: entry, Draft: draft}}})
	if err != nil {
		h.Fatal(err)
	}
	return id
}

// facts returns all facts about a message so far.
func (h *harness) facts(id mail.ID) []mail.Fact {
	h.Helper()
	all, err := h.store.NextFacts(h.Context(), 0, 10_000)
	if err != nil {
		h.Fatal(err)
	}
	return slices.DeleteFunc(all, func(f mail.Fact) bool { return f.Message != id && f.About != id })
}

// brief is a fact in a line.
func brief(f mail.Fact) string {
	s := fmt.Sprintf("%s %d %s", f.Reason, f.Attempt, strings.Join(f.To, ","))
	if f.Reply != nil {
		s += ": " + f.Command + ": " + f.Reply.String()
	}
	return s
}

func briefs(facts []mail.Fact) []string {
	var lines []string
	for _, f := range facts {
		lines = append(lines, brief(f))
	}
	return lines
}

// awaitFacts waits until n facts about a message have the reason, and returns
// these.
func (h *harness) awaitFacts(id mail.ID, reason mail.Reason, n int) []mail.Fact {
	h.Helper()
	var found []mail.Fact
	await(h.T, fmt.Sprintf("%d facts %q about %s", n, reason, id), func() bool {
		found = slices.DeleteFunc(h.facts(id), func(f mail.Fact) bool { return f.Reason != reason })
		return len(found) >= n
	})
	if len(found) > n {
		h.Errorf("%d facts %q, want %d: %q", len(found), reason, n, briefs(found))
	}
	return found
}

// wantFacts compares the facts about a message with their briefs.
func (h *harness) wantFacts(id mail.ID, want ...string) {
	h.Helper()
	if diff := cmp.Diff(want, briefs(h.facts(id))); diff != "" {
		h.Error(diff)
	}
}

// wantStates compares what is left of an entry, sorted: "address state attempts".
func (h *harness) wantStates(id mail.ID, want ...string) queue.Entry {
	h.Helper()
	entry, err := h.store.Get(h.Context(), id)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		h.Fatal(err)
	}
	var got []string
	for _, d := range entry.Deliveries {
		for _, r := range d.Recipients {
			got = append(got, fmt.Sprintf("%s %s %d", r.Address, r.State, d.Attempts))
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		h.Error(diff)
	}
	return entry
}

// wantOnly fails unless the entries in the queue are these.
func (h *harness) wantOnly(ids ...mail.ID) []queue.Entry {
	h.Helper()
	entries, err := h.store.List(h.Context(), queue.Filter{}, queue.Page{})
	if err != nil {
		h.Fatal(err)
	}
	var got []mail.ID
	for _, e := range entries {
		got = append(got, e.ID)
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		h.Error(diff)
	}
	return entries
}

// answering is a server that answers each command, and "." for the end of
// data, as answer says; "" means yes.
func answering(t *testing.T, answer func(line string) string) *mailtest.Peer {
	t.Helper()
	return mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) { converse(c, answer) }})
}

// converse serves one connection until QUIT.
func converse(c *mailtest.PeerConn, answer func(line string) string) {
	yes := func(line string, byDefault string) string {
		if reply := answer(line); reply != "" {
			return reply
		}
		return byDefault
	}
	c.Send("220 peer")
	for c.Err() == nil {
		switch line := c.Expect(""); {
		case c.Err() != nil:
		case strings.HasPrefix(line, "EHLO"):
			c.Send("250-peer")
			c.Send("250 ENHANCEDSTATUSCODES")
		case line == "QUIT":
			c.Send("221 bye")
			return
		case line == "DATA":
			reply := yes(line, "354 go on")
			c.Send(reply)
			if strings.HasPrefix(reply, "354") {
				c.Content()
				c.Send(yes(".", "250 2.0.0 Taken"))
			}
		default:
			c.Send(yes(line, "250 2.0.0 Ok"))
		}
	}
}

// refusing answers some RCPT commands, by local part, and nothing else.
func refusing(replies map[string]string) func(string) string {
	return func(line string) string {
		for local, reply := range replies {
			if strings.HasPrefix(line, "RCPT TO:<"+local+"@") {
				return reply
			}
		}
		return ""
	}
}

// hello opens a script: what a server says up to EHLO, without PIPELINING.
const hello = `
	S: 220 peer
	C: EHLO gate.example
	S: 250 peer
`

// accept is a script of one message to one recipient.
const accept = `
	C: MAIL
	S: 250 ok
	C: RCPT
	S: 250 ok
	C: DATA
	S: 354 go on
	CONTENT
	S: 250 taken
`

const quit = `
	C: QUIT
	S: 221 bye
	CLOSED
`

// refused is where nobody listens.
var refused = netip.MustParseAddrPort("127.0.0.1:1")
