package queue

import (
	"slices"
	"time"

	"postern/internal/heap"
	"postern/internal/mail"
)

// Claimed is a lease as the index gives it out: the engine makes a Lease of
// it with what it has stored.
type Claimed struct {
	Token       uint64
	ID          mail.ID
	Destination mail.Destination
	// Recipients is how many of the delivery's queued or deferred recipients
	// the lease is for: the first of them.
	Recipients int
	Attempt    int
	Until      time.Time
	// Pending says that edits wait for the end of the lease.
	Pending bool
}

// Standing is what a lease is worth.
type Standing int

// The standings of a lease.
const (
	LeaseLost    Standing = iota // lost, released, or never given
	LeaseHeld                    // held
	LeaseSettled                 // settled not long ago
)

// lease is a lease that is held.
type lease struct {
	token      uint64
	slot       *slot
	until      time.Time
	recipients int
	// position in Index.ends; heap.Absent while the lease is being ended, so that
	// it cannot be lost meanwhile.
	position int
}

func leaseHeap() heap.Heap[*lease] {
	return heap.Heap[*lease]{
		Before: func(a, b *lease) bool { return a.until.Before(b.until) },
		Moved:  func(l *lease, i int) { l.position = i },
	}
}

func (l *lease) claimed() Claimed {
	return Claimed{
		Token:       l.token,
		ID:          l.slot.entry.id,
		Destination: l.slot.line.destination,
		Recipients:  l.recipients,
		Attempt:     l.slot.Attempts,
		Until:       l.until,
		Pending:     l.slot.pending,
	}
}

// ActiveWindow is how many leases there may be before Claim gives out no
// more; siblings of the last delivery may exceed it.
const ActiveWindow = 20_000

// Claim is Scheduler.Claim. The attempt is registered in memory.
func (x *Index) Claim(d mail.Destination, n int, now, until time.Time) []Claimed {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.advance(now)
	l := x.lines[d]
	if l == nil || l.suspended || x.suspended.delivery {
		return nil
	}
	var all []Claimed
	for range n {
		s := l.next()
		if s == nil || len(x.leases) >= ActiveWindow {
			break
		}
		all = append(all, x.grant(s, until))
		for _, sibling := range s.entry.slots {
			if sibling.heap != nil && !sibling.line.suspended && !sibling.Next.After(now) {
				all = append(all, x.grant(sibling, until))
			}
		}
	}
	return all
}

func (x *Index) grant(s *slot, until time.Time) Claimed {
	x.takeOut(s)
	x.lastToken++
	s.Attempts++
	s.lease = &lease{token: x.lastToken, slot: s, until: until, recipients: s.waiting()}
	x.leases[s.lease.token] = s.lease
	x.ends.Push(s.lease)
	return s.lease.claimed()
}

// expire makes lost what nobody renewed in time.
func (x *Index) expire(now time.Time) {
	for x.ends.Len() > 0 && !now.Before(x.ends.Top().until) {
		l := x.ends.Top()
		x.forget(l)
		x.place(l.slot)
	}
}

// forget takes a lease away.
func (x *Index) forget(l *lease) {
	x.ends.Set(l, l.position, false)
	delete(x.leases, l.token)
	l.slot.lease = nil
}

// Lost returns the entries with edits that waited for a lease which was lost
// by now. The engine applies them; until then the delivery is not due.
func (x *Index) Lost(now time.Time) []mail.ID {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	var ids []mail.ID
	for id := range x.lost {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Recovered says that the edits of a lost entry are applied.
func (x *Index) Recovered(id mail.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.lost, id)
}

// Leased returns the number of leases held at now.
func (x *Index) Leased(now time.Time) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	return len(x.leases)
}

// LeasedIn returns the destinations of an entry whose deliveries are leased
// at now.
func (x *Index) LeasedIn(id mail.ID, now time.Time) []mail.Destination {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	var leased []mail.Destination
	if item := x.entries[id]; item != nil {
		for _, s := range item.slots {
			if s.lease != nil {
				leased = append(leased, s.line.destination)
			}
		}
	}
	return leased
}

// Renew is Scheduler.Renew.
func (x *Index) Renew(leases []Lease, now, until time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	var err error
	for i := range leases {
		l := x.held(&leases[i])
		if l == nil {
			err = ErrFenced
			continue
		}
		l.until = until
		x.ends.Set(l, l.position, l.position != heap.Absent)
	}
	return err
}

// held returns the lease when it is held, else nil.
func (x *Index) held(l *Lease) *lease {
	held := x.leases[l.Token]
	if held == nil || held.slot.entry.id != l.Entry.ID {
		return nil
	}
	return held
}

// Begin tells what a lease is worth. One that is held cannot be lost until
// Apply or Abort.
func (x *Index) Begin(l *Lease, now time.Time) (Claimed, Standing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	if held := x.held(l); held != nil {
		x.ends.Set(held, held.position, false)
		return held.claimed(), LeaseHeld
	}
	if x.settled.has(l.Token) {
		return Claimed{}, LeaseSettled
	}
	return Claimed{}, LeaseLost
}

// Abort says that leases are not ended after all.
func (x *Index) Abort(leases []Claimed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range leases {
		if l := x.leases[c.Token]; l != nil && l.position == heap.Absent {
			x.ends.Push(l)
		}
	}
}

// Lock waits until nobody else changes the entries, and returns those of
// them that exist, in order. Everybody locks in that order, so that nobody
// waits in a circle. Until Unlock their deliveries change only by the caller;
// they may be claimed, unless they are withdrawn.
func (x *Index) Lock(ids []mail.ID) []mail.ID {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	x.mu.Lock()
	defer x.mu.Unlock()
	var locked []mail.ID
	for _, id := range ids {
		item := x.entries[id]
		for item != nil && item.locked {
			x.unlocked.Wait()
			item = x.entries[id]
		}
		if item != nil {
			item.locked = true
			locked = append(locked, id)
		}
	}
	return locked
}

// Withdraw keeps a locked entry's deliveries from being claimed until Unlock.
func (x *Index) Withdraw(id mail.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[id]
	item.withdrawn = true
	for _, s := range item.slots {
		x.takeOut(s)
	}
}

// Unlock gives locked entries free.
func (x *Index) Unlock(ids []mail.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		item := x.entries[id]
		if item == nil {
			continue
		}
		item.locked = false
		if item.withdrawn {
			item.withdrawn = false
			for _, s := range item.slots {
				x.place(s)
			}
		}
	}
	x.unlocked.Broadcast()
}

// recentTokens remembers tokens, the last of them only.
type recentTokens struct {
	ring  []uint64
	next  int
	known map[uint64]bool
}

// rememberedTokens is how many settled leases are remembered: enough for
// every caller that may have to ask again, at 150 KiB or so.
const rememberedTokens = 8192

func (r *recentTokens) add(token uint64) {
	if r.known == nil {
		r.known = make(map[uint64]bool)
	}
	if len(r.ring) < rememberedTokens {
		r.ring = append(r.ring, token)
	} else {
		delete(r.known, r.ring[r.next])
		r.ring[r.next] = token
		r.next = (r.next + 1) % rememberedTokens
	}
	r.known[token] = true
}

func (r *recentTokens) has(token uint64) bool { return r.known[token] }
