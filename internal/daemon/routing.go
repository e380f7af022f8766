package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/lists"
	"postern/internal/mail"
	"postern/internal/route"
)

// This file builds the ways by which mail leaves.

// loadRoutes reads what the routes name. Lists and what is local come before it.
func (g *graph) loadRoutes() error {
	var maps []config.List
	for i := range g.config.Routes {
		if r := &g.config.Routes[i]; r.Map != "" {
			at := config.Placed{Place: r.Place, Places: config.Places{"list.file": r.Places["route.map"]}}
			maps = append(maps, config.List{Placed: at, Name: r.Name, Kind: config.ListWays, File: r.Map})
		}
	}
	var errMaps, errRules, errNear error
	g.maps, errMaps = lists.Open(maps, lists.Options{Tell: g.tellMap, Check: g.checkMap, Metrics: g.told.lists, Clock: g.clock})
	g.rules, errRules = route.NewRules(route.RulesOptions{Routes: g.config.Routes, Lists: g.lists, Maps: g.maps})
	g.near, errNear = g.loadNear()
	g.local.Elsewhere = g.rules.Take
	return errors.Join(ofMaps(errMaps), errRules, errNear, g.checkHosts())
}

// ofMaps are problems of maps under the name of their setting.
func ofMaps(err error) error {
	problems := problemsOf(err)
	errs := make([]error, len(problems))
	for i, p := range problems {
		if p.Key == "list.file" {
			p.Key, p.Message = "route.map", p.Cause.Error()
		}
		errs[i] = p
	}
	return errors.Join(errs...)
}

// tellMap tells what became of a map as it is told of lists.
func (g *graph) tellMap(e lists.Event) {
	if g.told.list != nil {
		e.Name = mapName(e.Name)
		g.told.list(e)
	}
}

func mapName(route string) string { return "map of the route " + route }

// checkMap wants the transports to which a map leads to be there.
func (g *graph) checkMap(_ string, l *lists.List) error {
	known := g.config.TransportNames()
	var errs []error
	for key, at := range l.Ways() {
		if name, named := key.Transport(); named && !slices.Contains(known, name) && len(errs) < maxTold {
			errs = append(errs, config.Problem{Place: at, Message: fmt.Sprintf("there is no transport %q", name), Hint: config.DidYouMean(name, known)})
		}
	}
	return errors.Join(errs...)
}

// checkHosts wants a table of hosts that can be read.
func (g *graph) checkHosts() error {
	file := g.config.Routing.HostsFile
	if file == "" {
		return nil
	}
	err := dns.CheckHosts(file, g.clock.Now())
	if wrong, is := errors.AsType[*dns.HostsError](err); is {
		return config.Problem{Place: wrong.Place, Key: "routing.hosts_file", Message: wrong.Problem,
			Hint: `write an address and its names, such as "192.0.2.1 relay.example.com"`}
	}
	if err != nil {
		return g.config.Wrong("routing.hosts_file", err)
	}
	return nil
}

// hosts is the table of hosts; nil if there is none.
func (g *graph) hosts() *dns.Hosts {
	h, _ := g.outgoing().(*dns.Hosts)
	return h
}

// lookAtHosts reads the table of hosts again if it has changed, and tells of it wherever an
// operator may look.
func (d *Daemon) lookAtHosts(g *graph) {
	h := g.hosts()
	if h == nil {
		return
	}
	e := h.Look()
	if e == nil {
		return
	}
	fact := mail.Fact{Reason: mail.ReasonListRead, Time: d.clock.Now(), Text: e.String()}
	if e.Err != nil {
		fact.Reason = mail.ReasonListFailed
		d.Logger.Warn("table of hosts is wrong, and stays as it was: "+e.Err.Error(), "file", e.File, "names", e.Before)
	} else {
		d.Logger.Info("table of hosts read again", "file", e.File, "names", e.Names, "before", e.Before)
	}
	d.journal.Record(fact)
}

// hostsWarnings says that the table of hosts is not what is in force.
func (g *graph) hostsWarnings() []string {
	h := g.hosts()
	if h == nil {
		return nil
	}
	since, err := h.Stale()
	if err == nil {
		return nil
	}
	return []string{fmt.Sprintf("table of hosts %s is as it was before %s: %v", h.File(), since.Local().Format(time.RFC3339), err)}
}

// newRouter makes what chooses the way of all mail. Without a mailhub mail goes directly.
func (g *graph) newRouter() *route.Table {
	o := route.TableOptions{
		Rules:      g.rules,
		IsLocal:    func(a mail.Address) bool { return g.local.Is(a, netip.Addr{}) },
		OfUser:     g.routeOf,
		Changes:    g.routingChanges,
		Transports: make(map[string]route.Transport),
		Server:     g.server,
		Finish:     g.finish,
	}
	c := &g.config.Delivery
	o.Transports[config.DirectTransport] = g.direct(config.DirectTransport, c.Port, route.Lane{TLS: g.tlsOfDelivery("delivery.mx_tls", c.MXTLS)})
	if len(c.Smarthosts) > 0 {
		o.Transports[config.SmarthostsTransport] = g.smarthosts(c.Smarthosts)
	}
	for i := range g.config.Transports {
		t := &g.config.Transports[i]
		o.Transports[t.Name] = g.transport(t)
	}
	o.Otherwise = g.general(o.Transports)
	return route.NewTable(o)
}

// general is the way of mail for which there is no route.
func (g *graph) general(transports map[string]route.Transport) *route.General {
	c := &g.config.Routing
	hub := c.Mailhub.Text
	if len(g.config.Delivery.Smarthosts) > 0 {
		hub = config.SmarthostsTransport
	}
	return &route.General{
		Mailhub:  transports[hub],
		Router:   transports[c.Router.Text],
		Firewall: c.Firewall,
		Near:     g.isNear,
		Direct:   transports[config.DirectTransport],
		IsLocal:  g.local.HasName,
	}
}

// routeOf is the route of a user of the directory.
func (g *graph) routeOf(login string) mail.RouteKey {
	d := g.records()
	if d == nil {
		return ""
	}
	u, _ := d.User(login)
	return mail.RouteKey(u.Route)
}

// routingChanges counts the changes of what the directory says to routes.
func (g *graph) routingChanges() uint64 {
	d := g.records()
	if d == nil {
		return 0
	}
	return d.RoutingChanges()
}

// choose is how the door chooses routes; nil while nothing but the general one can be.
func (g *graph) choose() func(mail.Routing, mail.Destination) mail.Destination {
	if len(g.config.Routes) == 0 && len(g.config.Transports) == 0 {
		return nil
	}
	return g.router().Choose
}

// finish puts into a lane what comes of the recipient's domain, of the server and of the sender.
func (g *graph) finish(l *route.Lane, q route.Question) {
	g.finishTLS(l, q)
	g.finishLogin(l)
	g.finishIdentity(l, q)
}

// transport is one of the configuration.
func (g *graph) transport(t *config.Transport) route.Transport {
	switch t.Kind {
	case config.TransportMX:
		return g.direct(t.Name, cmp.Or(t.Port, g.config.Delivery.Port), g.laneOf(t))
	case config.TransportPool:
		return g.pools().Transport(t.Name)
	case config.TransportDiscard:
		return route.Discard{Name: t.Name}
	}
	return route.NewSmarthosts(route.Options{
		Lookup: g.lookup(), Name: t.Name, Hosts: t.Hosts, LookupMX: t.LookupMX, Random: t.Balance == config.BalanceRandom,
		IsName: g.local.HasName, Lane: g.laneOf(t),
	})
}

// laneOf is what the lanes of a transport have in common.
func (g *graph) laneOf(t *config.Transport) route.Lane {
	return route.Lane{TLS: g.tlsOf(t), From: identityOf(t)}
}

// newOutgoing is the resolver for mail that goes out.
func (g *graph) newOutgoing() dns.Resolver {
	if file := g.config.Routing.HostsFile; file != "" {
		return dns.NewHosts(file, g.clock, g.resolver)
	}
	return g.resolver
}

func (g *graph) lookup() route.Lookup {
	return route.Lookup{
		Resolver: g.outgoing(),
		Self:     g.own,
		Prefer:   route.Family(g.config.Delivery.AddressFamily),
		Shuffle:  rand.Shuffle,
	}
}

// direct sends mail to the servers of its domain.
func (g *graph) direct(name string, port int, lane route.Lane) *route.MX {
	lane.OfDomain = true
	lookup := g.lookup()
	lookup.Self = func(a netip.AddrPort) bool {
		// What is before this host, such as a NAT router, passes all on to it.
		return g.own(a) || slices.Contains(g.config.OwnAddresses, a.Addr())
	}
	return route.NewMX(route.MXOptions{
		Lookup: lookup, Name: name, Port: uint16(port), IsName: g.local.HasName, Lane: lane,
	})
}

// smarthosts sends all mail to some servers, as the settings for smarthosts have it.
func (g *graph) smarthosts(hosts []mail.HostPort) *route.Smarthosts {
	return route.NewSmarthosts(route.Options{Lookup: g.lookup(), Hosts: hosts, Lane: g.smarthostLane()})
}

// server sends all mail to one server, which policy or a person has named. It need not
// be among the smarthosts.
func (g *graph) server(h mail.HostPort) route.Transport { return g.smarthosts([]mail.HostPort{h}) }

// smarthostLane is what the lanes of the smarthosts have in common.
func (g *graph) smarthostLane() route.Lane {
	return route.Lane{TLS: g.tlsOfDelivery("delivery.smarthost_tls", g.config.Delivery.SmarthostTLS)}
}
