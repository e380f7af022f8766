package config

import (
	"time"

	"cmp"

	"net/netip"

	"postern/internal/mail"
)

// Transport is one table [[transport]]: a way by which mail leaves.
type Transport struct {
	Placed

	Name  string // unique
	Kind  TransportKind
	Hosts []mail.HostPort

	// What TLS there must be; the certificate that is shown, by its name; and how TLS begins.
	TLSOut
	TLSCertificate string
	TLSEHLO        bool // again, under TLS
	TLSImplicit    bool

	// Credential is the name of a record of the directory; empty: it is looked for.
	Credential string

	// Of a pool.
	Refresh, ConnectRetry, DrainTimeout time.Duration

	// Where the servers are.
	Port     int // 0: the usual one
	LookupMX bool
	Balance  Balance

	// What its servers are told of this one, whoever sends; as those of a Company.
	Hello                  string
	SourceIPv4, SourceIPv6 netip.Addr

	TransportLimits
}

// Balance says in which order servers are tried.
type Balance string

// The orders.
const (
	BalanceOrder  Balance = "order"
	BalanceRandom Balance = "random"
)

// TransportKind is how a transport finds its servers.
type TransportKind string

// The kinds of transports.
const (
	TransportMX        TransportKind = "mx"        // those of the recipient's domain
	TransportSmarthost TransportKind = "smarthost" // those of its list
)

// servers says where those of a transport that has no list are from.
func (k TransportKind) servers() string {
	switch k {
	case TransportPool:
		return "[[target]] tables"
	case TransportDiscard:
		return "nowhere"
	}
	return "DNS"
}

// checkTransports wants servers for the transports that have a list of them.
func (d *decoder) checkTransports() {
	for _, t := range d.tables["transport"] {
		x := t.fields.transport
		d.checkTransportWay(t)
		hosts, given := t.given["hosts"]
		switch needs := x.Kind.hasList(); {
		case needs && !given && !d.meant["transport.hosts"]:
			d.fault(t.at, "transport.hosts", faultf("write hosts = "+findSetting("transport.hosts").example, "is missing"))
		case needs && given && len(x.Hosts) == 0:
			d.fault(hosts.key, "transport.hosts", faultf("name a server, such as "+findSetting("transport.hosts").example, "is empty"))
		case !needs && given:
			d.fault(hosts.key, "transport.hosts", faultf(`leave it out, or write kind = "smarthost"`, "is set, but a transport of the kind %q has its servers from %s", x.Kind, x.Kind.servers()))
		}
	}
}

// checkTransportWay wants servers that are elsewhere, and the names of the transports that
// need no table to mean what they do. It completes the servers that name no port.
func (d *decoder) checkTransportWay(t *table) {
	x := t.fields.transport
	for i := range x.Hosts {
		if x.Hosts[i].Socket != "" {
			continue
		}
		x.Hosts[i].Port = cmp.Or(x.Hosts[i].Port, uint16(x.Port), x.Kind.usualPort())
	}
	name := t.given["name"]
	switch {
	case x.Name == DirectTransport && x.Kind != TransportMX:
		d.fault(name.value, "transport.name", faultf(`write kind = "mx", or choose another name`, "%q is the transport directly to the servers of a domain", x.Name))
	case x.Name == SmarthostsTransport && len(d.config.Delivery.Smarthosts) > 0:
		d.fault(name.value, "transport.name", faultf("choose another", "%q is the transport to delivery.smarthosts", x.Name))
	}
	for key, set := range map[string]bool{"lookup_mx": x.LookupMX && x.Kind != TransportSmarthost, "balance": x.Balance == BalanceRandom && !x.Kind.hasList()} {
		if at, given := t.given[key]; given && set {
			d.fault(at.key, "transport."+key, faultf("leave it out", "is set, but is not for transports of the kind %q", x.Kind))
		}
	}
	d.checkServers(t.given["hosts"], "transport.hosts", x.Hosts)
	d.checkHops(t)
	d.checkDiscard(t)
	d.checkWithout(t)
}
