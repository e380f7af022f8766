package deliver

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/internal/route"
	"postern/internal/smtpclient"
)

// This file keeps the connections of the sites: how many are in use, and those
// that wait for the next message.

// link is a connection, and what it was made for.
type link struct {
	conn     *smtpclient.Conn // nil when there is none
	lane     route.Lane
	address  netip.AddrPort
	target   route.Target // that it takes a place of; nil for none
	settings *Settings
}

// close closes the connection, if there is one, and gives its place back.
func (l *link) close() {
	if l.conn == nil {
		return
	}
	l.conn.Close()
	if l.target != nil {
		l.target.Leave()
	}
	l.conn = nil
}

type idleConn struct {
	link
	timer *time.Timer
}

// acquire waits for the right to use one connection of a site, and returns the
// last used of those that are idle and fit, if there is one. Release must
// follow.
func (s *sites) acquire(ctx context.Context, name string, fits func(*idleConn) bool) (*site, *idleConn, error) {
	s.mu.Lock()
	site := s.get(name)
	s.mu.Unlock()
	if err := s.occupy(ctx, site); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	candidates := slices.Clone(site.idle)
	s.mu.Unlock()
	// Whether one fits may take a look at the whole content, so that nobody
	// else must wait for the answer.
	for _, kept := range slices.Backward(candidates) {
		if fits(kept) && s.take(site, kept) {
			return site, kept, nil
		}
	}
	s.makeRoom(site)
	return site, nil, nil
}

// makeRoom closes idle connections, the oldest first, so that a new one does
// not make more of them than the site may have.
func (s *sites) makeRoom(site *site) {
	for {
		s.mu.Lock()
		var oldest *idleConn
		if len(site.idle) > 0 && len(site.idle)+site.slots.used > site.limit {
			oldest = site.idle[0]
		}
		s.mu.Unlock()
		if oldest == nil {
			return
		}
		if s.take(site, oldest) {
			oldest.close()
		}
	}
}

// leavePlace closes the connection of a site that is idle for longest and takes a place of a
// target at an address, and reports whether there was one.
func (s *sites) leavePlace(site *site, address netip.AddrPort) bool {
	s.mu.Lock()
	candidates := slices.Clone(site.idle)
	s.mu.Unlock()
	for _, kept := range candidates {
		if kept.target != nil && kept.address == address && s.take(site, kept) {
			kept.close()
			return true
		}
	}
	return false
}

// take takes a connection out of the idle ones, for use. It returns false when
// another was quicker, or it is being closed.
func (s *sites) take(site *site, kept *idleConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(site.idle, kept)
	if at < 0 {
		return false
	}
	site.idle = slices.Delete(site.idle, at, at+1)
	if !kept.timer.Stop() {
		return false
	}
	s.timers.Done()
	return true
}

// avoidChunks notes that mail for a site goes without BDAT from now on.
func (s *sites) avoidChunks(site *site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	site.noChunks = true
}

func (s *sites) avoidsChunks(site *site) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return site.noChunks
}

// release gives the right back, and keeps the connection for the next
// message while it is usable and the settings are the same. Its connection may
// be nil.
func (s *sites) release(site *site, used link) {
	if used.conn != nil && !s.keep(site, used) {
		used.close()
	}
	s.vacate(site)
	s.vacated(site, used)
}

// vacated tells a site that a place at a target may be free: that of a connection that
// is closed, or can be used by the next message.
func (s *sites) vacated(site *site, of link) {
	if of.target != nil {
		s.roomAt(site, of.address)
	}
}

func (s *sites) keep(site *site, used link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := s.idle
	if s.settings != nil {
		idle = s.settings.transport(site.transport).IdleTimeout
	}
	if s.closed || idle == 0 || used.settings != s.settings || !used.conn.Usable() {
		return false
	}
	kept := &idleConn{link: used}
	s.timers.Add(1)
	kept.timer = time.AfterFunc(idle, func() {
		defer s.timers.Done()
		s.forget(site, kept)
		kept.close()
		s.vacated(site, kept.link)
	})
	site.idle = append(site.idle, kept)
	return true
}

// forget takes a connection out of the idle ones of its site.
func (s *sites) forget(site *site, gone *idleConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	site.idle = slices.DeleteFunc(site.idle, func(c *idleConn) bool { return c == gone })
}

// close closes all idle connections and waits until they are. No transaction
// may be running.
func (s *sites) close() {
	s.mu.Lock()
	s.closed = true
	var open []*idleConn
	for _, site := range s.byName {
		for _, c := range site.idle {
			if c.timer.Stop() {
				s.timers.Done()
				open = append(open, c)
			}
		}
		site.idle = nil
	}
	s.mu.Unlock()
	var closing sync.WaitGroup
	for _, kept := range open {
		closing.Go(kept.close)
	}
	closing.Wait()
	s.timers.Wait()
}
