package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/mail"
)

// Options are the settings of Memory.
type Options struct {
	Clock mail.Clock // nil: the system's
	// Commit stands for the disk: it is called at every commit, and an error
	// from it makes that commit fail with its outcome unknown. nil: all
	// commits succeed.
	Commit func() error
}

// Memory is the in-memory twin of the engines: the whole contract but for
// the stable storage. Reopen is its restart.
type Memory struct {
	options   Options
	factsWake Signal

	mu     sync.Mutex
	closed bool
	failed error // set by a failed commit; nothing works afterwards
	index  *Index
	state  memoryState
}

var _ Store = (*Memory)(nil)

// memoryState is what a restart leaves.
type memoryState struct {
	entries  map[mail.ID]*Entry
	bodies   map[mail.ID]*memoryContent
	pending  map[mail.ID]PendingEdits
	edit     *EditRecord // the edit that was cut short
	facts    []mail.Fact
	lastFact uint64
	marks    map[markName]Mark
}

type markName struct {
	kind MarkKind
	key  string
}

// memoryContent is a body and the number of entries that use it.
type memoryContent struct {
	content []byte
	uses    int
}

// NewMemory returns an empty store.
func NewMemory(o Options) *Memory {
	return newMemory(o, memoryState{
		entries: make(map[mail.ID]*Entry),
		bodies:  make(map[mail.ID]*memoryContent),
		pending: make(map[mail.ID]PendingEdits),
		marks:   make(map[markName]Mark),
	})
}

func newMemory(o Options, state memoryState) *Memory {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	m := &Memory{options: o, factsWake: NewSignal(), index: NewIndex(), state: state}
	for _, mark := range state.marks {
		m.index.Suspend(mark)
	}
	for _, e := range state.entries {
		m.index.Add(e)
		for d := range state.pending[e.ID] {
			m.index.MarkPending(e.ID, d)
		}
	}
	return m
}

// Reopen closes m and returns a store with what it held, as after a restart:
// leases are gone, and an edit that was cut short is finished.
func (m *Memory) Reopen() (*Memory, error) {
	m.mu.Lock()
	m.closed = true
	state := m.state
	m.state = memoryState{}
	m.mu.Unlock()

	again := newMemory(m.options, state)
	if err := again.recover(again.options.Clock.Now()); err != nil {
		return nil, err
	}
	if record := again.state.edit; record != nil {
		if _, err := again.runEdit(record); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// Close makes every later call fail with ErrClosed.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// usable is asked first by every method, with m.mu held.
func (m *Memory) usable(ctx context.Context) error {
	switch {
	case m.closed:
		return ErrClosed
	case m.failed != nil:
		return m.failed
	}
	return ctx.Err()
}

// commit is the point from which a change is durable.
func (m *Memory) commit(facts ...mail.Fact) error {
	if m.options.Commit != nil {
		if err := m.options.Commit(); err != nil {
			m.failed = fmt.Errorf("%w: %w", ErrUnknown, err)
			return m.failed
		}
	}
	for _, f := range facts {
		m.state.lastFact++
		f.Source, f.N = FactSource, m.state.lastFact
		m.state.facts = append(m.state.facts, f)
	}
	if len(facts) > 0 {
		m.factsWake.Raise()
	}
	return nil
}

// Accept stores a group.
func (m *Memory) Accept(ctx context.Context, g Group) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := g.Check(); err != nil {
		return err
	}
	entries, err := m.prepare(g.Submissions)
	if err != nil {
		return err
	}
	if err := m.commit(g.Facts...); err != nil {
		return err
	}
	m.store(g.Submissions, entries)
	for _, mark := range g.Marks {
		m.mark(mark)
	}
	return nil
}

// prepare makes the entries of submissions, and changes nothing.
func (m *Memory) prepare(submissions []Submission) ([]Entry, error) {
	var entries []Entry
	sizes := make(map[mail.ID]int64) // of what the submissions bring
	drafts := make(map[*memoryDraft]bool)
	for i := range submissions {
		s := &submissions[i]
		e := s.Entry.Clone()
		slices.SortFunc(e.Deliveries, byDestination)
		if m.state.entries[e.ID] != nil || m.state.bodies[e.ID] != nil {
			return nil, fmt.Errorf("%w: entry %q is already stored", ErrInvalid, e.ID)
		}
		if s.Draft != nil {
			d, ok := s.Draft.(*memoryDraft)
			if !ok || d.store != m || d.over || drafts[d] {
				return nil, fmt.Errorf("%w: entry %q: its draft is of another store, or used up", ErrInvalid, e.ID)
			}
			drafts[d] = true
			e.Body, e.Size = e.ID, d.Size()
			sizes[e.Body] = e.Size
		} else if size, found := sizes[e.Body]; found {
			e.Size = size
		} else if stored := m.state.bodies[e.Body]; stored != nil {
			e.Size = int64(len(stored.content))
		} else {
			return nil, fmt.Errorf("entry %q: body %q: %w", e.ID, e.Body, ErrNotFound)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// store takes in what prepare made.
func (m *Memory) store(submissions []Submission, entries []Entry) {
	for i := range entries {
		e := &entries[i]
		if d, ok := submissions[i].Draft.(*memoryDraft); ok {
			m.state.bodies[e.Body] = &memoryContent{content: d.content}
			d.over = true
		}
		m.state.bodies[e.Body].uses++
		m.state.entries[e.ID] = e
		m.index.Add(e)
	}
}

// Park leaves a destination out of Due, or lets it in again.
func (m *Memory) Park(d mail.Destination, parked bool, as mail.Class) { m.index.Park(d, parked, as) }

// Shift moves the schedule with a clock that was stepped.
func (m *Memory) Shift(by time.Duration) { m.index.Shift(by) }

// Due returns what is due.
func (m *Memory) Due(ctx context.Context, now time.Time, limit int) (Agenda, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Agenda{}, err
	}
	if err := m.applyLost(now); err != nil {
		return Agenda{}, err
	}
	return m.index.Due(now, limit), nil
}

// Claim leases what is due.
func (m *Memory) Claim(ctx context.Context, d mail.Destination, n int, now, until time.Time) ([]Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	if err := CheckLease(now, until); err != nil {
		return nil, err
	}
	if err := m.applyLost(now); err != nil {
		return nil, err
	}
	var leases []Lease
	for _, c := range m.index.Claim(d, n, now, until) {
		e := m.state.entries[c.ID].Clone()
		delivery := e.Deliveries[e.find(c.Destination)]
		delivery.Attempts = c.Attempt
		delivery.ForAttempt(c.Recipients)
		e.Deliveries = []Delivery{delivery}
		leases = append(leases, Lease{Token: c.Token, Entry: e, Until: c.Until})
	}
	return leases, nil
}

// Renew prolongs leases.
func (m *Memory) Renew(ctx context.Context, leases []Lease, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	now := m.options.Clock.Now()
	if err := CheckLease(now, until); err != nil {
		return err
	}
	return m.index.Renew(leases, now, until)
}

// Hasten makes a delivery due that waits for its time.
func (m *Memory) Hasten(id mail.ID, d mail.Destination, now time.Time) bool {
	return m.index.Hasten(id, d, now)
}

// Release gives leases back.
func (m *Memory) Release(ctx context.Context, leases []Lease, next time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	b := BeginEndings(m.index, ReleaseEndings(leases), m.options.Clock.Now())
	return m.end(b, false, func(r *Revision, ended []Ending) error { return r.Release(ended, next) })
}

// Regroup gives leases back whose recipients go elsewhere.
func (m *Memory) Regroup(ctx context.Context, moves []Move) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := CheckMoves(moves); err != nil {
		return err
	}
	b := BeginEndings(m.index, MoveEndings(moves), m.options.Clock.Now())
	return m.end(b, false, (*Revision).Regroup)
}

// Settle ends leases.
func (m *Memory) Settle(ctx context.Context, settlements []Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := CheckSettlements(settlements); err != nil {
		return err
	}
	b := BeginEndings(m.index, SettlementEndings(settlements), m.options.Clock.Now())
	if err := m.end(b, true, (*Revision).Settle); err != nil {
		return err
	}
	return b.Fenced
}

// end ends leases; settled says that they are settled and not given back.
func (m *Memory) end(b *Settling, settled bool, change func(*Revision, []Ending) error) error {
	err := m.endAll(b, settled, change)
	if err != nil {
		m.index.Abort(b.Leases())
	}
	return err
}

func (m *Memory) endAll(b *Settling, settled bool, change func(*Revision, []Ending) error) error {
	if len(b.ByEntry) == 0 {
		return nil
	}
	facts, submissions := b.Facts(), b.New()
	entries, err := m.prepare(submissions)
	if err != nil {
		return err
	}
	var results []Revised
	for _, ended := range b.ByEntry {
		revision := m.revise(ended[0].Claimed.ID, b.Now)
		if err := change(revision, ended); err != nil {
			return err
		}
		for _, s := range ended {
			if err := m.pendingOf(revision, s.Claimed); err != nil {
				return err
			}
		}
		results = append(results, revision.Result())
		facts = append(facts, results[len(results)-1].Facts...)
	}
	if err := m.commit(facts...); err != nil {
		return err
	}
	m.store(submissions, entries) // first, so that they may use a body that would go
	for i, ended := range b.ByEntry {
		m.apply(results[i], Leases(ended), settled)
	}
	return nil
}

// revise begins a change of a stored entry.
func (m *Memory) revise(id mail.ID, now time.Time) *Revision {
	e := m.state.entries[id].Clone()
	m.index.Refresh(&e)
	return Revise(&e, now)
}

// pendingOf applies the edits that wait for the end of a lease.
func (m *Memory) pendingOf(r *Revision, c Claimed) error {
	if !c.Pending {
		return nil
	}
	return r.Pending(c.Destination, m.state.pending[c.ID][c.Destination])
}

// apply stores what became of an entry.
func (m *Memory) apply(r Revised, ended []Claimed, settled bool) {
	e := m.state.entries[r.ID]
	if r.Class != nil {
		e.Class = *r.Class
	}
	for _, d := range r.Applied {
		delete(m.state.pending[r.ID], d)
	}
	for _, d := range r.Changed {
		if i := e.find(d.Destination); i >= 0 {
			e.Deliveries[i] = d
		} else {
			e.Deliveries = append(e.Deliveries, d)
			slices.SortFunc(e.Deliveries, byDestination)
		}
	}
	e.Deliveries = slices.DeleteFunc(e.Deliveries, func(d Delivery) bool { return slices.Contains(r.Gone, d.Destination) })
	m.index.Apply(r, ended, settled)
	if len(e.Deliveries) > 0 {
		return
	}
	delete(m.state.entries, r.ID)
	delete(m.state.pending, r.ID)
	body := m.state.bodies[e.Body]
	if body.uses--; body.uses == 0 {
		delete(m.state.bodies, e.Body)
	}
}

// Wake receives when something may be due sooner than was said.
func (m *Memory) Wake() <-chan struct{} { return m.index.Wake() }

// Entries returns the number of entries.
func (m *Memory) Entries() int { return m.index.Entries() }

// Backlog returns what waits for a destination.
func (m *Memory) Backlog(d mail.Destination) Backlog { return m.index.Backlog(d) }

// Leased returns the number of leases held now.
func (m *Memory) Leased() int { return m.index.Leased(m.options.Clock.Now()) }

// LeasedIn returns the deliveries of an entry that are leased now.
func (m *Memory) LeasedIn(id mail.ID) []mail.Destination {
	return m.index.LeasedIn(id, m.options.Clock.Now())
}

func byDestination(a, b Delivery) int {
	return strings.Compare(string(a.Destination), string(b.Destination))
}

// sortedIDs returns the ids of all entries, in order.
func (m *Memory) sortedIDs() []mail.ID { return slices.Sorted(maps.Keys(m.state.entries)) }
