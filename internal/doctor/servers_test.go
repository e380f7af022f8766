package doctor

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dns"
	"postern/internal/mail"
)

func TestNextServers(t *testing.T) {
	var m dns.Memory
	own := netip.MustParseAddr("192.0.2.1")
	m.Set("good.test", netip.MustParseAddr("198.51.100.1"))
	m.Set("self.test", own)
	m.Fail("broken.test", dns.ErrTemporary)
	m.SetMX("hub.test", dns.MX{Host: "good.test", Preference: 10}, dns.MX{Host: "gone.test", Preference: 20}, dns.MX{Host: "self.test", Preference: 30})
	m.SetMX("null.test", dns.MX{})
	at := mail.Place{File: "x.toml", Line: 9, Column: 1}
	var servers []NextServer
	add := func(key string, mx bool, hosts ...mail.HostPort) {
		for _, h := range hosts {
			servers = append(servers, NextServer{key, at, h, mx})
		}
	}
	add("delivery.smarthosts", false, mail.HostPort{Host: "good.test", Port: 25}, mail.HostPort{Host: "gone.test", Port: 25}, mail.HostPort{Host: "192.0.2.9", Port: 25},
		mail.HostPort{Host: "broken.test", Port: 25}, mail.HostPort{Host: "self.test", Port: 2525}, mail.HostPort{Host: "self.test", Port: 587}, mail.HostPort{Socket: "/run/lmtp"})
	add("transport.hosts", true, mail.HostPort{Host: "hub.test", Port: 2525}, mail.HostPort{Host: "good.test", Port: 25}, mail.HostPort{Host: "null.test", Port: 25},
		mail.HostPort{Host: "broken.test", Port: 25}, mail.HostPort{Host: "none.test", Port: 25}, mail.HostPort{Host: "192.0.2.9", Port: 25})
	got := NextServers{Resolver: &m, Servers: servers, Own: []netip.Addr{own}, Ports: []uint16{2525}}.Check(t.Context())
	const smarthosts, hosts = "x.toml:9:1: delivery.smarthosts: ", "x.toml:9:1: transport.hosts: "
	want := smarthosts + "gone.test has no address in DNS: mail waits, or goes to the others (write a name that has one)\n" +
		smarthosts + "broken.test could not be looked up: DNS gave no answer: broken.test (look at dns.servers, or ask again later)\n" +
		smarthosts + "self.test:2525 leads to this server itself, which is passed over (name the server that comes next)\n" +
		hosts + "gone.test, a server of hub.test by its MX records, has no address in DNS: mail waits, or goes to the others (write a name that has one)\n" +
		hosts + "self.test:2525, a server of hub.test by its MX records, leads to this server itself, which is passed over (name the server that comes next)\n" +
		hosts + "null.test takes no mail, as DNS says (a null MX record): mail comes back (name a domain that takes mail)\n" +
		hosts + "the servers of broken.test could not be looked up: DNS gave no answer: broken.test. (look at dns.servers, or ask again later)\n" +
		hosts + "none.test has no address in DNS: mail waits, or goes to the others (write a name that has one)\n"
	if diff := cmp.Diff(want, listing("\x00", got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNameServers(t *testing.T) {
	var knows, knowsNot, silent dns.Memory
	knows.Set("mail.test", netip.MustParseAddr("192.0.2.1"))
	silent.Fail("mail.test", dns.ErrTemporary)
	resolvers := map[string]*dns.Memory{"192.0.2.53:53": &knows, "192.0.2.54:53": &silent, "192.0.2.55:53": &knowsNot}
	n := NameServers{Name: "mail.test", Only: func(a netip.AddrPort) Resolver { return resolvers[a.String()] }}
	for a := range resolvers {
		n.Servers = append(n.Servers, netip.MustParseAddrPort(a))
	}
	want := "dns.servers: 192.0.2.54:53 does not answer a question for mail.test: every lookup waits for it (leave it out, or see why it does not answer)\n"
	if diff := cmp.Diff(want, listing("\x00", n.Check(t.Context()))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
