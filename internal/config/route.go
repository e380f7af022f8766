package config

import (
	"fmt"
	"slices"
)

// Route is one table [[route]], as it is written: what its patterns and the lines of its
// map mean, package route says.
type Route struct {
	Placed

	Name string // unique
	// What must all hold; none: it is for all mail.
	Recipients, Senders []Text // patterns and lists
	Accounts, Listeners []Text
	Tags                []Text
	OnlyUnknown         bool

	Map         string // the file with the ways; empty: Transport is the way
	Transport   Text
	Otherwise   []Text
	NeverBypass bool
}

// Routing is the table [routing].
type Routing struct {
	Mailhub, Router Text // names of transports; empty: none
	Firewall        bool
	Near            []Text // domains and lists
	HostsFile       string // empty: none
}

// The transports that need no table.
const (
	// DirectTransport carries mail to the servers of its domain. A table of this name
	// says how.
	DirectTransport = "mx"
	// SmarthostsTransport carries mail to delivery.smarthosts, if there are any.
	SmarthostsTransport = "smarthost"
)

// maxOtherwise bounds how many transports stand behind one: an attempt would not come to more.
const maxOtherwise = 5

// TransportNames are the names of all transports that routes can name.
func (c *Config) TransportNames() []string {
	names := []string{DirectTransport}
	if len(c.Delivery.Smarthosts) > 0 {
		names = append(names, SmarthostsTransport)
	}
	for i := range c.Transports {
		if name := c.Transports[i].Name; name != DirectTransport {
			names = append(names, name)
		}
	}
	return names
}

// checkRoutes wants routes that lead somewhere, and name what is there.
func (d *decoder) checkRoutes() {
	known := d.transportNames()
	for _, t := range d.tables["route"] {
		r := t.fields.route
		d.checkWay(t)
		d.checkNeverBypass(t)
		d.checkTransportNames("route.transport", []Text{r.Transport}, known)
		d.checkTransportNames("route.otherwise", r.Otherwise, known)
		d.checkRouteListeners(r)
		if n := len(r.Otherwise); n > maxOtherwise {
			d.fault(r.Otherwise[maxOtherwise].Place, "route.otherwise", faultf("leave out some", "is one too many; there can be %d", maxOtherwise))
		}
	}
}

// checkWay wants a transport or a map, and not both.
func (d *decoder) checkWay(t *table) {
	transport, hasTransport := t.given["transport"]
	_, hasMap := t.given["map"]
	switch {
	case hasTransport && hasMap:
		d.fault(transport.key, "route.transport", faultf("leave out one of the two", "is set, but the lines of map say by which transport mail goes"))
	case !hasTransport && !hasMap && !d.meant["route.transport"] && !d.meant["route.map"]:
		d.fault(t.at, "route.transport", faultf(`write transport = "NAME", or map = "FILE"`, "is missing"))
	}
}

// checkNeverBypass refuses ways round what must never be gone round.
func (d *decoder) checkNeverBypass(t *table) {
	if otherwise, has := t.given["otherwise"]; has && t.fields.route.NeverBypass && len(t.fields.route.Otherwise) > 0 {
		d.fault(otherwise.key, "route.otherwise", faultf("leave out one of the two", "is set, but with never_bypass there is no other way"))
	}
}

// checkTransportNames wants every transport that is named to be there.
func (d *decoder) checkTransportNames(key string, named []Text, known []string) {
	for _, t := range named {
		switch {
		case t.Text == "" || slices.Contains(known, t.Text) || d.meant["transport.name"]:
		case t.Text == SmarthostsTransport:
			d.fault(t.Place, key, faultf("set delivery.smarthosts, or add it as a table [[transport]]", "there are no smarthosts"))
		default:
			d.fault(t.Place, key, faultf(noTransport(t.Text, known), "there is no transport %q", clip(t.Text)))
		}
	}
}

func noTransport(name string, known []string) string {
	if hint := DidYouMean(name, known); hint != "" {
		return hint
	}
	return "add it as a table [[transport]]"
}

// transportNames is TransportNames of what was read so far.
func (d *decoder) transportNames() []string {
	c := Config{Delivery: Delivery{Smarthosts: d.config.Delivery.Smarthosts}}
	for _, t := range d.tables["transport"] {
		c.Transports = append(c.Transports, *t.fields.transport)
	}
	return c.TransportNames()
}

// checkRouteListeners wants the listeners of a route to be there.
func (d *decoder) checkRouteListeners(r *Route) {
	known := []string{"sendmail"}
	for _, t := range d.tables["listener"] {
		known = append(known, t.fields.listener.Name)
	}
	for _, l := range r.Listeners {
		if !slices.Contains(known, l.Text) {
			d.fault(l.Place, "route.listeners", faultf(DidYouMean(l.Text, known), "there is no listener %q", clip(l.Text)))
		}
	}
}

// checkRouting wants one way for all other mail, and a router for a firewall.
func (d *decoder) checkRouting() {
	r, known := &d.config.Routing, d.transportNames()
	for _, t := range d.tables["routing"] {
		d.checkTransportNames("routing.mailhub", []Text{r.Mailhub}, known)
		d.checkTransportNames("routing.router", []Text{r.Router}, known)
		mailhub, hasMailhub := t.given["mailhub"]
		firewall, hasFirewall := t.given["firewall"]
		_, hasRouter := t.given["router"]
		if hasMailhub && len(d.config.Delivery.Smarthosts) > 0 {
			d.fault(mailhub.key, "routing.mailhub", faultf("leave out one of the two", "is set, and so is delivery.smarthosts, which is a short form of it"))
		}
		if hasFirewall && r.Firewall && !hasRouter && !d.meant["routing.router"] {
			d.fault(firewall.key, "routing.firewall", faultf(`set router to the transport that leads through the firewall`, "is true, but there is no router"))
		}
	}
}

// adviseUnrouted warns of transports that nothing chooses: whoever wrote one means mail to go by it, and
// all goes directly. What handlers choose is not looked for here, and users' own routes are not known.
func (d *decoder) adviseUnrouted() {
	c := d.config
	if len(d.tables["route"])+len(d.tables["handler"])+len(c.Delivery.Smarthosts) > 0 || c.Routing.Mailhub.Text+c.Routing.Router.Text != "" {
		return
	}
	for _, t := range d.tables["transport"] {
		if x := t.fields.transport; x.Kind != TransportMX {
			d.fault(t.at, "transport", advicef(fmt.Sprintf("name it in a [[route]], or write [routing] mailhub = %q", clip(x.Name)),
				"nothing sends mail by %q, but users' own routes: all other mail goes directly", clip(x.Name)))
		}
	}
}

// adviseRouting warns of what does nothing.
func (d *decoder) adviseRouting() {
	for _, t := range d.tables["routing"] {
		r := &d.config.Routing
		router, hasRouter := t.given["router"]
		near, hasNear := t.given["near"]
		switch {
		case hasRouter && (r.Mailhub.Text != "" || len(d.config.Delivery.Smarthosts) > 0):
			d.fault(router.key, "routing.router", advicef("leave out one of the two", "does nothing, because the mailhub gets all other mail"))
		case hasNear && !r.Firewall:
			d.fault(near.key, "routing.near", advicef("set firewall = true, or leave it out", "does nothing, because firewall is false"))
		}
	}
}
