package route

import (
	"context"

	"postern/internal/mail"
)

// Keyed sends mail for which policy chose a route by that, all other by
// another router. For now the key of a route is a smarthost itself,
// "host:port". It is safe for use by several goroutines.
type Keyed struct {
	options Options
	other   Router
}

// Router chooses the way of a destination.
type Router interface {
	Route(ctx context.Context, d mail.Destination) (Route, error)
}

// NewKeyed returns a router for both. The options say how smarthosts are
// reached; those that are named by a key need not be among their hosts, but
// only to those go the credentials.
func NewKeyed(o Options, other Router) *Keyed { return &Keyed{o, other} }

var errBadKey = mail.Refuse(451, "4.3.5", "The route that was chosen for the message is not known")

// Route returns the way that the key of the destination names, as Smarthosts
// does, and 451 4.3.5 when it names none: a message that must go by a route
// never goes round it.
func (k *Keyed) Route(ctx context.Context, d mail.Destination) (Route, error) {
	key := d.Route()
	if key == "" {
		return k.other.Route(ctx, d)
	}
	host, err := key.Server()
	if err != nil {
		return Route{}, errBadKey.Because(err)
	}
	return NewSmarthosts(k.options.only(host)).Route(ctx, d)
}

// only returns the options for one host.
func (o Options) only(host mail.HostPort) Options {
	known := false
	for _, h := range o.Hosts {
		known = known || h == host
	}
	if !known {
		o.Credentials = mail.Credentials{}
	}
	o.Hosts = []mail.HostPort{host}
	return o
}

// Demand returns the route with hops that are at least as safe as a message
// demands: what the route asks for stays where that is more.
func (r Route) Demand(demand mail.TLSDemand) Route {
	if demand == "" {
		return r
	}
	hops := make([]Hop, len(r.Hops))
	for i, h := range r.Hops {
		if h.TLS != string(mail.TLSVerified) {
			h.TLS = string(demand)
		}
		hops[i] = h
	}
	r.Hops = hops
	return r
}
