package deliver

import (
	"context"
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
	conn     *smtpclient.Conn
	lane     route.Lane
	settings *Settings
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
		if len(site.idle) > 0 && len(site.idle)+site.slots.used > s.limit {
			oldest = site.idle[0]
		}
		s.mu.Unlock()
		if oldest == nil {
			return
		}
		if s.take(site, oldest) {
			oldest.conn.Close()
		}
	}
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
		used.conn.Close()
	}
	s.vacate(site)
}

func (s *sites) keep(site *site, used link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || used.settings != s.settings || !used.conn.Usable() {
		return false
	}
	kept := &idleConn{link: used}
	s.timers.Add(1)
	kept.timer = time.AfterFunc(s.idle, func() {
		defer s.timers.Done()
		s.forget(site, kept)
		used.conn.Close()
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
	var open []*smtpclient.Conn
	for _, site := range s.byName {
		for _, c := range site.idle {
			if c.timer.Stop() {
				s.timers.Done()
				open = append(open, c.conn)
			}
		}
		site.idle = nil
	}
	s.mu.Unlock()
	var closing sync.WaitGroup
	for _, conn := range open {
		closing.Go(func() { conn.Close() })
	}
	closing.Wait()
	s.timers.Wait()
}
