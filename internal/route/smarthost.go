package route

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"

	"postern/internal/dns"
	"postern/internal/mail"
)

// Options say which smarthosts there are. Hosts and the resolver are required.
type Options struct {
	Lookup
	// Name is that of the transport; "" is "smarthost".
	Name string
	// Hosts are tried in this order. Those that are this server itself are
	// passed over.
	Hosts []mail.HostPort
	// Lane is what the lanes of all have in common.
	Lane Lane
}

// Smarthosts sends every destination to one list of servers. It is safe for
// use by several goroutines.
type Smarthosts struct {
	options Options
	site    string
}

// maxAddresses bounds what one smarthost may resolve to: an attempt would
// never reach the end of a longer list.
const maxAddresses = 32

// NewSmarthosts returns the list as a route for every destination.
func NewSmarthosts(o Options) *Smarthosts {
	names := make([]string, len(o.Hosts))
	for i, h := range o.Hosts {
		names[i] = strings.ToLower(h.String())
	}
	o.Name = cmp.Or(o.Name, "smarthost")
	return &Smarthosts{options: o, site: o.Name + ":" + strings.Join(names, ",")}
}

// The ways in which there is no way to a smarthost.
var (
	errUnresolved = mail.Refuse(451, "4.4.3", "No answer from DNS for the next server")
	errNotFound   = mail.Refuse(451, "4.4.4", "The name of the next server does not resolve")
	errNextIsSelf = mail.Refuse(451, "4.4.6", "The next server is this one")
)

var errNoHosts = errors.New("no smarthost is configured")

// Route resolves every host now, all at the same time, and returns those that
// have an address. A host without one is passed over as long as another has
// one.
//
// Errors, when none has: 451 4.4.3 if DNS gave no answer for one of them,
// else 451 4.4.6 if one is this server itself, else 451 4.4.4. The cause
// names each host. None is permanent: what is wrong is the configuration, and
// no sender's fault.
func (s *Smarthosts) Route(ctx context.Context, _ Question) (Route, error) {
	hosts := s.options.Hosts
	places := make([]found, len(hosts))
	var running sync.WaitGroup
	for i, h := range hosts {
		running.Go(func() { places[i] = s.options.find(ctx, h, maxAddresses) })
	}
	running.Wait()

	route := Route{Name: s.options.Name, Site: s.site}
	failures := make([]error, len(hosts))
	for i, h := range hosts {
		failures[i] = places[i].err
		if addresses := places[i].addresses; len(addresses) > 0 {
			route.Hops = append(route.Hops, Hop{Addresses: addresses, Lane: s.options.Lane.to(s.options.Name, h.Host, h.Port)})
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
		return errNextIsSelf.Because(cause)
	case cause == nil:
		cause = errNoHosts
	}
	return errNotFound.Because(cause)
}
