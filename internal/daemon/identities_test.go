package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

// TestCheckDNSOfCompanies: each company and transport with a name or an address of its own is
// looked up by it, and what is wrong is told at its table; behind NAT the addresses are those of
// own_addresses.
func TestCheckDNSOfCompanies(t *testing.T) {
	server := mailtest.NewDNS(t, `gate.test. A 192.0.2.1
1.2.0.192.in-addr.arpa. PTR gate.test.
good.test. A 192.0.2.2
2.2.0.192.in-addr.arpa. PTR good.test.
bad.test. A 192.0.2.3
3.2.0.192.in-addr.arpa. PTR gate.test.
way.test. A 192.0.2.1
`)
	four := netip.MustParseAddr
	c := settings(t, nowhere)
	c.Hostname, c.OwnAddresses = "gate.test", []netip.Addr{four("192.0.2.1"), four("192.0.2.2"), four("192.0.2.3")}
	c.DNS.Servers = []netip.AddrPort{server.Addr()}
	placed := func(line int) config.Placed {
		return config.Placed{Place: mail.Place{File: "x.toml", Line: line, Column: 1}}
	}
	c.Companies = []config.Company{
		{Placed: placed(1), Name: "as all"},
		{Placed: placed(2), Name: "good", Hostname: "good.test", SourceIPv4: four("192.0.2.2")},
		{Placed: placed(3), Name: "bad", Hostname: "bad.test", SourceIPv4: four("192.0.2.2")},
		{Placed: placed(4), Name: "bad again", Hostname: "bad.test", SourceIPv4: four("192.0.2.2")},
		{Placed: placed(5), Name: "source alone", SourceIPv4: four("192.0.2.3")},
	}
	c.Transports = []config.Transport{{Placed: placed(6), Name: "way", Kind: config.TransportMX, Hello: "way.test"}}
	var got []string
	for _, p := range CheckDNS(t.Context(), c, Options{}) {
		if strings.Contains(p.Key, "hostname") || strings.Contains(p.Key, "source") || strings.Contains(p.Key, "hello") {
			got = append(got, p.Place.String()+" "+p.Key+": "+p.Message)
		}
	}
	got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, " ") || !strings.HasPrefix(s, "x.toml") }) // of this machine's own addresses
	want := []string{
		"x.toml:3:1 company.hostname: mail leaves from 192.0.2.2, and bad.test leads to 192.0.2.3: what says that it is another host is refused by many servers",
		"x.toml:3:1 company.hostname: its address 192.0.2.3 leads to gate.test, not to bad.test",
		"x.toml:3:1 company.hostname: its address 192.0.2.2 leads to good.test, not to bad.test",
		"x.toml:5:1 company.source_ipv4: mail leaves from 192.0.2.3, and gate.test leads to 192.0.2.1: what says that it is another host is refused by many servers",
		"x.toml:6:1 transport.hello: its address 192.0.2.1 leads to gate.test, not to way.test",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestSeenAs: behind NAT a source is seen as the addresses of its family that the router has.
func TestSeenAs(t *testing.T) {
	a := netip.MustParseAddr
	g := &graph{config: &config.Config{OwnAddresses: []netip.Addr{a("192.0.2.9"), a("2001:db8::9"), a("10.9.9.9")}}}
	for _, c := range []struct{ sources, want []netip.Addr }{
		{nil, nil},
		{[]netip.Addr{a("192.0.2.1")}, []netip.Addr{a("192.0.2.1")}},
		{[]netip.Addr{a("10.0.0.1"), a("fd00::1")}, []netip.Addr{a("192.0.2.9"), a("2001:db8::9")}},
		{[]netip.Addr{a("10.0.0.1"), a("192.0.2.9")}, []netip.Addr{a("192.0.2.9")}},
	} {
		if diff := cmp.Diff(c.want, g.seenAs(c.sources), cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
			t.Errorf("%v: %s", c.sources, diff)
		}
	}
}
