package smtpserver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/proxyproto"
)

// proxyTimeout is how long a proxy may take for its header, which it sends as it
// connects.
const proxyTimeout = 10 * time.Second

// isProxy reports whether an address is that of a proxy, of which a header is
// expected.
func (o *Options) isProxy(client netip.Addr) bool {
	client = client.WithZone("")
	return slices.ContainsFunc(o.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(client) })
}

// takeProxyHeader reads what the proxy says of its client into o. When it speaks for
// itself the client is the proxy.
func (c *conn) takeProxyHeader(o *mail.Origin) error {
	if !c.setIdle(true) {
		return errStopping
	}
	defer c.setIdle(false)
	c.deadline = time.Now().Add(min(proxyTimeout, c.timeout))
	h, err := proxyproto.Read(c.br)
	if err != nil {
		return err
	}
	o.Proxy = o.Client
	if h.Client.IsValid() {
		o.Client, o.Local = h.Client, h.Local
	}
	return nil
}

// unread keeps anything from being written to a client that could not read it.
func (c *conn) unread(why error) { c.broken = why }

var errNotSecure = errors.New("TLS has not begun")

// admit does what comes before the greeting: it finds out who the client is, gives it
// a place, and takes the handshake where TLS begins with the connection (RFC 8314
// 3.3). It returns the reply that refuses the client, if any.
//
// A place comes before the handshake, so that clients that are refused cost none.
// They are not told, as they could not read it.
func (s *Server) admit(ctx context.Context, session *session) mail.Reply {
	c, o := session.conn, session.options
	var r mail.Reply
	if o.isProxy(session.origin.Client.Addr()) {
		r = session.throughProxy()
	}
	if r.IsZero() {
		r = s.enter(c, &session.origin)
	}
	switch {
	case !o.Implicit:
		return r
	case !r.IsZero():
		c.unread(errNotSecure)
		return r
	}
	return session.shakeHands(ctx)
}

// throughProxy learns from the proxy who the client is, or returns the reply that
// refuses both. It is temporary: the proxy has to be mended.
func (s *session) throughProxy() mail.Reply {
	if s.server.crowded(s.options) {
		return crowdedReply(s.options.Hostname)
	}
	err := s.conn.takeProxyHeader(&s.origin)
	switch {
	case err == nil:
		return mail.Reply{}
	case errors.Is(err, errStopping):
		return s.endReply()
	}
	s.options.Metrics.unproxied.Add(1)
	s.log.Warn("a connection from a proxy has no PROXY header, or a wrong one", "proxy", s.origin.Client, "error", err)
	return mail.NewReply(421, "4.3.5", "%s expects a PROXY header from %s", s.options.Hostname, s.origin.Client.Addr())
}

// shakeHands takes the handshake of a connection that begins with it. A server that
// stops does not wait for it.
func (s *session) shakeHands(ctx context.Context) mail.Reply {
	if !s.conn.setIdle(true) {
		return mail.Reply{Code: mail.NoReply}
	}
	defer s.conn.setIdle(false)
	state, err := s.conn.startTLS(ctx)
	if err != nil {
		s.handshakeFailed(err)
		return mail.Reply{Code: mail.NoReply}
	}
	s.secured(state)
	return mail.Reply{}
}

func (s *session) handshakeFailed(err error) {
	s.options.Metrics.unsecured.Add(1)
	s.log.Info("TLS handshake failed", "client", s.origin.Client, "error", err)
}
