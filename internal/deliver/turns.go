package deliver

import (
	"cmp"
	"slices"
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
// Before that stand the classes of priority, by the same rule: a class has paid with the
// time of its transactions too, the lower ones dearly, and the one that has paid least
// is next. So urgent mail goes first while there is a little of it; and with more than
// enough of each, of 21 parts of the time 16 are for urgent mail, 4 for normal, and one
// for bulk, which waits long, but not for ever.
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

// band is a class of priority, as turns have it: the highest first.
type band int

// prices are what a second costs in each band: each time four times as much.
var prices = [...]time.Duration{1, 4, 16}

// bands is how many there are.
const bands = len(prices)

// bandOf returns the band of a class.
func bandOf(c mail.Class) band {
	switch {
	case c >= mail.Urgent:
		return 0
	case c <= mail.Bulk:
		return 2
	}
	return 1
}

// waiter is a destination with mail that is due. It waits for its turn at its
// site, and is parked in the queue meanwhile.
type waiter struct {
	destination mail.Destination
	band        band
	number      uint64 // in the order in which they came
	site        *site
	position    int
}

// turn is what a site has of the turns.
type turn struct {
	waiting [bands]heap.Heap[*waiter]
	// paid is what the site has paid for its turns so far, in time.
	paid time.Duration
	// took is what its transactions take, the last ones most; 0 when none has
	// ended.
	took time.Duration
	// positions are those in the heaps of turns.
	positions [bands][2]int
}

// turns are the sites that have something due and room for it, in the order
// in which it is their turn: of each band those that are quick, and the others.
type turns struct {
	waiters map[mail.Destination]*waiter
	number  uint64 // of the last waiter
	ready   [bands][2]heap.Heap[*site]
	// paid is what the site had paid whose turn was last, of the bands likewise.
	paid, bandPaid time.Duration
	// ofBand is what each band has paid.
	ofBand [bands]time.Duration
	// others counts the transactions in hand of sites that were not quick.
	others int
}

func newTurns() turns {
	t := turns{waiters: make(map[mail.Destination]*waiter)}
	for b := range t.ready {
		for i := range t.ready[b] {
			t.ready[b][i] = heap.Heap[*site]{
				Before: func(x, y *site) bool { return siteBefore(x, y, band(b)) },
				Moved:  func(x *site, position int) { x.positions[b][i] = position },
			}
		}
	}
	return t
}

func newTurn() turn {
	var t turn
	for b := range t.waiting {
		t.waiting[b] = heap.Heap[*waiter]{
			Before: func(x, y *waiter) bool { return x.number < y.number },
			Moved:  func(w *waiter, position int) { w.position = position },
		}
		t.positions[b] = [2]int{heap.Absent, heap.Absent}
	}
	return t
}

// siteBefore orders sites that have something of a band: by what they have paid.
func siteBefore(a, b *site, of band) bool {
	return cmp.Or(cmp.Compare(a.paid, b.paid), cmp.Compare(a.waiting[of].Top().number, b.waiting[of].Top().number)) < 0
}

// The two heaps of the sites of a band.
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

// waits is how many destinations wait at a site.
func (x *site) waits() int {
	n := 0
	for b := range x.waiting {
		n += x.waiting[b].Len()
	}
	return n
}

// measure notes what a transaction took.
func (x *site) measure(took time.Duration) {
	if x.took > 0 {
		took = (3*x.took + took) / 4
	}
	x.took = max(took, leastTime)
}

// admit lets a destination wait at its site. Of one that already does it takes note when
// something of a higher class is due.
func (s *sites) admit(due queue.Due) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := bandOf(due.Class)
	if w := s.waiters[due.Destination]; w == nil {
		w = &waiter{destination: due.Destination, band: b, site: s.of(due.Destination), position: heap.Absent}
		s.waiters[due.Destination] = w
		s.queueUp(w)
	} else if b < w.band {
		s.rank(w, b)
	}
}

// queueUp puts a waiter behind the others of its band. mu is held.
func (s *sites) queueUp(w *waiter) {
	s.number++
	w.number = s.number
	w.site.waiting[w.band].Set(w, w.position, true)
	s.fix(w.site)
}

// rank puts a waiter behind the others of a band. mu is held.
func (s *sites) rank(w *waiter, b band) {
	if w.band != b {
		w.site.waiting[w.band].Remove(w.position)
		w.band = b
	}
	s.queueUp(w)
}

// transfer lets a destination wait at the site that turned out to be its own.
// mu is held.
func (s *sites) transfer(d mail.Destination, to *site) {
	w := s.waiters[d]
	if w == nil || w.site == to {
		return
	}
	from := w.site
	from.waiting[w.band].Remove(w.position)
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
	w.site.waiting[w.band].Remove(w.position)
	s.part(w.destination, w.site)
	s.fix(w.site)
}

// yield lets the other destinations of its site go first next time. What is due of it now
// is of a class.
func (s *sites) yield(w *waiter, c mail.Class) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rank(w, bandOf(c))
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
	room := x.room() > 0
	for b := range s.ready {
		for i := range s.ready[b] {
			s.ready[b][i].Set(x, x.positions[b][i], room && x.waiting[b].Len() > 0 && i == x.pace())
		}
	}
}

// charge lets a site, and the band of what it sends, pay for a transaction what those
// before have taken. What it really takes is settled when it ends. mu is held.
func (s *sites) charge(x *site, b band) time.Duration {
	cost := cmp.Or(x.took, unknownTime)
	x.paid = max(x.paid, s.paid) + cost
	s.ofBand[b] = max(s.ofBand[b], s.bandPaid) + cost*prices[b]
	return cost
}

// settle lets a site and a band pay more than they were charged, or less. mu is held.
func (s *sites) settle(x *site, b band, more time.Duration) {
	x.paid += more
	s.ofBand[b] += more * prices[b]
}

// next returns the destination whose turn it is, and how many of its
// deliveries may be claimed; nil when no site has anything due and room for
// it. Of all slots, free are free.
func (s *sites) next(slots, free int) (*waiter, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free <= 0 {
		return nil, 0
	}
	share := max(1, quarter(slots))
	forOthers := slots - quarter(slots) - s.others
	x, b, alone := s.choose(share, forOthers > 0)
	if x == nil {
		return nil, 0
	}
	most := min(free, x.room(), atOnce)
	if !alone {
		most = min(most, share-x.inHand)
	}
	switch {
	case x.took == 0:
		most = 1
	case x.pace() != quickSites:
		most = min(most, forOthers)
	}
	s.paid, s.bandPaid = max(s.paid, x.paid), max(s.bandPaid, s.ofBand[b])
	return x.waiting[b].Top(), most
}

// choose returns the site whose turn it is, with the band: the first that has less than
// its share, or, when there is none, the first of all, which may have more, since
// it is alone. all says that it need not be quick. mu is held.
func (s *sites) choose(share int, all bool) (x *site, b band, alone bool) {
	var over *site
	var overBand band
	for _, b := range s.order() {
		below, first := s.below(b, share, all)
		if below != nil {
			return below, b, s.standing() == 1
		}
		if over == nil {
			over, overBand = first, b
		}
	}
	return over, overBand, true
}

// order returns the bands in the order in which it is their turn. mu is held.
func (s *sites) order() [bands]band {
	var list [bands]band
	for b := range list {
		list[b] = band(b)
	}
	paid := func(b band) time.Duration { return max(s.ofBand[b], s.bandPaid) }
	slices.SortStableFunc(list[:], func(a, b band) int { return cmp.Compare(paid(a), paid(b)) })
	return list
}

// standing is in how many heaps of turns sites stand. mu is held.
func (s *sites) standing() int {
	n := 0
	for b := range s.ready {
		n += s.ready[b][quickSites].Len() + s.ready[b][otherSites].Len()
	}
	return n
}

// below returns the first site of a band that has less than its share, nil for none; and
// the first of those that have it. mu is held.
func (s *sites) below(b band, share int, all bool) (x, over *site) {
	var passed []*site
	defer func() {
		for _, other := range passed {
			s.fix(other)
		}
	}()
	for {
		x := s.first(b, all)
		if x == nil || x.inHand < share {
			return x, over
		}
		passed = append(passed, x)
		over = passed[0]
		s.ready[b][x.pace()].Remove(x.positions[b][x.pace()])
	}
}

// first returns the site of a band that has paid least; all says that it need not be
// quick. mu is held.
func (s *sites) first(b band, all bool) *site {
	var x *site
	if quick := &s.ready[b][quickSites]; quick.Len() > 0 {
		x = quick.Top()
	}
	if other := &s.ready[b][otherSites]; all && other.Len() > 0 && (x == nil || siteBefore(other.Top(), x, b)) {
		x = other.Top()
	}
	return x
}
