package daemon

import "postern/internal/config"

// What is said here of relaying is written from docs/policy.md and the RFCs, and
// shares nothing with what decides. The servers of the tests are gate.example and
// grün.example; near.example and nähe.example are near.

// class is what an address is to a server.
type class string

const (
	wrong     class = "no address"          // refused by its form
	unknown   class = "nobody at this host" // local, and leads nowhere
	here      class = "this host"           // local, and leads somewhere
	near      class = "near"
	elsewhere class = "elsewhere"
)

// relayCase is a recipient, as it stands behind RCPT TO, and what it is.
type relayCase struct {
	path string
	is   class
	goes string // the address to which its mail goes, if it is taken

	// routed and goesRouted are the same with percent_routing; empty for no other.
	routed     class
	goesRouted string
}

// at is what the address is, and where it goes.
func (c *relayCase) at(percent bool) (class, string) {
	if percent && c.routed != "" {
		return c.routed, c.goesRouted
	}
	return c.is, c.goes
}

const (
	keeper = "admin@corp.example"  // the postmaster
	seller = "desk@inside.example" // to whom a handler redirects sales@gate.example
)

// relayCases are grouped as docs/relay.md shows them.
var relayCases = []struct {
	title string
	cases []relayCase
}{
	{"Plain addresses", []relayCase{
		{path: "<joe@elsewhere.example>", is: elsewhere, goes: "joe@elsewhere.example"},
		{path: "<joe@near.example>", is: near, goes: "joe@near.example"},
		{path: "<JOE@NEAR.Example>", is: near, goes: "JOE@NEAR.Example"},
		{path: "<sales@gate.example>", is: here, goes: seller},
		{path: "<Sales@GATE.example>", is: here, goes: seller},
		{path: "<nobody@gate.example>", is: unknown},
		{path: "<nobody@localhost>", is: unknown},
		{path: "<postmaster>", is: here, goes: keeper},
		{path: "<PostMaster>", is: here, goes: keeper},
		{path: "<postmaster@Gate.Example>", is: here, goes: keeper},
		{path: "<postmaster@near.example>", is: near, goes: "postmaster@near.example"},
		{path: "<postmaster@elsewhere.example>", is: elsewhere, goes: "postmaster@elsewhere.example"},
	}},
	{"Domains that look alike", []relayCase{
		{path: "<joe@sub.near.example>", is: elsewhere, goes: "joe@sub.near.example"},
		{path: "<joe@xnear.example>", is: elsewhere, goes: "joe@xnear.example"},
		{path: "<joe@near.example.elsewhere.example>", is: elsewhere, goes: "joe@near.example.elsewhere.example"},
		{path: "<joe@example>", is: elsewhere, goes: "joe@example"},
		{path: "<joe@sub.gate.example>", is: elsewhere, goes: "joe@sub.gate.example"},
		{path: "<joe@localhost.localdomain>", is: elsewhere, goes: "joe@localhost.localdomain"},
		{path: "<joe@gate.example.>", is: wrong},
		{path: "<joe@near.example.>", is: wrong},
		{path: "<joe@.near.example>", is: wrong},
		{path: "<joe@near..example>", is: wrong},
		{path: "<joe@>", is: wrong},
		{path: "<@near.example>", is: wrong},
		{path: "<joe>", is: wrong},
		{path: "<>", is: wrong},
	}},
	{"Addresses of hosts", []relayCase{
		{path: "<joe@[127.0.0.1]>", is: unknown},
		{path: "<joe@[127.9.9.9]>", is: unknown},
		{path: "<joe@[0.0.0.0]>", is: unknown},
		{path: "<joe@[IPv6:::1]>", is: unknown},
		{path: "<joe@[ipv6:::1]>", is: unknown},
		{path: "<joe@[IPv6:::]>", is: unknown},
		{path: "<joe@[IPv6:::ffff:127.0.0.1]>", is: unknown},
		{path: "<postmaster@[127.0.0.1]>", is: here, goes: keeper},
		{path: "<joe@[192.0.2.9]>", is: elsewhere, goes: "joe@[192.0.2.9]"},
		{path: "<joe@[IPv6:2001:db8::9]>", is: elsewhere, goes: "joe@[IPv6:2001:db8::9]"},
		{path: "<joe@127.0.0.1>", is: elsewhere, goes: "joe@127.0.0.1"}, // a name of digits, which is nobody's
		{path: "<joe@[127.1]>", is: wrong},
		{path: "<joe@[2130706433]>", is: wrong},
		{path: "<joe@[IPv6:fe80::1%lo]>", is: wrong},
		{path: "<joe@[near.example]>", is: wrong},
	}},
	{"Quotes", []relayCase{
		{path: `<"joe"@near.example>`, is: near, goes: "joe@near.example"},
		{path: `<"sa\les"@gate.example>`, is: here, goes: seller},
		{path: `<"joe@elsewhere.example"@gate.example>`, is: unknown},
		{path: `<"joe@elsewhere.example"@near.example>`, is: near, goes: `"joe@elsewhere.example"@near.example`},
		{path: `<"joe@near.example"@elsewhere.example>`, is: elsewhere, goes: `"joe@near.example"@elsewhere.example`},
		{path: `<"joe@gate.example,sales"@elsewhere.example>`, is: elsewhere, goes: `"joe@gate.example,sales"@elsewhere.example`},
		{path: `<"joe\"@near.example"@elsewhere.example>`, is: elsewhere, goes: `"joe\"@near.example"@elsewhere.example`},
		{path: `<"joe@near.example">`, is: wrong},
		{path: `<""@near.example>`, is: wrong},
		{path: `<"joe@near.example>`, is: wrong},
		{path: `<<joe@near.example>@elsewhere.example>`, is: wrong},
		{path: `<joe@near.example>@elsewhere.example`, is: wrong},
	}},
	{"Routes", []relayCase{
		{path: "<@gate.example:joe@elsewhere.example>", is: elsewhere, goes: "joe@elsewhere.example"},
		{path: "<@near.example:joe@elsewhere.example>", is: elsewhere, goes: "joe@elsewhere.example"},
		{path: "<@near.example,@gate.example:joe@elsewhere.example>", is: elsewhere, goes: "joe@elsewhere.example"},
		{path: "<@elsewhere.example:joe@near.example>", is: near, goes: "joe@near.example"},
		{path: "<@elsewhere.example:nobody@gate.example>", is: unknown},
		{path: "<joe@elsewhere.example@near.example>", is: wrong},
		{path: "<joe@near.example@elsewhere.example>", is: wrong},
		{path: "<joe@near.example,joe@elsewhere.example>", is: wrong},
		{path: "<elsewhere.example!joe@gate.example>", is: unknown},
		{path: "<elsewhere.example!joe@near.example>", is: near, goes: "elsewhere.example!joe@near.example"},
	}},
	{"The percent sign", []relayCase{
		{path: "<joe%elsewhere.example@gate.example>", is: unknown, routed: elsewhere, goesRouted: "joe@elsewhere.example"},
		{path: "<joe%near.example@gate.example>", is: unknown, routed: near, goesRouted: "joe@near.example"},
		{path: "<joe%NEAR.example@Gate.Example>", is: unknown, routed: near, goesRouted: "joe@NEAR.example"},
		{path: "<sales%gate.example@gate.example>", is: unknown, routed: here, goesRouted: seller},
		{path: "<nobody%gate.example@gate.example>", is: unknown},
		{path: "<joe%elsewhere.example%near.example@gate.example>", is: unknown, routed: near, goesRouted: "joe%elsewhere.example@near.example"},
		{path: "<joe%elsewhere.example%gate.example@gate.example>", is: unknown, routed: elsewhere, goesRouted: "joe@elsewhere.example"},
		{path: "<joe%near.example%elsewhere.example@gate.example>", is: unknown, routed: elsewhere, goesRouted: "joe%near.example@elsewhere.example"},
		{path: `<"joe%elsewhere.example"@gate.example>`, is: unknown, routed: elsewhere, goesRouted: "joe@elsewhere.example"},
		{path: `<"joe%[192.0.2.9]"@gate.example>`, is: unknown, routed: elsewhere, goesRouted: "joe@[192.0.2.9]"},
		{path: `<"joe%[127.0.0.1]"@gate.example>`, is: unknown},
		{path: "<joe%elsewhere.example@[127.0.0.1]>", is: unknown, routed: elsewhere, goesRouted: "joe@elsewhere.example"},
		{path: "<postmaster%elsewhere.example@gate.example>", is: unknown, routed: elsewhere, goesRouted: "postmaster@elsewhere.example"},
		{path: "<joe%elsewhere.example@near.example>", is: near, goes: "joe%elsewhere.example@near.example"},
		{path: "<joe%near.example@elsewhere.example>", is: elsewhere, goes: "joe%near.example@elsewhere.example"},
		{path: "<joe%@gate.example>", is: unknown},
		{path: "<%elsewhere.example@gate.example>", is: unknown},
		{path: "<joe%elsewhere.example.@gate.example>", is: wrong},
		{path: `<"joe%elsewhere..example"@gate.example>`, is: unknown},
	}},
	{"Other scripts", []relayCase{
		{path: "<joe@nähe.example>", is: near, goes: "joe@nähe.example"},
		{path: "<joe@NÄHE.example>", is: near, goes: "joe@NÄHE.example"},
		{path: "<joe@na\u0308he.example>", is: near, goes: "joe@na\u0308he.example"}, // a and two dots
		{path: "<joe@xn--nhe-qla.example>", is: near, goes: "joe@xn--nhe-qla.example"},
		{path: "<joe@XN--NHE-QLA.example>", is: near, goes: "joe@XN--NHE-QLA.example"},
		{path: "<joe@\uff4e\uff45\uff41\uff52.example>", is: near, goes: "joe@\uff4e\uff45\uff41\uff52.example"}, // wide letters
		{path: "<joe@near\u3002example>", is: near, goes: "joe@near\u3002example"},                               // an ideographic full stop
		{path: "<joe@grün.example>", is: unknown},
		{path: "<joe@GRÜN.example>", is: unknown},
		{path: "<joe@gru\u0308n.example>", is: unknown},
		{path: "<joe@xn--grn-ioa.example>", is: unknown},
		{path: "<joe@gate\u3002example>", is: unknown},
		{path: "<joe@nahe.example>", is: elsewhere, goes: "joe@nahe.example"},
		{path: "<joe@n\u0435ar.example>", is: elsewhere, goes: "joe@n\u0435ar.example"}, // a Cyrillic e
		{path: "<joe@elsewhere.example\uff20near.example>", is: elsewhere, goes: "joe@elsewhere.example\uff20near.example"},
		{path: "<joe\uff05elsewhere.example@gate.example>", is: unknown}, // a wide percent sign
		{path: "<jöe@near.example>", is: near, goes: "jöe@near.example"},
	}},
}

// taken reports whether a listener with an option takes mail for what is of a class.
func (c class) taken(option config.Relay, trusted bool) bool {
	switch c {
	case here:
		return true
	case near:
		return option == "near" || option == "both" || option == "everybody" || option == "clients" && trusted
	case elsewhere:
		return option == "everybody" || trusted && (option == "clients" || option == "both")
	}
	return false
}

// relayPeer is one of those who connect: from where, and in which lists that is.
type relayPeer struct {
	address           string
	trusted, rejected bool
}

var relayClients = []relayPeer{
	{address: "127.0.0.10"},
	{address: "127.0.0.11", trusted: true},
	{address: "127.0.0.12", rejected: true},
	{address: "127.0.0.13", trusted: true, rejected: true},
}

// greeted reports whether a client is greeted.
func (c *relayPeer) greeted(override bool) bool { return !c.rejected || override && c.trusted }
