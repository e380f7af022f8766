package config

import (
	"slices"

	"postern/internal/mail"
)

// advise finds what is allowed but unwise, and shows only when settings are
// seen together. What one value shows by itself, its type finds (scalar.unwise).
func (d *decoder) advise() {
	for _, t := range d.tables["listener"] {
		d.adviseListener(t)
		d.adviseDoor(t)
		d.adviseRelay(t)
		d.adviseLogin(t)
	}
	for _, t := range d.tables["transport"] {
		d.adviseTransport(t)
	}
	for _, t := range d.tables["delivery"] {
		if len(d.config.Delivery.Smarthosts) > 0 {
			d.adviseSmarthosts(t)
		} else {
			d.adviseDirect(t)
		}
		d.adviseDelay(t)
	}
	d.adviseRoutes()
	d.adviseRouting()
	d.adviseUnrouted()
	d.adviseServers()
	d.adviseKeys()
}

func (d *decoder) adviseListener(t *table) {
	l := t.fields.listener
	public := l.Address.IsValid() && !l.Address.Addr().IsLoopback()
	if at, is := t.given["address"]; is && public && l.TLSMode() == ListenerClear {
		d.fault(at.value, "listener.address", advicef("set tls_certificate and tls_key",
			"takes mail from other machines, and only in clear: everybody on the way can read it"))
	}
	if at, is := t.given["max_connections_per_client"]; is && l.MaxConnectionsPerClient > l.MaxConnections {
		d.fault(at.value, "listener.max_connections_per_client", advicef("set less than max_connections",
			"is %d, more than the %d of max_connections: one client can shut out all others", l.MaxConnectionsPerClient, l.MaxConnections))
	}
	if at, is := t.given["trust"]; is && l.Relay == RelayClients && len(l.Trust) == 0 && len(at.node.items) == 0 && l.Auth == AuthOff {
		d.fault(at.value, "listener.trust", advicef(`name the networks whose programs send through it, set auth, or set relay = "nobody"`,
			"is empty: it takes mail for addresses of this host, and from nobody for elsewhere"))
	}
	if at, is := t.given["max_size"]; is && l.MaxSize > d.config.Pressure.MinFreeSpace {
		d.fault(at.value, "listener.max_size", advicef("set pressure.min_free_space to several times as much",
			"is %s, more than the %s of pressure.min_free_space: one message whose size is not declared can fill the disk",
			formatSize(l.MaxSize), formatSize(d.config.Pressure.MinFreeSpace)))
	}
}

// adviseRelay warns of an open relay, and of words and lists that do nothing
// without each other.
func (d *decoder) adviseRelay(t *table) {
	l := t.fields.listener
	forNear := l.Relay == RelayNear || l.Relay == RelayBoth
	relay, hasRelay := t.given["relay"]
	near, hasNear := t.given["near"]
	override, overrides := t.given["override_reject"]
	switch {
	case hasRelay && l.Relay == RelayEverybody:
		d.fault(relay.value, "listener.relay", advicef(`set "clients", and name your networks in trust`,
			"is an open relay: everybody who reaches the listener can send mail to anywhere through it"))
	case hasRelay && forNear && len(l.Near)+len(l.NearLists) == 0 && !hasNear:
		d.fault(relay.value, "listener.relay", advicef("name in near the domains behind this server", "is %q, but near has no domains", l.Relay))
	case hasNear && !forNear && len(near.node.items) > 0:
		d.fault(near.key, "listener.near", advicef(`set relay to "near" or "both"`, "does nothing, because relay is %q", l.Relay))
	}
	if overrides && l.OverrideReject && len(l.RejectClients)+len(l.RejectLists) == 0 {
		d.fault(override.key, "listener.override_reject", advicef("name the clients in reject_clients", "does nothing, because reject_clients has no networks"))
	}
}

// adviseSmarthosts looks at what matters when all mail goes to smarthosts.
func (d *decoder) adviseSmarthosts(t *table) {
	c := &d.config.Delivery
	far := slices.IndexFunc(c.Smarthosts, func(h mail.HostPort) bool { return !near(h) })
	if at, is := t.given["smarthost_tls"]; is && c.SmarthostTLS == TLSNone && far >= 0 {
		d.fault(at.value, "delivery.smarthost_tls", advicef(`set "verify", or at least "opportunistic"`,
			"all mail goes to %s in clear: everybody on the way can read it", clip(c.Smarthosts[far].String())))
	}
	seen := make(map[mail.HostPort]bool)
	for _, h := range c.Smarthosts {
		if seen[h] {
			d.fault(t.given["smarthosts"].value, "delivery.smarthosts", advicef("name each once", "%s is named twice: it is tried twice in each attempt", clip(h.String())))
		}
		seen[h] = true
	}
	const without = "has no effect while there are smarthosts: it is for mail that goes directly"
	if at, is := t.given["mx_tls"]; is && c.MXTLS != TLSOpportunistic {
		d.fault(at.key, "delivery.mx_tls", advicef("set smarthost_tls instead", without))
	}
	if at, is := t.given["port"]; is && c.Port != smtpPort {
		d.fault(at.key, "delivery.port", advicef("write the port behind each smarthost", without))
	}
}

// near reports whether a server is on this machine or its own network, as far
// as its address tells.
func near(h mail.HostPort) bool {
	ip, literal := h.IP()
	return literal && !isPublic(ip) || h.Host == "localhost" || h.Socket != ""
}

// adviseDirect looks at what matters when mail goes directly to its domain.
func (d *decoder) adviseDirect(t *table) {
	c := &d.config.Delivery
	if at, is := t.given["mx_tls"]; is && c.MXTLS == TLSNone {
		d.fault(at.value, "delivery.mx_tls", advicef(`set "opportunistic"`,
			"all mail goes over the Internet in clear, also to servers that offer TLS"))
	}
	if at, is := t.given["port"]; is && c.Port != smtpPort {
		d.fault(at.value, "delivery.port", advicef("leave it out, unless this is a test",
			"is %d: the servers of the Internet take mail at port %d and nowhere else (RFC 5321 4.5.4.2)", c.Port, smtpPort))
	}
	if at, is := t.given["smarthost_tls"]; is && c.SmarthostTLS != TLSOpportunistic {
		d.fault(at.key, "delivery.smarthost_tls", advicef("set smarthosts, or mx_tls for mail that goes directly", "has no effect without smarthosts"))
	}
}

func (d *decoder) adviseDelay(t *table) {
	c := &d.config.Delivery
	if at, is := t.given["delay_warning"]; is && c.DelayWarning >= c.Retry.Until {
		d.fault(at.value, "delivery.delay_warning", advicef("set less than the age at which retry gives up",
			"is %s, and mail is given up after %s: nobody is ever told of a delay", formatDuration(c.DelayWarning), formatDuration(c.Retry.Until)))
	}
	if at, is := t.given["max_connections_per_site"]; is && c.MaxConnectionsPerSite > c.MaxConnections {
		d.fault(at.value, "delivery.max_connections_per_site", advicef("set less than max_connections",
			"is %d, more than the %d of max_connections: one slow site can hold up all others", c.MaxConnectionsPerSite, c.MaxConnections))
	}
}

// maxServers is how many name servers are asked (package dns).
const maxServers = 8

func (d *decoder) adviseServers() {
	for _, t := range d.tables["dns"] {
		if n := len(d.config.DNS.Servers); n > maxServers {
			d.fault(t.given["servers"].value, "dns.servers", advicef("leave out the last", "are %d, and only the first %d are asked", n, maxServers))
		}
	}
}
