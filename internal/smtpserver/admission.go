package smtpserver

import (
	"net/netip"

	"postern/internal/mail"
)

// enter registers a connection, and returns the reply that refuses it when
// there are too many.
func (s *Server) enter(c *conn, client netip.Addr) mail.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
	key := clientKey(client)
	switch {
	case s.stopped:
		return stoppingReply(s.options.Hostname)
	case s.admitted >= s.Limit():
		return crowdedReply(s.options.Hostname)
	case s.perClient[key] >= s.options.MaxConnectionsPerClient:
		return mail.NewReply(421, "4.7.0", "Too many connections from %s, try again later", client)
	}
	s.admitted++
	s.perClient[key]++
	c.admitted = true
	return mail.Reply{}
}

// release gives the place of a client, if it still has one, to others. It
// comes before the end of the connection does, so that a client that has seen
// the one is not refused for it.
func (s *Server) release(c *conn, client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free(c, client)
}

// giveWay frees the place of a client when there are more of them than are to
// be served at present, and reports whether it did. It does so at once, so
// that of those who ask together only as many go as must.
func (s *Server) giveWay(c *conn, client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admitted <= s.Limit() {
		return false
	}
	s.free(c, client)
	return true
}

// free is release; mu is held.
func (s *Server) free(c *conn, client netip.Addr) {
	if !c.admitted {
		return
	}
	c.admitted = false
	s.admitted--
	key := clientKey(client)
	if s.perClient[key]--; s.perClient[key] == 0 {
		delete(s.perClient, key)
	}
}

// Limit returns how many clients are served at present: MaxConnections, or
// fewer if Options.Limit says so.
func (s *Server) Limit() int { return min(s.options.Limit(), s.options.MaxConnections) }

// mayLinger reports whether a connection that is over may wait for its client
// to close it. Such connections hold no place, so a flood of clients must not
// heap them up.
func (s *Server) mayLinger() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) <= 2*s.options.MaxConnections
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// clientKey is what connections are counted by: an IPv4 address or an IPv6
// /64, of which one host commonly has all addresses.
func clientKey(client netip.Addr) netip.Prefix {
	bits := client.BitLen()
	if client.Is6() {
		bits = 64
	}
	key, _ := client.Prefix(bits) // the zero Prefix where there is no address
	return key
}

func crowdedReply(hostname string) mail.Reply {
	return mail.NewReply(421, "4.3.2", "%s has too many connections, try again later", hostname)
}

func stoppingReply(hostname string) mail.Reply {
	return mail.NewReply(421, "4.3.2", "%s is shutting down, try again later", hostname)
}
