package queue

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"postern/internal/heap"
	"postern/internal/mail"
)

// Index is what an engine keeps in memory of its entries: when each delivery
// is due, and who holds it. It has ids, times and counts, never content. An
// engine changes it only when the change is durable, and serves Due, Claim,
// Renew and the fencing of Settle and Release from it.
//
// Due and Claim cost about as much as they return, however much is queued.
// An Index is safe for use by several goroutines.
type Index struct {
	mu       sync.Mutex
	unlocked sync.Cond // some entry is no longer locked
	wake     Signal

	entries  map[mail.ID]*indexed
	lines    map[mail.Destination]*line
	due      heap.Heap[*line] // that have due deliveries and are neither suspended nor parked
	upcoming heap.Heap[*line] // that have waiting ones and are not suspended
	total    Tally
	classes  map[mail.Class]*Tally // of the total

	suspended suspended
	// now is the time up to which waiting deliveries have been promoted.
	now time.Time
	// promised is the Next of the last Agenda; zero promises nothing.
	promised time.Time

	leases    map[uint64]*lease
	ends      heap.Heap[*lease] // all leases but those that are being ended
	lastToken uint64
	settled   recentTokens
	// lost are entries with edits that waited for a lease which was lost.
	lost map[mail.ID]bool
}

// NewIndex returns an empty index.
func NewIndex() *Index {
	x := &Index{
		wake:      NewSignal(),
		entries:   make(map[mail.ID]*indexed),
		lines:     make(map[mail.Destination]*line),
		due:       heap.Heap[*line]{Before: dueBefore, Moved: func(l *line, i int) { l.inDue = i }},
		upcoming:  heap.Heap[*line]{Before: upcomingBefore, Moved: func(l *line, i int) { l.inUpcoming = i }},
		classes:   make(map[mail.Class]*Tally),
		suspended: newSuspended(),
		leases:    make(map[uint64]*lease),
		ends:      leaseHeap(),
		// Tokens of an earlier life must not fit leases of this one.
		lastToken: rand.Uint64(),
		lost:      make(map[mail.ID]bool),
	}
	x.unlocked.L = &x.mu
	return x
}

// Wake is the channel of Scheduler.Wake.
func (x *Index) Wake() <-chan struct{} { return x.wake }

// Add takes in a new entry.
func (x *Index) Add(e *Entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := &indexed{id: e.ID, body: e.Body, class: e.Class}
	x.entries[e.ID] = item
	x.withhold(item, e.Envelope.From)
	for i := range e.Deliveries {
		x.put(item, e.Deliveries[i].Destination, e.Deliveries[i].Summary())
	}
}

// Load takes in one delivery of an entry that was stored in an earlier life,
// and the entry with its first.
func (x *Index) Load(id, body mail.ID, class mail.Class, d mail.Destination, s Summary) {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[id]
	if item == nil {
		item = &indexed{id: id, body: body, class: class}
		x.entries[id] = item
	}
	x.put(item, d, s)
}

// MarkPending says that edits wait for a delivery's lease to end. Without a
// lease the entry is among the lost.
func (x *Index) MarkPending(id mail.ID, d mail.Destination) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if item := x.entries[id]; item != nil {
		if s := item.slot(d); s != nil {
			s.pending = true
			x.place(s)
		}
	}
}

// Apply takes over a change that is durable. The leases in ended are over;
// settled says that they were settled and not released.
func (x *Index) Apply(r Revised, ended []Claimed, settled bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[r.ID]
	for _, c := range ended {
		held := x.leases[c.Token]
		delete(x.leases, c.Token)
		held.slot.lease = nil
		if settled {
			x.settled.add(c.Token)
		}
	}
	for _, d := range r.Applied {
		item.slot(d).pending = false
	}
	if r.Class != nil {
		x.reclassify(item, *r.Class)
	}
	for i := range r.Changed {
		x.put(item, r.Changed[i].Destination, r.Changed[i].Summary())
	}
	for _, d := range r.Gone {
		x.drop(item.slot(d))
	}
}

// reclassify gives an entry another class. Its deliveries are put in their places anew
// behind it.
func (x *Index) reclassify(item *indexed, class mail.Class) {
	for _, s := range item.slots {
		x.takeOut(s)
		x.count(s, -1)
	}
	item.class = class
	for _, s := range item.slots {
		x.count(s, 1)
		x.place(s)
	}
}

// count adds a delivery to what there is, or takes it off.
func (x *Index) count(s *slot, sign int32) {
	x.total.add(s.Tally, sign)
	c := x.classes[s.entry.class]
	if c == nil {
		c = new(Tally)
		x.classes[s.entry.class] = c
	}
	c.add(s.Tally, sign)
}

// Drop forgets a locked entry, its leases with it: it cannot be read.
func (x *Index) Drop(id mail.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if item := x.entries[id]; item != nil {
		for _, s := range slices.Clone(item.slots) {
			x.drop(s)
		}
	}
}

// put stores what the index needs to know of a delivery.
func (x *Index) put(item *indexed, d mail.Destination, summary Summary) {
	i, found := item.find(d)
	if !found {
		s := &slot{entry: item, line: x.line(d), position: heap.Absent}
		s.line.slots++
		item.slots = slices.Insert(item.slots, i, s)
	}
	s := item.slots[i]
	x.takeOut(s)
	x.count(s, -1)
	s.Summary = summary
	x.count(s, 1)
	x.place(s)
}

// drop takes a delivery out, and its entry with the last one.
func (x *Index) drop(s *slot) {
	x.takeOut(s)
	x.count(s, -1)
	if s.lease != nil {
		x.forget(s.lease)
	}
	if s.line.slots--; s.line.slots == 0 {
		delete(x.lines, s.line.destination)
	}
	item := s.entry
	item.slots = slices.DeleteFunc(item.slots, func(other *slot) bool { return other == s })
	if len(item.slots) == 0 {
		delete(x.entries, item.id)
		delete(x.lost, item.id)
		delete(x.suspended.entries, item.id)
		x.unlocked.Broadcast() // whoever waits for it finds it gone
	}
}

func (x *Index) line(d mail.Destination) *line {
	l := x.lines[d]
	if l == nil {
		l = newLine(d)
		l.suspended = x.suspended.destination(d)
		x.lines[d] = l
	}
	return l
}

// takeOut makes a delivery one that cannot be claimed.
func (x *Index) takeOut(s *slot) {
	if s.heap != nil {
		s.heap.Remove(s.position)
		s.heap = nil
		x.fix(s.line)
	}
}

// place puts a delivery where it belongs.
func (x *Index) place(s *slot) {
	x.takeOut(s)
	switch {
	case s.lease != nil || s.entry.withdrawn:
	case s.pending:
		x.lost[s.entry.id] = true
		x.wake.Raise()
	case s.entry.withheld, x.suspended.classes[s.entry.class]:
	case s.waiting() > 0:
		s.line.enter(s, x.now)
		x.fix(s.line)
		x.announce(s.Next)
	}
}

// announce wakes the scheduler when it does not know that something is due
// at next.
func (x *Index) announce(next time.Time) {
	if x.promised.IsZero() || !next.After(x.promised) {
		x.wake.Raise()
	}
}

// fix brings a line to its place among the others after it has changed.
func (x *Index) fix(l *line) {
	runs := !l.suspended && !x.suspended.delivery
	highest, due := l.highest()
	x.due.Set(l, l.inDue, runs && due && (!l.parked || highest > l.parkedAs))
	x.upcoming.Set(l, l.inUpcoming, runs && l.waiting.Len() > 0)
}

// Park is Scheduler.Park.
func (x *Index) Park(d mail.Destination, parked bool, as mail.Class) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.lines[d]
	if l == nil {
		return
	}
	l.parked, l.parkedAs = parked, as
	x.fix(l)
}

// Hasten is Scheduler.Hasten.
func (x *Index) Hasten(id mail.ID, d mail.Destination, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[id]
	if item == nil {
		return false
	}
	s := item.slot(d)
	if s == nil || s.lease != nil || s.waiting() == 0 || !s.Next.After(now) {
		return false
	}
	x.takeOut(s) // by the time that it has so far
	s.Next = now
	x.place(s)
	return true
}

// Shift is Scheduler.Shift.
func (x *Index) Shift(by time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, item := range x.entries {
		for _, s := range item.slots {
			s.Next = s.Next.Add(by)
		}
	}
	for _, l := range x.leases {
		l.until = l.until.Add(by)
	}
	x.now = x.now.Add(by)
	if !x.promised.IsZero() {
		x.promised = x.promised.Add(by)
	}
	x.wake.Raise()
}

// Due is Scheduler.Due.
func (x *Index) Due(now time.Time, limit int) Agenda {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.advance(now)
	var agenda Agenda
	var shown []*line
	for len(shown) < limit && x.due.Len() > 0 {
		l := x.due.Remove(0)
		shown = append(shown, l)
		agenda.Destinations = append(agenda.Destinations, l.agenda())
	}
	for _, l := range shown {
		x.due.Push(l)
	}
	if x.upcoming.Len() > 0 {
		agenda.Next = x.upcoming.Top().waiting.Top().Next
	}
	if x.ends.Len() > 0 {
		if end := x.ends.Top().until; agenda.Next.IsZero() || end.Before(agenda.Next) {
			agenda.Next = end
		}
	}
	x.promised = agenda.Next
	return agenda
}

// advance brings the index to a time: leases are lost, deliveries become due.
func (x *Index) advance(now time.Time) {
	x.expire(now)
	if now.Before(x.now) {
		for _, l := range x.lines {
			l.demote(now)
			x.fix(l)
		}
	}
	x.now = now
	for x.upcoming.Len() > 0 {
		l := x.upcoming.Top()
		if l.waiting.Top().Next.After(now) {
			return
		}
		l.promote(now)
		x.fix(l)
	}
}

// Backlog is Reader.Backlog.
func (x *Index) Backlog(d mail.Destination) Backlog {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.lines[d]
	if l == nil {
		return Backlog{}
	}
	l.promote(x.now) // advance passes over what is suspended
	x.fix(l)
	return l.backlog()
}

// May reports whether the selector can select a recipient of an entry, as far
// as the index knows it. What it does not know may be anything.
func (x *Index) May(s *Selector, id mail.ID) bool {
	if s.destinations == nil && s.states == nil {
		return true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[id]
	return item == nil || slices.ContainsFunc(item.slots, func(d *slot) bool { return s.may(d.line.destination, d.Tally) })
}

// Has reports whether there is an entry.
func (x *Index) Has(id mail.ID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.entries[id] != nil
}

// Destinations returns where an entry's deliveries go; nil when there is no
// such entry.
func (x *Index) Destinations(id mail.ID) []mail.Destination {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[id]
	if item == nil {
		return nil
	}
	all := make([]mail.Destination, len(item.slots))
	for i, s := range item.slots {
		all[i] = s.line.destination
	}
	return all
}

// Entries returns how many entries there are.
func (x *Index) Entries() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.entries)
}

// Deliveries returns how many deliveries there are.
func (x *Index) Deliveries() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, l := range x.lines {
		n += l.slots
	}
	return n
}

// About returns the name of an entry's content, and its class. Errors:
// ErrNotFound.
func (x *Index) About(id mail.ID) (body mail.ID, class mail.Class, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[id]
	if item == nil {
		return "", 0, ErrNotFound
	}
	return item.body, item.class, nil
}

// Refresh sets the class of e, the attempts that its deliveries have registered, and when
// they are due. What is stored may be behind: an entry has the class with which it was
// accepted, attempts are written later, and times are as they were before the clock was
// stepped.
func (x *Index) Refresh(e *Entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[e.ID]
	if item == nil {
		return
	}
	e.Class = item.class
	for i := range e.Deliveries {
		if s := item.slot(e.Deliveries[i].Destination); s != nil {
			e.Deliveries[i].Attempts, e.Deliveries[i].Next = s.Attempts, s.Next
		}
	}
}

// Total counts all recipients by state.
func (x *Index) Total() map[mail.State]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.total.byState()
}

// Classes is Reader.Classes.
func (x *Index) Classes() map[mail.Class]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	counts := make(map[mail.Class]int)
	for class, t := range x.classes {
		if n := t.waiting(); n > 0 {
			counts[class] = n
		}
	}
	return counts
}
