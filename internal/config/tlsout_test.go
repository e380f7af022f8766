package config

import "testing"

// TestWarningsOfTLSOut: what is allowed but unwise in settings of TLS with the next servers.
func TestWarningsOfTLSOut(t *testing.T) {
	const transport = "[[transport]]\nname = \"out\"\n"
	const routed = "\n[routing]\nmailhub = \"out\""
	for _, c := range []struct{ name, text, want string }{
		{"clear by a transport", wise + transport + "hosts = [\"10.0.0.1\", \"203.0.113.1\"]\ntls = \"none\"" + routed, `10:7: transport.tls: mail goes to 203.0.113.1:25 in clear`},
		{"clear by a transport, within", wise + transport + "hosts = [\"10.0.0.1\"]\ntls = \"none\"" + routed, ``},
		{"clear by MX", wise + transport + "kind = \"mx\"\ntls = \"none\"", `10:7: transport.tls: mail goes to the servers of every domain in clear`},
		{"clear by a pool", wise + transport + "kind = \"pool\"\ntls = \"none\"\n[[target]]\npool = \"out\"\naddress = \"10.0.0.1\"\n[[target]]\npool = \"out\"\nname = \"hub.example.com\"" + routed, `10:7: transport.tls: mail goes to hub.example.com:25 in clear`},
		{"clear by a pool, within", wise + transport + "kind = \"pool\"\ntls = \"none\"\n[[target]]\npool = \"out\"\naddress = \"10.0.0.1\"" + routed, ``},
		{"authorities that few ask", wise + transport + "kind = \"mx\"\ntls_ca_file = \"ca.pem\"", `10:1: transport.tls_ca_file: is looked at only for messages that demand it, because tls is "opportunistic"`},
		{"names that few ask", wise + "[[tls]]\ndomains = [\"a.example\"]\npolicy = \"required\"\nnames = [\"b.example\"]", `10:1: tls.names: is looked at only for messages that demand it`},
		{"old versions", wise + transport + "kind = \"mx\"\ntls = \"required\"\ntls_min_version = \"1.1\"", `11:19: transport.tls_min_version: is unsafe: what goes by TLS 1.1`},
		{"new versions without a demand", wise + transport + "kind = \"mx\"\ntls_min_version = \"1.2\"", `10:19: transport.tls_min_version: sends mail in clear`},
		{"old versions without a demand", wise + transport + "kind = \"mx\"\ntls_min_version = \"1.0\"", ``},
	} {
		wantWarning(t, c.name, c.text, c.want)
	}
}

// TestWarningsOfUnrouted: who writes a transport means mail to go by it.
func TestWarningsOfUnrouted(t *testing.T) {
	const hub = "[[transport]]\nname = \"hub\"\nhosts = [\"hub.example.com\"]\n"
	for _, c := range []struct{ name, text, want string }{
		{"nothing names it", wise + hub, `7:3: transport: nothing sends mail by "hub", but users' own routes: all other mail goes directly`},
		{"it is the mailhub", wise + hub + "[routing]\nmailhub = \"hub\"", ``},
		{"it is the router", wise + hub + "[routing]\nrouter = \"hub\"", ``},
		{"a route names it", wise + hub + "[[route]]\nname = \"r\"\nrecipients = [\"*@a.example\"]\ntransport = \"hub\"", ``},
		{"a handler may", wise + hub + "[[handler]]\nname = \"h\"\nat = \"rcpt\"\nsteps = [{ route_via = \"hub\" }]", ``},
		{"it is how mail goes directly", wise + "[[transport]]\nname = \"mx\"\nkind = \"mx\"", ``},
		{"others are the smarthosts", wise + hub + "[delivery]\nsmarthosts = [\"relay.example.com\"]", ``},
	} {
		wantWarning(t, c.name, c.text, c.want)
	}
}
