package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// This file tells how mail leaves, as explain does: what is known of it without asking DNS, and
// where each thing that holds for a connection comes from.

// way is a way by which mail leaves, as the configuration has it. One without servers leads to
// those that DNS has for a domain.
type way struct {
	transport string
	lane      route.Lane
	hosts     []mail.HostPort
	// what it is, behind its name.
	what string
}

// leaves says how mail for a destination leaves, as router has it, as far as that is
// known without asking DNS.
func (g *graph) leaves(sender mail.Address, d mail.Destination) string {
	q := route.Question{Destination: d, Sender: sender}
	list := g.ways(q)
	if d.Route() != "" {
		names := make([]string, len(list))
		for i := range list {
			names[i] = list[i].what
		}
		return "by " + strings.Join(names, ", else by ")
	}
	w := &list[0]
	hops := g.hops(w, q)
	switch {
	case w.what != "":
		return "by " + w.what
	case len(w.hosts) == 0:
		return fmt.Sprintf("to the mail servers of %s (TLS %s)", d.Domain(), hops[0].TLS.Level)
	}
	hosts := make([]string, len(w.hosts))
	for i, h := range w.hosts {
		hosts[i] = h.String()
	}
	return fmt.Sprintf("by %s (TLS %s)", strings.Join(hosts, ", "), hops[0].TLS.Level)
}

// ways are those of a destination, in the order in which they are tried; there is at least one.
func (g *graph) ways(q route.Question) []way {
	if key := q.Destination.Route(); key != "" {
		var list []way
		for _, k := range key.Ways() {
			w := g.wayOf(k)
			w.what = string(k)
			list = append(list, w)
		}
		return list
	}
	r := &g.config.Routing
	_, near := g.isNear(q.Sender, q.Destination.Domain())
	switch {
	case len(g.config.Delivery.Smarthosts) > 0:
		return []way{g.wayNamed(config.SmarthostsTransport)}
	case r.Mailhub.Text != "":
		w := g.wayNamed(r.Mailhub.Text)
		w.what = r.Mailhub.Text + ", the mailhub"
		return []way{w}
	case r.Firewall && !near:
		w := g.wayNamed(r.Router.Text)
		w.what = r.Router.Text + ", the router"
		return []way{w}
	}
	return []way{g.wayNamed(config.DirectTransport)}
}

// wayOf is the one of a key: a transport, or a server.
func (g *graph) wayOf(key mail.RouteKey) way {
	if name, named := key.Transport(); named {
		return g.wayNamed(name)
	}
	w := way{transport: config.SmarthostsTransport, lane: g.smarthostLane()}
	if h, err := key.Server(); err == nil {
		w.hosts = []mail.HostPort{h}
	}
	return w
}

// wayNamed is that by a transport.
func (g *graph) wayNamed(name string) way {
	if t := g.transportNamed(name); t != nil {
		return way{transport: name, lane: g.laneOf(t), hosts: g.hostsOf(t)}
	}
	if name == config.SmarthostsTransport {
		return way{transport: name, lane: g.smarthostLane(), hosts: g.config.Delivery.Smarthosts}
	}
	return way{transport: name, lane: route.Lane{TLS: g.tlsOfDelivery("delivery.mx_tls", g.config.Delivery.MXTLS)}}
}

// transportNamed is the one of the configuration that has a name; nil for none.
func (g *graph) transportNamed(name string) *config.Transport {
	for i := range g.config.Transports { // each delivery asks: a Transport is large, and not to be copied
		if t := &g.config.Transports[i]; t.Name == name {
			return t
		}
	}
	return nil
}

// servers are those of the ways of a destination, as far as they are known without asking DNS,
// and the transport of the first.
func (g *graph) servers(q route.Question) (transport string, hops []route.Hop) {
	list := g.ways(q)
	for i := range list {
		hops = append(hops, g.hops(&list[i], q)...)
	}
	return list[0].transport, hops
}

// hops are the servers of a way. Those that DNS has are one, without a name.
func (g *graph) hops(w *way, q route.Question) []route.Hop {
	t := g.transportNamed(w.transport)
	if t != nil && t.Kind == config.TransportDiscard {
		return nil
	}
	if len(w.hosts) == 0 {
		h := route.Hop{FromMX: true, Lane: w.lane}
		h.Transport = w.transport
		g.finishTLS(&h.Lane, q)
		g.finishIdentity(&h.Lane, q)
		return []route.Hop{h}
	}
	hops := make([]route.Hop, len(w.hosts))
	for i, to := range w.hosts {
		h := &hops[i]
		h.Lane, h.FromMX = w.lane, t != nil && t.LookupMX
		h.Transport, h.Host, h.Port, h.Socket = w.transport, to.Host, to.Port, to.Socket
		g.asTarget(h)
		g.finish(&h.Lane, q)
	}
	return hops
}

// asTarget puts into a server what is set for it as a target of a pool.
func (g *graph) asTarget(h *route.Hop) {
	for i := range g.config.Targets {
		t := &g.config.Targets[i]
		if t.Pool != h.Transport || t.Where() != (mail.HostPort{Host: h.Host, Port: h.Port}) {
			continue
		}
		h.FromMX, h.MaxMessages, h.Charset = t.MX != "", t.MaxMessages, t.Charset
		if t.Secure {
			h.TLS = h.TLS.AtLeast(tlspolicy.Required, "target.secure")
		}
		return
	}
}

// limits bound the mail by a transport, whose servers bear so many connections; 0: that is not
// known.
func (g *graph) limits(name string, bears int) explain.Limits {
	c := &g.config.Delivery
	t := g.transportNamed(name)
	if t == nil {
		return explain.Limits{Connections: cmp.Or(bears, c.MaxConnectionsPerSite), Recipients: c.MaxRecipients}
	}
	l := explain.Limits{
		Connections: g.connections(t, bears), Recipients: cmp.Or(t.MaxRecipients, c.MaxRecipients),
		Messages: t.MaxMessages, Size: t.MaxSize,
	}
	if t.Rate.Max > 0 {
		l.Rate = t.Rate.String()
	}
	return l
}

// connections are how many there may be to a site of a transport.
func (g *graph) connections(t *config.Transport, bears int) int {
	if bears == 0 && t.Kind == config.TransportPool {
		for i := range g.config.Targets {
			if target := &g.config.Targets[i]; target.Pool == t.Name {
				bears += target.MaxConnections
			}
		}
	}
	switch {
	case bears == 0:
		return cmp.Or(t.MaxConnections, g.config.Delivery.MaxConnectionsPerSite)
	case t.MaxConnections == 0:
		return bears
	}
	return min(bears, t.MaxConnections)
}

// proves says with what this server proves to the one of a lane who it is with.
func (g *graph) proves(l *route.Lane) explain.Login {
	login, by := g.loginFor(l)
	if login == nil {
		return explain.Login{}
	}
	return explain.Login{Credential: login.Record().Name, Shown: login.String(), By: by}
}

// whose is the name of the company in whose name a sender's mail goes to a domain.
func (g *graph) whose(sender mail.Address, domain string) string {
	if c := g.companies.whose(sender, domain); c != nil {
		return c.Name
	}
	return ""
}

// offersRequireTLS reports whether a listener offers REQUIRETLS under TLS.
func (g *graph) offersRequireTLS(listener string) bool {
	i := g.listener(listener)
	return i >= 0 && g.keepsTLS() && !g.config.Listeners[i].Lacks(config.ExtensionRequireTLS)
}

// losesTLS says why a message with REQUIRETLS does not go to a server (docs/requiretls.md);
// "" if it may.
func (g *graph) losesTLS(h *route.Hop) string {
	t := g.transportNamed(h.Transport)
	switch {
	case h.Socket != "":
		return ""
	case t != nil && slices.Contains(t.WithoutExtensions, config.ExtensionStartTLS) && h.TLS.Begin != tlspolicy.Implicit:
		return "extensions_off of the transport " + t.Name + " has STARTTLS (550 5.7.10)"
	case t != nil && slices.Contains(t.WithoutExtensions, config.ExtensionRequireTLS):
		return "extensions_off of the transport " + t.Name + " has REQUIRETLS (550 5.7.30)"
	case h.FromMX && !h.TLS.NamesServer():
		return "MX records name the servers, and nothing vouches for these (550 5.7.30)"
	}
	return ""
}
