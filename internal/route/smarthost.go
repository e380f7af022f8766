package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"postern/internal/dns"
	"postern/internal/mail"
)

// Options say which smarthosts there are. Hosts and Resolver are required.
type Options struct {
	// Hosts are tried in this order.
	Hosts    []mail.HostPort
	Resolver dns.Resolver
	// TLS is the policy for each of them; see Hop.
	TLS string
	// Credentials are for each of them; none if zero.
	Credentials mail.Credentials
	// Self reports whether an address is this server's own. Such addresses
	// are passed over, because the mail would come back. Nil means none is.
	Self func(netip.AddrPort) bool
}

// Smarthosts sends every destination to one list of servers. It is safe for
// use by several goroutines.
type Smarthosts struct {
	options Options
	site    string
}

// maxAddresses bounds what one host may resolve to: an attempt would never
// reach the end of a longer list.
const maxAddresses = 32

// NewSmarthosts returns the list as a route for every destination.
func NewSmarthosts(o Options) *Smarthosts {
	if o.Self == nil {
		o.Self = func(netip.AddrPort) bool { return false }
	}
	names := make([]string, len(o.Hosts))
	for i, h := range o.Hosts {
		names[i] = strings.ToLower(h.String())
	}
	return &Smarthosts{options: o, site: "smarthost:" + strings.Join(names, ",")}
}

// The ways in which there is no way.
var (
	errUnresolved = mail.Refuse(451, "4.4.3", "No answer from DNS for the next server")
	errNotFound   = mail.Refuse(451, "4.4.4", "The name of the next server does not resolve")
	errLoop       = mail.Refuse(451, "4.4.6", "The next server is this one")
)

// The reasons for which one host is passed over.
var (
	errSelf    = errors.New("it is this server itself")
	errNoHosts = errors.New("no smarthost is configured")
)

// Route resolves every host now, all at the same time, and returns those that
// have an address. A host without one is passed over as long as another has
// one.
//
// Errors, when none has: 451 4.4.3 if DNS gave no answer for one of them,
// else 451 4.4.6 if one is this server itself, else 451 4.4.4. The cause
// names each host.
func (s *Smarthosts) Route(ctx context.Context, _ mail.Destination) (Route, error) {
	hosts := s.options.Hosts
	addresses := make([][]netip.AddrPort, len(hosts))
	failures := make([]error, len(hosts))
	var running sync.WaitGroup
	for i, h := range hosts {
		running.Go(func() { addresses[i], failures[i] = s.resolve(ctx, h) })
	}
	running.Wait()

	route := Route{Name: "smarthost", Site: s.site}
	for i, h := range hosts {
		if len(addresses[i]) > 0 {
			route.Hops = append(route.Hops, Hop{Host: h.Host, Port: h.Port, Addresses: addresses[i], TLS: s.options.TLS, Credentials: s.options.Credentials})
		}
	}
	if len(route.Hops) == 0 {
		return Route{}, noRoute(errors.Join(failures...))
	}
	return route, nil
}

// noRoute gives the failures of all hosts one reply.
func noRoute(cause error) error {
	switch {
	case errors.Is(cause, dns.ErrTemporary):
		return errUnresolved.Because(cause)
	case errors.Is(cause, errSelf):
		return errLoop.Because(cause)
	case cause == nil:
		cause = errNoHosts
	}
	return errNotFound.Because(cause)
}

// resolve returns the addresses of a host that are not our own. An address
// is its own answer and is never looked up.
func (s *Smarthosts) resolve(ctx context.Context, h mail.HostPort) ([]netip.AddrPort, error) {
	ips, err := s.lookup(ctx, h)
	if err != nil {
		return nil, err
	}
	seen := make(map[netip.AddrPort]bool, len(ips))
	var others []netip.AddrPort
	for _, ip := range ips {
		a := netip.AddrPortFrom(ip, h.Port)
		if seen[a] || s.options.Self(a) || len(others) == maxAddresses {
			continue
		}
		seen[a] = true
		others = append(others, a)
	}
	if len(others) == 0 {
		return nil, fmt.Errorf("%s: %w", h, errSelf)
	}
	return others, nil
}

func (s *Smarthosts) lookup(ctx context.Context, h mail.HostPort) ([]netip.Addr, error) {
	if ip, ok := h.IP(); ok {
		return []netip.Addr{ip}, nil
	}
	return s.options.Resolver.LookupAddr(ctx, h.Host)
}
