package smtpserver

import (
	"time"

	"postern/internal/mail"
)

// This file replaces the options of a server that runs.
//
// A session keeps those with which it began, so that what EHLO has offered
// stays true. It must not keep them for ever: some clients hold a session open
// for days.

// lastOfOld is how long a session may go on after its options were replaced.
const lastOfOld = 10 * time.Minute

// edition is the options of the sessions that began at one time.
type edition struct {
	options Options
	handler Handler
	// The server's mu guards the rest. sessions counts those that have it, and
	// expiry, once it is set, ends those that are left when the time is over.
	sessions int
	expiry   *time.Timer
}

// left notes that one of the sessions has ended.
func (e *edition) left() {
	if e.sessions--; e.sessions == 0 && e.expiry != nil {
		e.expiry.Stop()
	}
}

// Options returns the options that a session gets which begins now.
func (s *Server) Options() Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.options
}

// Change replaces options and handler for all sessions that begin from now on.
// Those that run keep theirs for at most ten minutes; then they end with 421
// 4.3.2 between two transactions. Places are counted on: clients that are
// connected count against the new limits, but none is sent away for these.
func (s *Server) Change(o Options, h Handler) {
	next := &edition{options: o.withDefaults(), handler: h}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retire()
	s.current = next
}

// Release takes no more clients, and closes the listeners. The sessions go on
// as those do after Change; Serve returns when they have ended.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closeListeners()
	s.retire()
}

// retire gives the sessions that have the current options their last minutes.
// mu is held.
func (s *Server) retire() {
	if old := s.current; old.sessions > 0 && old.expiry == nil {
		old.expiry = time.AfterFunc(lastOfOld, func() { s.expire(old) })
	}
}

// expire ends the sessions that still have old options.
func (s *Server) expire(old *edition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.edition == old {
			c.stop()
		}
	}
}

func reconfiguredReply(hostname string) mail.Reply {
	return mail.NewReply(421, "4.3.2", "%s has new settings, connect again", hostname)
}
