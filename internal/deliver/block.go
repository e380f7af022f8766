package deliver

import (
	"time"

	"postern/internal/heap"
)

// This file lets the mail of a site wait without an attempt, because it has had as many
// messages as its transport sends in a time. Its mail stays due; it is claimed when the wait
// is over.

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
		s.blocked.Remove(first.blockedAt)
		s.fix(first)
	}
	return time.Time{}
}
