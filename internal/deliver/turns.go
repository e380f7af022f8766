package deliver

import (
	"cmp"
	"time"

	"postern/internal/heap"
	"postern/internal/mail"
	"postern/internal/queue"
)

// This file decides which site is next.
//
// What sites compete for is the time of the slots in which transactions run.
// So a site pays for each turn with the time that its transactions take, and
// the one that has paid least is next: a site that answers in milliseconds has
// its turn a thousand times while another, that takes seconds, has one. A site
// that had nothing to send meanwhile has no credit from it. (This is
// start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996.)
//
// Two rules more: while others wait, no site has more than a quarter of the
// slots; and a quarter of them is only for sites that are known to be quick,
// so that many that are slow, or do not answer, cannot have them all.

// quarter is the part of the slots that one site may have while others wait,
// and that only quick sites may have.
func quarter(slots int) int { return slots / 4 }

const (
	// slow is the time of a transaction from which its site is not quick.
	slow = 2 * time.Second
	// unknownTime is what a transaction is taken to need at a site that had
	// none.
	unknownTime = time.Second
	// leastTime is the least that a transaction costs.
	leastTime = time.Millisecond
	// atOnce is how many transactions a site begins in one turn.
	atOnce = 10
)

// waiter is a destination with mail that is due. It waits for its turn at its
// site, and is parked in the queue meanwhile.
type waiter struct {
	destination mail.Destination
	class       mail.Class
	number      uint64 // in the order in which they came
	site        *site
	position    int
}

// turn is what a site has of the turns.
type turn struct {
	waiting heap.Heap[*waiter]
	// paid is what the site has paid for its turns so far, in time.
	paid time.Duration
	// took is what its transactions take, the last ones most; 0 when none has
	// ended.
	took time.Duration
	// positions are those in the heaps of turns.
	positions [2]int
}

// turns are the sites that have something due and room for it, in the order
// in which it is their turn: those that are quick, and the others.
type turns struct {
	waiters map[mail.Destination]*waiter
	number  uint64 // of the last waiter
	ready   [2]heap.Heap[*site]
	// paid is what the site had paid whose turn was last.
	paid time.Duration
	// others counts the transactions in hand of sites that were not quick.
	others int
}

func newTurns() turns {
	t := turns{waiters: make(map[mail.Destination]*waiter)}
	for i := range t.ready {
		t.ready[i] = heap.Heap[*site]{
			Before: siteBefore,
			Moved:  func(x *site, position int) { x.positions[i] = position },
		}
	}
	return t
}

func newTurn() turn {
	return turn{
		waiting: heap.Heap[*waiter]{
			Before: waiterBefore,
			Moved:  func(w *waiter, position int) { w.position = position },
		},
		positions: [2]int{heap.Absent, heap.Absent},
	}
}

// waiterBefore orders the destinations of a site: highest class first, then in
// the order in which they came.
func waiterBefore(a, b *waiter) bool {
	if a.class != b.class {
		return a.class > b.class
	}
	return a.number < b.number
}

// siteBefore orders sites: highest class first, then by what they have paid.
func siteBefore(a, b *site) bool {
	x, y := a.waiting.Top(), b.waiting.Top()
	return cmp.Or(cmp.Compare(y.class, x.class), cmp.Compare(a.paid, b.paid), cmp.Compare(x.number, y.number)) < 0
}

// The two heaps of turns.
const (
	quickSites = iota
	otherSites
)

// pace is the heap in which a site stands.
func (x *site) pace() int {
	if x.took > 0 && x.took < slow {
		return quickSites
	}
	return otherSites
}

// measure notes what a transaction took.
func (x *site) measure(took time.Duration) {
	if x.took > 0 {
		took = (3*x.took + took) / 4
	}
	x.took = max(took, leastTime)
}

// admit lets a destination wait at its site. It returns false when it already
// does.
func (s *sites) admit(due queue.Due) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiters[due.Destination] != nil {
		return false
	}
	w := &waiter{destination: due.Destination, class: due.Class, site: s.of(due.Destination), position: heap.Absent}
	s.waiters[due.Destination] = w
	s.queueUp(w)
	return true
}

// queueUp puts a waiter behind the others of its class. mu is held.
func (s *sites) queueUp(w *waiter) {
	s.number++
	w.number = s.number
	w.site.waiting.Set(w, w.position, true)
	s.fix(w.site)
}

// transfer lets a destination wait at the site that turned out to be its own.
// mu is held.
func (s *sites) transfer(d mail.Destination, to *site) {
	w := s.waiters[d]
	if w == nil || w.site == to {
		return
	}
	from := w.site
	from.waiting.Remove(w.position)
	s.part(d, from)
	s.fix(from)
	w.site = to
	s.queueUp(w)
}

// dismiss lets a destination wait no longer.
func (s *sites) dismiss(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiters, w.destination)
	w.site.waiting.Remove(w.position)
	s.part(w.destination, w.site)
	s.fix(w.site)
}

// yield lets the other destinations of its site go first next time.
func (s *sites) yield(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queueUp(w)
}

// waits reports whether there is a destination that waits.
func (s *sites) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiters) > 0
}

// fix brings a site to its place among the others after it has changed. mu is
// held.
func (s *sites) fix(x *site) {
	ready := x.waiting.Len() > 0 && x.room() > 0
	for i := range s.ready {
		s.ready[i].Set(x, x.positions[i], ready && i == x.pace())
	}
}

// charge lets a site pay for a transaction what those before have taken. What
// it really takes is settled when it ends. mu is held.
func (s *sites) charge(x *site) time.Duration {
	cost := cmp.Or(x.took, unknownTime)
	x.paid = max(x.paid, s.paid) + cost
	return cost
}

// next returns the destination whose turn it is, and how many of its
// deliveries may be claimed; nil when no site has anything due and room for
// it. Of all slots, free are free.
func (s *sites) next(slots, free int) (*waiter, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	forOthers := slots - quarter(slots) - s.others
	x, alone := s.choose(max(1, quarter(slots)), forOthers > 0)
	if x == nil || free <= 0 {
		return nil, 0
	}
	most := min(free, x.room(), atOnce)
	if !alone {
		most = min(most, max(1, quarter(slots))-x.inHand)
	}
	switch {
	case x.took == 0:
		most = 1
	case x.pace() != quickSites:
		most = min(most, forOthers)
	}
	s.paid = max(s.paid, x.paid)
	return x.waiting.Top(), most
}

// choose returns the site whose turn it is: the first that has less than its
// share, or, when there is none, the first of all, which may have more, since
// it is alone. all says that it need not be quick. mu is held.
func (s *sites) choose(share int, all bool) (x *site, alone bool) {
	var passed []*site
	defer func() {
		for _, other := range passed {
			s.fix(other)
		}
	}()
	for {
		x := s.first(all)
		switch {
		case x == nil && len(passed) > 0:
			return passed[0], true
		case x == nil:
			return nil, false
		case x.inHand < share:
			return x, len(passed) == 0 && s.ready[quickSites].Len()+s.ready[otherSites].Len() == 1
		}
		passed = append(passed, x)
		s.ready[x.pace()].Remove(x.positions[x.pace()])
	}
}

// first returns the site that has paid least; all says that it need not be
// quick. mu is held.
func (s *sites) first(all bool) *site {
	var x *site
	if quick := &s.ready[quickSites]; quick.Len() > 0 {
		x = quick.Top()
	}
	if other := &s.ready[otherSites]; all && other.Len() > 0 && (x == nil || siteBefore(other.Top(), x)) {
		x = other.Top()
	}
	return x
}
