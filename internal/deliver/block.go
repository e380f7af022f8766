package deliver

import (
	"time"

	"postern/internal/heap"
)

// This file lets the mail of a site wait without an attempt: because it has had as many
// messages as its transport sends in a time, or because no target of its pool has room
// for one more connection. Its mail stays due; it is claimed when the wait is over.

// roomWait is the longest wait for room at the targets of a pool. Most often a
// connection that ends makes room before: but another site may be at the same targets.
const roomWait = 5 * time.Second

// blocked are the sites that are, by the time until which they are.
type blocked struct{ heap.Heap[*site] }

func newBlocked() blocked {
	return blocked{heap.Heap[*site]{
		Before: func(a, b *site) bool { return a.until.Before(b.until) },
		Moved:  func(x *site, position int) { x.blockedAt = position },
	}}
}

// isBlocked reports whether the site is.
func (x *site) isBlocked() bool { return x.blockedAt != heap.Absent }

// block lets the mail of the site wait until a time. What is in hand of it says nothing
// of how quick the site is.
func (p *place) block(until time.Time) {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	p.blockUntil(until)
}

// roomSeen is how often there was room at the targets of the site.
func (p *place) roomSeen() int {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	return p.site.roomMade
}

// blockForRoom is block for a message that found no room, unless some was made since.
func (p *place) blockForRoom(seen int, now time.Time) {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	p.untried = true
	if p.site.roomMade == seen {
		p.blockUntil(now.Add(roomWait))
	}
}

// roomAt tells a site that a target has a place again.
func (s *sites) roomAt(x *site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.roomMade++
	s.unblock(x)
}

// blockUntil is block; mu is held.
func (p *place) blockUntil(until time.Time) {
	s := p.sites
	p.untried = true
	x := p.site
	if x.isBlocked() && x.until.Before(until) {
		until = x.until // what comes first is looked at first
	}
	x.until = until
	s.blocked.Set(x, x.blockedAt, true)
	s.fix(x)
}

// unblock ends the wait of a site. It reports whether there was one. mu is held.
func (s *sites) unblock(x *site) bool {
	if !x.isBlocked() {
		return false
	}
	s.blocked.Remove(x.blockedAt)
	s.fix(x)
	return true
}

// elapse ends the waits that are over at now, and returns when the next is; zero when
// there is none.
func (s *sites) elapse(now time.Time) (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.blocked.Len() > 0 {
		first := s.blocked.Top()
		if first.until.After(now) {
			return first.until
		}
		s.unblock(first)
	}
	return time.Time{}
}
