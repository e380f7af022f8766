package smtpserver

import (
	"net"
	"net/netip"
	"time"

	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/smtp"
)

// join registers a connection, which has the current options from here on.
// Leave must follow.
func (s *Server) join(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
	c.begin(s.current)
	if s.current.sessions++; s.closed { // accepted just before
		s.retire()
	}
}

// enter gives a connection a place, or returns the reply that refuses it when
// there are too many.
func (s *Server) enter(c *conn, o *mail.Origin) mail.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	options := &c.edition.options
	key := keyOf(o)
	switch {
	case s.stopped:
		return stoppingReply(options.Hostname)
	case s.admitted >= options.limit():
		return crowdedReply(options.Hostname)
	case s.perClient[key] >= options.MaxConnectionsPerClient:
		return mail.NewReply(421, "4.7.0", "Too many connections from %s, try again later", clientName(o))
	}
	s.admitted++
	s.perClient[key]++
	c.admitted = true
	return mail.Reply{}
}

// release gives the place of a client, if it still has one, to others. It
// comes before the end of the connection does, so that a client that has seen
// the one is not refused for it.
func (s *Server) release(c *conn, o *mail.Origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free(c, o)
}

// giveWay frees the place of a client when there are more of them than are to
// be served at present, and reports whether it did. It does so at once, so
// that of those who ask together only as many go as must. How many those are
// its own options say: a limit that was lowered since ends no session.
func (s *Server) giveWay(c *conn, o *mail.Origin) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admitted <= c.edition.options.limit() {
		return false
	}
	s.free(c, o)
	return true
}

// free is release; mu is held.
func (s *Server) free(c *conn, o *mail.Origin) {
	if !c.admitted {
		return
	}
	c.admitted = false
	s.admitted--
	key := keyOf(o)
	if s.perClient[key]--; s.perClient[key] == 0 {
		delete(s.perClient, key)
	}
}

// Limit returns how many clients are served at present: MaxConnections, or
// fewer if Options.Limit says so.
func (s *Server) Limit() int {
	o := s.Options()
	return o.limit()
}

func (o *Options) limit() int { return min(o.Limit(), o.MaxConnections) }

// turnAway refuses a connection for which there is no descriptor to spare. A
// socket that is new has room for the reply, so nobody is waited for. Where TLS
// begins with the connection there is nobody who could read it.
func turnAway(nc net.Conn, o *Options) {
	origin, reply := newOrigin(nc, o), crowdedReply(o.Hostname)
	o.Record(mail.Fact{
		Time: o.Clock.Now(), Reason: mail.ReasonRefused, Session: origin.Session, Origin: &origin, Command: "connect", Reply: &reply,
	})
	if !o.Implicit {
		nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write(smtp.AppendReply(nil, reply)) // whoever has gone need not know
	}
	nc.Close()
}

// mayLinger reports whether a connection that is over may wait for its client
// to close it. Such connections hold no place, so a flood of clients must not
// heap them up.
func (s *Server) mayLinger(o *Options) bool {
	return !o.Sockets.full() && !s.crowded(o)
}

// crowded reports whether there are so many connections without a place that no
// more may wait for anything.
func (s *Server) crowded(o *Options) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) > 2*o.MaxConnections
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.edition.left()
}

// clientKey is what connections are counted by: an IPv4 address or an IPv6
// /64, of which one host commonly has all addresses; or a user of this host.
type clientKey struct {
	network netip.Prefix
	user    int64 // the uid; -1 for a client from the network
}

func keyOf(o *mail.Origin) clientKey {
	if o.User != nil {
		return clientKey{user: int64(o.User.UID)}
	}
	return clientKey{network: limit.Network(o.Client.Addr()), user: -1}
}

// clientName is what a client is called in a reply to it.
func clientName(o *mail.Origin) string {
	if o.User != nil {
		return o.User.String()
	}
	return o.Client.Addr().String()
}

func crowdedReply(hostname string) mail.Reply {
	return mail.NewReply(421, "4.3.2", "%s has too many connections, try again later", hostname)
}

func stoppingReply(hostname string) mail.Reply {
	return mail.NewReply(421, "4.3.2", "%s is shutting down, try again later", hostname)
}
