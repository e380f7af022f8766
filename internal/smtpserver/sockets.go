package smtpserver

import "sync/atomic"

// Sockets bounds how many connections several servers have together, those
// that are refused or linger included. Each costs a descriptor, of which the
// process has only so many, and what else needs some must not go without.
//
// A nil *Sockets bounds nothing.
type Sockets struct {
	most int64
	open atomic.Int64
}

// NewSockets returns a bound of so many connections.
func NewSockets(most int) *Sockets { return &Sockets{most: int64(most)} }

// take counts one more connection, unless there are as many as may be. Give
// must follow when it is closed.
func (s *Sockets) take() bool {
	if s == nil || s.open.Add(1) <= s.most {
		return true
	}
	s.open.Add(-1)
	return false
}

func (s *Sockets) give() {
	if s != nil {
		s.open.Add(-1)
	}
}

// full reports whether no more may come.
func (s *Sockets) full() bool { return s != nil && s.open.Load() >= s.most }
