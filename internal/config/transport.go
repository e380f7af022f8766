package config

import (
	"net/netip"

	"postern/internal/mail"
)

// Transport is one table [[transport]]: a way by which mail leaves.
type Transport struct {
	Placed

	Name  string // unique
	Kind  TransportKind
	Hosts []mail.HostPort
	// What its servers are told of this one, whoever sends; as those of a Company.
	Hello                  string
	SourceIPv4, SourceIPv6 netip.Addr
}

// TransportKind is how a transport finds its servers.
type TransportKind string

// The kinds of transports.
const (
	TransportMX        TransportKind = "mx"        // those of the recipient's domain
	TransportSmarthost TransportKind = "smarthost" // those of its list
)

// maxTransports bounds the transports.
const maxTransports = 1000

// checkTransports wants transports that can be told apart, and servers for those that
// have a list of them.
func (d *decoder) checkTransports() {
	names := make(map[string]mail.Place)
	d.checkCount("transport", maxTransports)
	for _, t := range d.tables["transport"] {
		x := t.fields.transport
		if x.Name != "" {
			d.unique(t, "name", x.Name, names)
		}
		hosts, given := t.given["hosts"]
		switch needs := x.Kind == TransportSmarthost; {
		case needs && !given && !d.meant["transport.hosts"]:
			d.fault(t.at, "transport.hosts", faultf("write hosts = "+findSetting("transport.hosts").example, "is missing"))
		case needs && given && len(x.Hosts) == 0:
			d.fault(hosts.key, "transport.hosts", faultf("name a server, such as "+findSetting("transport.hosts").example, "is empty"))
		case !needs && given:
			d.fault(hosts.key, "transport.hosts", faultf(`leave it out, or write kind = "smarthost"`, "is set, but a transport of the kind %q has its servers from DNS", x.Kind))
		}
	}
}
