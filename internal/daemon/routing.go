package daemon

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// This file builds the ways by which mail leaves.

// router chooses the way of all mail. Without smarthosts mail goes directly.
func (g *graph) router() *route.Table {
	c := &g.config.Delivery
	o := route.TableOptions{Transports: make(map[string]route.Transport), Server: g.server, Otherwise: g.direct("mx", at(c.MXTLS)), Finish: g.finish}
	if len(c.Smarthosts) > 0 {
		o.Otherwise = g.smarthosts(c.Smarthosts)
	}
	for i := range g.config.Transports {
		t := &g.config.Transports[i]
		o.Transports[t.Name] = g.transport(t)
	}
	return route.NewTable(o)
}

// finish puts into a lane what comes of the sender.
func (g *graph) finish(l *route.Lane, q route.Question) { g.finishIdentity(l, q) }

// transport is one of the configuration.
func (g *graph) transport(t *config.Transport) route.Transport {
	if t.Kind == config.TransportMX {
		return g.direct(t.Name, laneOf(t))
	}
	return route.NewSmarthosts(route.Options{Lookup: g.lookup(), Name: t.Name, Hosts: t.Hosts, Lane: laneOf(t)})
}

// laneOf is what the lanes of a transport have in common.
func laneOf(t *config.Transport) route.Lane {
	lane := at(config.TLSOpportunistic)
	lane.From = identityOf(t)
	return lane
}

// at is a lane of which only the policy of TLS is known.
func at(p config.TLSPolicy) route.Lane {
	return route.Lane{TLS: tlspolicy.Policy{Level: tlspolicy.Level(p)}}
}

func (g *graph) lookup() route.Lookup {
	return route.Lookup{
		Resolver: g.resolver,
		Self:     g.own,
		Prefer:   route.Family(g.config.Delivery.AddressFamily),
		Shuffle:  rand.Shuffle,
	}
}

// direct sends mail to the servers of its domain.
func (g *graph) direct(name string, lane route.Lane) *route.MX {
	c := &g.config.Delivery
	lookup := g.lookup()
	lookup.Self = func(a netip.AddrPort) bool {
		// What is before this host, such as a NAT router, passes all on to it.
		return g.own(a) || slices.Contains(g.config.OwnAddresses, a.Addr())
	}
	return route.NewMX(route.MXOptions{
		Lookup: lookup, Name: name, Port: uint16(c.Port), IsName: g.local.HasName, Lane: lane,
	})
}

// smarthosts sends all mail to some servers, as the settings for smarthosts have it.
func (g *graph) smarthosts(hosts []mail.HostPort) *route.Smarthosts {
	o := route.Options{Lookup: g.lookup(), Hosts: hosts, Lane: at(g.config.Delivery.SmarthostTLS)}
	if !g.credentials.IsZero() {
		o.Lane.Login = route.Password(g.credentials)
	}
	return route.NewSmarthosts(o)
}

// server sends all mail to one server, which policy or a person has named. It need not
// be among the smarthosts, but only to those go the credentials.
func (g *graph) server(h mail.HostPort) route.Transport {
	if slices.Contains(g.config.Delivery.Smarthosts, h) {
		return g.smarthosts([]mail.HostPort{h})
	}
	return route.NewSmarthosts(route.Options{Lookup: g.lookup(), Hosts: []mail.HostPort{h}, Lane: at(g.config.Delivery.SmarthostTLS)})
}
