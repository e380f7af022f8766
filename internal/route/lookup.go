package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"postern/internal/dns"
	"postern/internal/mail"
)

// Lookup is how either router finds the addresses of a host. Resolver is
// required.
type Lookup struct {
	Resolver dns.Resolver
	// Self reports whether an address is this server's own: mail that went
	// there would come back. Nil means none is.
	Self func(netip.AddrPort) bool
	// Prefer says in which order addresses are tried.
	Prefer Family
	// Shuffle puts n things in random order; rand.Shuffle does. Nil leaves
	// them as they are.
	Shuffle func(n int, swap func(i, j int))

	// complete says that names come from DNS or a recipient: nothing that a
	// person wrote short is to be looked for in the machine's search domains.
	complete bool
}

// Family says which addresses are tried first, those of IPv4 or of IPv6.
type Family string

// The orders of addresses. Within a family it is that of DNS.
const (
	AnyFamily Family = "any"  // the two by turns, either one first
	IPv4      Family = "ipv4" // all of IPv4, then those of IPv6
	IPv6      Family = "ipv6"
)

// The reasons for which a host is passed over.
var (
	errSelf    = errors.New("it is this server itself")
	errUseless = errors.New("it has no address that can be connected to")
)

// found is where a host is.
type found struct {
	addresses []netip.AddrPort // in the order of use; not our own
	self      bool             // one of its addresses is our own
	err       error            // unless there are addresses
}

// find looks a host up. An address is its own answer and is never looked up.
// At most limit addresses are returned, of each family at least half as many
// if it has them, so that none is crowded out by the other.
func (l *Lookup) find(ctx context.Context, h mail.HostPort, limit int) found {
	ips, err := l.addresses(ctx, h)
	if err != nil {
		return found{err: err}
	}
	var f found
	for _, ip := range ips {
		a := netip.AddrPortFrom(ip, h.Port)
		switch {
		case ip.IsUnspecified() || ip.IsMulticast() || slices.Contains(f.addresses, a):
		case l.Self != nil && l.Self(a):
			f.self = true
		default:
			f.addresses = append(f.addresses, a)
		}
	}
	switch {
	case len(f.addresses) == 1: // is in order
	case len(f.addresses) > 1:
		f.addresses = l.order(f.addresses, limit)
	case f.self:
		f.err = fmt.Errorf("%s: %w", h, errSelf)
	default:
		f.err = fmt.Errorf("%s: %w", h, errUseless)
	}
	return f
}

func (l *Lookup) addresses(ctx context.Context, h mail.HostPort) ([]netip.Addr, error) {
	if ip, ok := h.IP(); ok {
		return []netip.Addr{ip}, nil
	}
	name := h.Host
	if l.complete {
		name += "."
	}
	return l.Resolver.LookupAddr(ctx, name)
}

// order puts addresses in the order of use.
func (l *Lookup) order(addresses []netip.AddrPort, limit int) []netip.AddrPort {
	families := [][]netip.AddrPort{nil, nil} // IPv4, IPv6
	for _, a := range addresses {
		i := 0
		if a.Addr().Is6() {
			i = 1
		}
		families[i] = append(families[i], a)
	}
	switch l.Prefer {
	case IPv6:
		slices.Reverse(families)
	case AnyFamily:
		l.shuffle(2, func(i, j int) { families[i], families[j] = families[j], families[i] })
	}
	first, second := families[0], families[1]
	first = first[:min(len(first), max(limit-len(second), (limit+1)/2))]
	second = second[:min(len(second), limit-len(first))]
	if l.Prefer == AnyFamily {
		return byTurns(first, second)
	}
	return append(first, second...)
}

// byTurns takes one of each list at a time, while it has any.
func byTurns[T any](a, b []T) []T {
	var mixed []T
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			mixed = append(mixed, a[i])
		}
		if i < len(b) {
			mixed = append(mixed, b[i])
		}
	}
	return mixed
}

func (l *Lookup) shuffle(n int, swap func(i, j int)) {
	if l.Shuffle != nil {
		l.Shuffle(n, swap)
	}
}
