package deliver

import (
	"context"
	"slices"
)

// This file bounds how many connections a site has in use. The bound can
// change: those above it end in their own time.

// slots counts the connections that a site has in use, and those who wait for
// one. The mu of sites guards it.
type slots struct {
	used    int
	waiting []chan struct{} // closed when it is their turn; the longest first
}

// occupy waits for the right to use one connection of a site. It fails with the
// error of ctx; else vacate must follow.
func (s *sites) occupy(ctx context.Context, x *site) error {
	s.mu.Lock()
	turn := make(chan struct{})
	x.slots.waiting = append(x.slots.waiting, turn)
	s.grant(x)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		s.giveUp(x, turn)
		return ctx.Err()
	}
}

// giveUp waits no longer. The turn may have come meanwhile.
func (s *sites) giveUp(x *site, turn chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := slices.Index(x.slots.waiting, turn); at >= 0 {
		x.slots.waiting = slices.Delete(x.slots.waiting, at, at+1)
		return
	}
	x.slots.used--
	s.grant(x)
}

// vacate gives the right back.
func (s *sites) vacate(x *site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.slots.used--
	s.grant(x)
}

// grant lets those go on for whom there is room. mu is held.
func (s *sites) grant(x *site) {
	for len(x.slots.waiting) > 0 && x.slots.used < x.limit {
		close(x.slots.waiting[0])
		x.slots.waiting = x.slots.waiting[1:]
		x.slots.used++
	}
}

// change takes new settings: from now on other numbers hold, and no connection
// is kept that was made under the old ones.
func (s *sites) change(to *Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings, s.limit, s.idle = to, to.MaxPerSite, to.IdleTimeout
	for _, x := range s.byName {
		for _, kept := range x.idle {
			if kept.timer.Stop() {
				kept.timer.Reset(0) // it closes the connection, beside us
			}
		}
		x.idle = nil
		s.fit(x)
	}
	s.reconsider()
}
