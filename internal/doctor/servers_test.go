package doctor

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
)

func TestSmarthosts(t *testing.T) {
	var m dns.Memory
	own := netip.MustParseAddr("192.0.2.1")
	m.Set("good.test", netip.MustParseAddr("198.51.100.1"))
	m.Set("self.test", own)
	m.Fail("broken.test", dns.ErrTemporary)
	c := config.Default()
	c.Delivery.Smarthosts = []mail.HostPort{
		{Host: "good.test", Port: 25}, {Host: "gone.test", Port: 25}, {Host: "192.0.2.9", Port: 25}, {Host: "broken.test", Port: 25},
		{Host: "self.test", Port: 2525}, {Host: "self.test", Port: 587},
	}
	got := Smarthosts{Resolver: &m, Delivery: &c.Delivery, Own: []netip.Addr{own}, Ports: []uint16{2525}}.Check(t.Context())
	want := "delivery.smarthosts: gone.test has no address in DNS: mail waits, or goes to the others (write a name that has one)\n" +
		"delivery.smarthosts: broken.test could not be looked up: DNS gave no answer: broken.test (look at dns.servers, or ask again later)\n" +
		"delivery.smarthosts: self.test:2525 leads to this server itself, which is passed over (name the server that comes next)\n"
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
