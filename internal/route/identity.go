package route

import (
	"net/netip"
	"slices"

	"postern/internal/mail"
)

// Identity is what the next server is told of this one. The zero value of each field
// is what it is for all mail.
type Identity struct {
	// Hostname is the name in EHLO.
	Hostname string
	// IPv4 and IPv6 are the addresses to connect from. With one of them alone, servers
	// are connected to over that family only.
	IPv4, IPv6 netip.Addr
}

// Bound reports whether it has an address to connect from.
func (i Identity) Bound() bool { return i.IPv4.IsValid() || i.IPv6.IsValid() }

// Source returns the address from which to connect to another; the zero one is for the
// system to choose.
func (i Identity) Source(to netip.Addr) netip.Addr {
	if to.Unmap().Is4() {
		return i.IPv4
	}
	return i.IPv6
}

// Sources are the addresses to connect from, if there are any.
func (i Identity) Sources() []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{i.IPv4, i.IPv6}, func(a netip.Addr) bool { return !a.IsValid() })
}

var errNoFamily = mail.Refuse(451, "4.4.4", "None of the next servers has an address of the family that this mail is sent from")

// reachable returns the route with the addresses that can be connected to from those of
// the lanes. It fails when there is none: the mail waits, since servers change, and so
// does a configuration.
func (r Route) reachable() (Route, error) {
	if !slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.From.Bound() }) {
		return r, nil
	}
	var hops []Hop
	for _, h := range r.Hops {
		if h.From.Bound() {
			h.Addresses = slices.DeleteFunc(slices.Clone(h.Addresses), func(a netip.AddrPort) bool { return !h.From.Source(a.Addr()).IsValid() })
		}
		if len(h.Addresses) > 0 || h.Socket != "" {
			hops = append(hops, h)
		}
	}
	if len(hops) == 0 {
		return Route{Name: r.Name}, errNoFamily
	}
	r.Hops = hops
	return r, nil
}
