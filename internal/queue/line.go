package queue

import (
	"slices"
	"strings"
	"time"

	"postern/internal/heap"
	"postern/internal/mail"
)

// slot is one delivery in the index.
type slot struct {
	Summary
	entry    *indexed
	line     *line
	pending  bool // edits wait for the end of its lease, or of one that was lost
	lease    *lease
	heap     *heap.Heap[*slot] // that it stands in; nil when it cannot be claimed
	position int
}

// indexed is one entry in the index.
type indexed struct {
	id    mail.ID
	body  mail.ID
	class mail.Class
	slots []*slot // in order of destination
	// locked: somebody's change is on its way to the disk. withdrawn: and
	// until then none of its deliveries may be claimed.
	locked, withdrawn bool
	// withheld: its sender is suspended.
	withheld bool
}

// find looks for a destination among the slots, which are in order of it.
func (e *indexed) find(d mail.Destination) (i int, found bool) {
	return slices.BinarySearchFunc(e.slots, d, func(s *slot, d mail.Destination) int {
		return strings.Compare(string(s.line.destination), string(d))
	})
}

func (e *indexed) slot(d mail.Destination) *slot {
	if i, found := e.find(d); found {
		return e.slots[i]
	}
	return nil
}

// line is the deliveries of one destination: those that wait for their time,
// and those that are due, by class.
type line struct {
	destination mail.Destination
	suspended   bool       // by an operator
	parked      bool       // by the scheduler
	parkedAs    mail.Class // what of it the scheduler knows
	slots       int        // all of them, leased and held ones too
	waiting     heap.Heap[*slot]
	ready       []rank // highest class first; a rank stays when it is empty
	// positions in the index's heaps of lines
	inDue, inUpcoming int
}

// rank is the due deliveries of one class.
type rank struct {
	class mail.Class
	slots *heap.Heap[*slot]
	// turns counts claims of it while lower classes were due, since the last of these.
	turns int
}

func newLine(d mail.Destination) *line {
	return &line{destination: d, waiting: slotHeap(), inDue: heap.Absent, inUpcoming: heap.Absent}
}

func slotHeap() heap.Heap[*slot] {
	return heap.Heap[*slot]{
		Before: func(a, b *slot) bool {
			if !a.Next.Equal(b.Next) {
				return a.Next.Before(b.Next)
			}
			return a.entry.id < b.entry.id
		},
		Moved: func(s *slot, i int) { s.position = i },
	}
}

// rank returns the heap for a class, made when there was none.
func (l *line) rank(c mail.Class) *heap.Heap[*slot] {
	i, found := slices.BinarySearchFunc(l.ready, c, func(r rank, c mail.Class) int { return int(c) - int(r.class) })
	if !found {
		h := slotHeap()
		l.ready = slices.Insert(l.ready, i, rank{class: c, slots: &h})
	}
	return l.ready[i].slots
}

// enter puts a slot where it belongs when the time is now.
func (l *line) enter(s *slot, now time.Time) {
	s.heap = &l.waiting
	if !s.Next.After(now) {
		s.heap = l.rank(s.entry.class)
	}
	s.heap.Push(s)
}

// promote moves what has become due by now to its rank.
func (l *line) promote(now time.Time) {
	for l.waiting.Len() > 0 && !l.waiting.Top().Next.After(now) {
		l.enter(l.waiting.Remove(0), now)
	}
}

// demote undoes promote for a clock that stepped back to now.
func (l *line) demote(now time.Time) {
	for _, r := range l.ready {
		for _, s := range slices.Clone(r.slots.Items) {
			if s.Next.After(now) {
				r.slots.Remove(s.position)
				l.enter(s, now)
			}
		}
	}
}

// highest returns the highest class of which something is due; found is false when
// nothing is.
func (l *line) highest() (c mail.Class, found bool) {
	for i := range l.ready {
		if r := &l.ready[i]; r.slots.Len() > 0 {
			return r.class, true
		}
	}
	return 0, false
}

// next returns the due delivery to be claimed next, or nil: the oldest of the highest
// class, but each LowerShare-th time one of a lower class.
func (l *line) next() *slot {
	for i := range l.ready {
		r := &l.ready[i]
		switch {
		case r.slots.Len() == 0:
			continue
		case !l.dueBelow(i):
			return r.slots.Top()
		}
		if r.turns++; r.turns < LowerShare {
			return r.slots.Top()
		}
		r.turns = 0 // a lower class has its turn
	}
	return nil
}

// dueBelow reports whether something is due of a class lower than that of a rank.
func (l *line) dueBelow(at int) bool {
	return slices.ContainsFunc(l.ready[at+1:], func(r rank) bool { return r.slots.Len() > 0 })
}

// agenda sums up what is due; Count is 0 when nothing is.
func (l *line) agenda() Due {
	due := Due{Destination: l.destination}
	for _, r := range l.ready {
		if r.slots.Len() == 0 {
			continue
		}
		oldest := r.slots.Top().Next
		if due.Count == 0 {
			due.Class, due.Oldest = r.class, oldest
		} else if oldest.Before(due.Oldest) {
			due.Oldest = oldest
		}
		due.Count += r.slots.Len()
	}
	return due
}

// backlog is what waits, for its turn or for its time.
func (l *line) backlog() Backlog {
	due := l.agenda()
	b := Backlog{Due: due.Count, Class: due.Class, Later: l.waiting.Len()}
	if b.Later > 0 {
		b.Next = l.waiting.Top().Next
	}
	return b
}

// dueBefore orders destinations: highest class first, then oldest.
func dueBefore(a, b *line) bool {
	x, y := a.agenda(), b.agenda()
	switch {
	case x.Class != y.Class:
		return x.Class > y.Class
	case !x.Oldest.Equal(y.Oldest):
		return x.Oldest.Before(y.Oldest)
	}
	return x.Destination < y.Destination
}

// upcomingBefore orders destinations by their next waiting delivery.
func upcomingBefore(a, b *line) bool {
	return a.waiting.Top().Next.Before(b.waiting.Top().Next)
}
