package route

import (
	"cmp"
	"context"
	"errors"
	"slices"
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
	// LookupMX says that the hosts are domains, whose servers DNS names. One that has no MX
	// records is a server itself.
	LookupMX bool
	// Random says that the hosts are tried in random order, as Shuffle has it.
	Random bool
	// IsName reports whether a name is this server's own; for LookupMX. Nil: none is.
	IsName func(name string) bool
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
		names[i] = h.String()
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
	places := s.findAll(ctx)
	if !slices.ContainsFunc(places, func(p servers) bool { return len(p.hops) > 0 }) {
		failures := make([]error, len(places))
		for i := range places {
			failures[i] = places[i].err
		}
		return Route{Name: s.options.Name}, noRoute(errors.Join(failures...))
	}
	if s.options.Random {
		s.options.shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	}
	route := Route{Name: s.options.Name, Site: s.site, Hops: places[0].hops, Partial: places[0].unknown()}
	for _, p := range places[1:] {
		route.Hops = append(route.Hops, p.hops...)
		route.Partial = route.Partial || p.unknown()
	}
	return route, nil
}

// findAll looks up all hosts of the list.
func (s *Smarthosts) findAll(ctx context.Context) []servers {
	hosts := s.options.Hosts
	if len(hosts) == 1 { // which is usual
		return []servers{s.find(ctx, hosts[0])}
	}
	places := make([]servers, len(hosts))
	var running sync.WaitGroup
	for i, h := range hosts {
		running.Go(func() { places[i] = s.find(ctx, h) })
	}
	running.Wait()
	return places
}

// servers are those that a host of the list stands for.
type servers struct {
	hops []Hop
	err  error // unless there are any
	// partial says that some of them are not known.
	partial bool
}

// unknown reports whether there may be more of them, or any.
func (s *servers) unknown() bool { return s.partial || errors.Is(s.err, dns.ErrTemporary) }

// find looks up a host of the list.
func (s *Smarthosts) find(ctx context.Context, h mail.HostPort) servers {
	if h.Socket != "" {
		hops := s.hop(h.String(), 0)
		hops[0].Socket = h.Socket
		return servers{hops: hops}
	}
	if _, isAddress := h.IP(); s.options.LookupMX && !isAddress {
		return s.findMX(ctx, h)
	}
	f := s.options.find(ctx, h, maxAddresses)
	if len(f.addresses) == 0 {
		return servers{err: f.err}
	}
	hops := s.hop(h.Host, h.Port)
	hops[0].Addresses = f.addresses
	return servers{hops: hops}
}

// findMX looks up the servers of a domain of the list.
func (s *Smarthosts) findMX(ctx context.Context, h mail.HostPort) servers {
	o := &s.options
	mx := NewMX(MXOptions{Lookup: o.Lookup, Name: o.Name, Port: h.Port, IsName: o.IsName, Lane: o.Lane})
	r, err := mx.Route(ctx, Question{Destination: mail.Destination(h.Host)})
	return servers{r.Hops, err, r.Partial}
}

// hop is one to a host, in a list of its own.
func (s *Smarthosts) hop(host string, port uint16) []Hop {
	list := make([]Hop, 1)
	list[0].Lane = s.options.Lane
	list[0].Transport, list[0].Host, list[0].Port = s.options.Name, host, port
	return list
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
