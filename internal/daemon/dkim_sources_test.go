package daemon

import (
	"fmt"
	"net/netip"
	"testing"

	"postern/internal/config"
	"postern/internal/mail"
)

// TestSources: from which addresses the mail of a domain leaves, as SPF is asked about them.
func TestSources(t *testing.T) {
	a := netip.MustParseAddr
	hub := []config.Transport{{Name: "hub", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{{Host: "hub.example", Port: 25}}, SourceIPv4: a("192.0.2.50")}}
	for _, x := range []struct {
		name   string
		change func(*config.Config)
		domain string
		want   string
	}{
		{"this host", func(*config.Config) {}, "gate.example", "[192.0.2.1 2001:db8::1]"},
		{"a company", func(*config.Config) {}, "acme.example", "[192.0.2.77]"},
		{"a company behind NAT", func(c *config.Config) {
			c.Companies[0].SourceIPv4, c.OwnAddresses = a("10.0.0.7"), []netip.Addr{a("192.0.2.99")}
		}, "acme.example", "[192.0.2.99]"},
		{"the transport before the company", func(c *config.Config) {
			c.Transports = []config.Transport{{Name: "mx", Kind: config.TransportMX, SourceIPv4: a("192.0.2.40")}}
		}, "acme.example", "[192.0.2.40]"},
		{"a transport to which a route may lead", func(c *config.Config) {
			c.Transports = []config.Transport{{Name: "slow", Kind: config.TransportMX, SourceIPv6: a("2001:db8::40")}}
		}, "acme.example", "[192.0.2.77 2001:db8::40]"},
		{"a smarthost to which a route may lead", func(c *config.Config) { c.Transports = hub }, "acme.example", "[192.0.2.77]"},
		{"smarthosts", func(c *config.Config) { c.Delivery.Smarthosts = []mail.HostPort{{Host: "hub.example", Port: 25}} }, "acme.example", "[]"},
		{"a mailhub", func(c *config.Config) { c.Transports, c.Routing.Mailhub.Text = hub, "hub" }, "acme.example", "[]"},
		{"a pool as the mailhub", func(c *config.Config) {
			c.Transports, c.Routing.Mailhub.Text = []config.Transport{{Name: "hub", Kind: config.TransportPool}}, "hub"
		}, "gate.example", "[]"},
		{"through a firewall", func(c *config.Config) {
			c.Transports, c.Routing.Router.Text, c.Routing.Firewall = hub, "hub", true
		}, "acme.example", "[]"},
		{"a router as the last way", func(c *config.Config) { c.Transports, c.Routing.Router.Text = hub, "hub" }, "acme.example", "[192.0.2.77]"},
	} {
		c := settings(t, nowhere)
		c.Delivery.Smarthosts = nil
		c.Companies = []config.Company{{Name: "acme", Domains: []string{"acme.example"}, SourceIPv4: a("192.0.2.77")}}
		x.change(c)
		g := newGraph(c, mail.SystemClock{})
		if err := g.loadLocal(); err != nil {
			t.Fatal(err)
		}
		g.local.Addresses = []netip.Addr{a("127.0.0.1"), a("192.0.2.1"), a("10.0.0.1"), a("2001:db8::1"), a("fe80::1")}
		list, relayed := g.sources(x.domain)
		if got := fmt.Sprint(list); got != x.want || relayed != (x.want == "[]") {
			t.Errorf("%s: %s, want %s; relayed: %v", x.name, got, x.want, relayed)
		}
	}
}
