// Package route chooses the way of a delivery: from its destination to the
// hops that are tried for it, in order, each with its addresses.
//
// It opens no connection and knows nothing of what became of earlier
// attempts. A route is chosen anew for every attempt, so that a change in
// DNS or in the configuration reaches mail that already waits.
//
// When there is no way now, the error is a *mail.Error with the reply to
// record. It is permanent only where DNS is certain that the recipient's
// domain takes no mail; that nobody knows, or that a server which was
// configured does not resolve, is always temporary.
package route

import (
	"context"
	"net/netip"
	"slices"

	"postern/internal/mail"
	"postern/internal/tlspolicy"
)

// Question is what a way is asked for: that of one delivery of a message.
type Question struct {
	Destination mail.Destination
	// Sender is that of the envelope; null for a report.
	Sender mail.Address
	// TLS is what the message demands of connections, and Size how large it is, in octets.
	TLS  mail.TLSDemand
	Size int64
	// Content is what can be asked of its content. Nil: nothing is known of that.
	Content Content
}

// Content is that of a message.
type Content interface {
	// InCharset returns how large the message is, in octets, when its texts are in a charset. It
	// fails with a *mail.Error whose reply is permanent when they cannot be in that; any other failure
	// says nothing of the message. It may read all of the content.
	InCharset(ctx context.Context, charset string) (size int64, err error)
}

// Transport carries mail: it turns a destination into servers, now.
type Transport interface {
	// Route returns the way; with an error, a Route that says no more than its name, and of a
	// pool its site.
	Route(ctx context.Context, q Question) (Route, error)
}

// Route is the way of a delivery.
type Route struct {
	// Name is that of the transport: the name that the configuration gives it, or
	// "smarthost" or "mx".
	Name string
	// Site names the whole ordered list of hosts as it is configured or as the
	// domain names them, whatever it resolves to now, behind the name of the transport:
	// "smarthost:relay1.example:25,relay2.example:25", or
	// "mx:a.example:25,b.example:25;backup.example:25" (see MX).
	// Routes with an equal site share limits, and connections where the lanes
	// of their hops are equal too. A site with an error says that there is no server
	// now: its mail waits until it is told that there is (see deliver).
	Site string
	// Connections is how many its servers bear at present; 0: as the transport has it.
	Connections int
	// Hops are tried in this order; there is at least one.
	Hops []Hop
	// Partial says that there are more servers, of which none can be used or is known now:
	// what those of the hops lack is not final.
	Partial bool
	// Discard says that the mail goes nowhere: it is dropped. Then there are no hops.
	Discard bool
}

// Hop is one server of a route.
type Hop struct {
	// Addresses are where it is, in the order of use; at least one, unless it is behind
	// the Socket of its lane.
	Addresses []netip.AddrPort
	// MaxMessages is how many messages go over one connection to it; 0: as many as its
	// transport lets.
	MaxMessages int
	// Target is what a pool knows of the server; nil when it is in none. It can be
	// compared: one that is not equal is for another connection.
	Target Target
	// FromMX says that the name of the server comes of MX records, for which neither
	// DNSSEC nor MTA-STS vouches.
	FromMX bool
	Lane
}

// Lane is what connections to a hop must have in common to carry each other's
// mail. Lanes can be compared.
type Lane struct {
	// Host is the server's name, or its address, as it is configured or in DNS;
	// it is what a certificate is checked against.
	Host string
	Port uint16
	// Socket is the path of the Unix socket behind which it is; "" for one with addresses.
	Socket string
	// Transport is the name of the transport that the server is of: how connections
	// are made, and what they bear, is set for it.
	Transport string
	// TLS is the policy for connections to it.
	TLS tlspolicy.Policy
	// Login is what this server proves to it who it is with; nil: nothing.
	Login Login
	// From is what it is told of this server.
	From Identity
	// Charset is the only one that it knows for texts; "" for any.
	Charset string
	// OfDomain says that it is a server of the recipient's domain, and none that somebody here
	// has chosen.
	OfDomain bool
}

// to returns the lane of a server of a transport.
func (l Lane) to(transport, host string, port uint16) Lane {
	l.Transport, l.Host, l.Port = transport, host, port
	return l
}

// Login is what this server proves to another who it is with. It can be compared.
type Login interface {
	// Credentials returns what is shown now. It may ask another server for it, until ctx
	// ends. An error says that there is nothing to show for now: one that names a record is a
	// *mail.CredentialError.
	Credentials(ctx context.Context) (mail.Credentials, error)
	// Begin waits until that may be shown to the server, and returns it as it is then. End is
	// told what came of it, nil when the server has taken it.
	Begin(ctx context.Context) (shown mail.Credentials, end func(error), err error)
}

// Target is the server of a pool behind a hop. Whoever connects to it asks first, and
// says what came of it.
type Target interface {
	// Enter takes the right to one connection; ok is false when the target has as many as
	// it bears, or is not to be used now. Leave gives it back.
	Enter() (ok bool)
	Leave()
	// Connected tells what a server offered that has taken a connection; Failed why there
	// is none.
	Connected(c Capabilities)
	Failed(cause error)
	// Settled tells what became of recipients that were sent to it.
	Settled(outcomes []mail.Outcome)
	// Ended is closed when what still runs there is to be broken off, and tried elsewhere.
	Ended() <-chan struct{}
}

// Capabilities are what a server has offered.
type Capabilities struct {
	ESMTP, StartTLS bool
	// Size is the largest message it takes, in octets (RFC 1870); 0: it has named none.
	Size int64
	// Auth are the mechanisms of AUTH, in its order.
	Auth []string
}

// SameWay reports whether two deliveries may go in one transaction: to the
// same site, over the same lanes. The order of the hops may differ: servers
// of equal preference are shuffled for each.
func (r Route) SameWay(other Route) bool {
	return r.Site == other.Site && len(r.Hops) == len(other.Hops) &&
		!slices.ContainsFunc(r.Hops, func(h Hop) bool { return !other.Uses(h.Lane) })
}

// Uses reports whether a lane is that of one of the hops.
func (r Route) Uses(l Lane) bool {
	return slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.Lane == l })
}

// Takes reports whether a connection over a lane, at a target, is that of one of the
// hops.
func (r Route) Takes(l Lane, t Target) bool {
	return slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.Lane == l && h.Target == t })
}

// Pooled reports whether the servers are those of a pool.
func (r Route) Pooled() bool { return len(r.Hops) > 0 && r.Hops[0].Target != nil }

// Demand returns the route with hops that are at least as safe as a message
// demands: what the route asks for stays where that is more. What goes through a Unix
// socket does not leave the machine, which is as safe as it can be.
func (r Route) Demand(demand mail.TLSDemand) Route {
	if demand == "" {
		return r
	}
	hops := make([]Hop, len(r.Hops))
	for i, h := range r.Hops {
		if h.Socket == "" {
			h.TLS = h.TLS.Demand(demand)
		}
		hops[i] = h
	}
	r.Hops = hops
	return r
}

// Password is a Login that always shows the same.
type Password mail.Credentials

// Credentials returns them.
func (p Password) Credentials(context.Context) (mail.Credentials, error) {
	return mail.Credentials(p), nil
}

// Begin returns them at once: nothing is bounded.
func (p Password) Begin(context.Context) (mail.Credentials, func(error), error) {
	return mail.Credentials(p), func(error) {}, nil
}
