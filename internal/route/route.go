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
	"net/netip"
	"slices"

	"postern/internal/mail"
)

// Route is the way of a delivery.
type Route struct {
	// Name is the transport that chose it: "smarthost" or "mx".
	Name string
	// Site names the whole ordered list of hosts as it is configured or as the
	// domain names them, whatever it resolves to now:
	// "smarthost:relay1.example:25,relay2.example:25", or
	// "mx:a.example:25,b.example:25;backup.example:25" (see MX).
	// Routes with an equal site share limits, and connections where the lanes
	// of their hops are equal too.
	Site string
	// Hops are tried in this order; there is at least one.
	Hops []Hop
}

// Hop is one server of a route.
type Hop struct {
	// Host is the server's name, or its address, as it is configured or in DNS;
	// it is what a certificate is checked against.
	Host string
	Port uint16
	// Addresses are where it is, in the order of use; at least one.
	Addresses []netip.AddrPort
	// TLS is the policy for connections to it: none, opportunistic, required
	// or verify.
	TLS string
	// Credentials are proved to it; none if zero. They need TLS verify.
	Credentials mail.Credentials
}

// Lane is what connections to a hop must have in common to carry each other's
// mail.
type Lane struct {
	Host        string
	Port        uint16
	TLS         string
	Credentials mail.Credentials
}

// Lane returns the lane of the hop.
func (h Hop) Lane() Lane { return Lane{h.Host, h.Port, h.TLS, h.Credentials} }

// SameWay reports whether two deliveries may go in one transaction: to the
// same site, over the same lanes. The order of the hops may differ: servers
// of equal preference are shuffled for each.
func (r Route) SameWay(other Route) bool {
	return r.Site == other.Site && len(r.Hops) == len(other.Hops) &&
		!slices.ContainsFunc(r.Hops, func(h Hop) bool { return !other.Uses(h.Lane()) })
}

// Uses reports whether a lane is that of one of the hops.
func (r Route) Uses(l Lane) bool {
	return slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.Lane() == l })
}
