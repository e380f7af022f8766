package doctor

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dns"
)

// TestIdentity: name and address lead to each other (RFC 1912 2.1).
func TestIdentity(t *testing.T) {
	var m dns.Memory
	four, six, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.99")
	bare, broken := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	m.Set("good.test", four, six)
	m.SetNames(four, "other.test", "GOOD.test")
	m.SetNames(six, "good.test")
	m.Set("wrong.test", other)
	m.SetNames(other, "dynamic.test")
	m.Set("bare.test", bare)
	m.Set("unclear.test", broken)
	m.Fail(dns.ReverseName(broken), dns.ErrTemporary)
	m.Fail("broken.test", dns.ErrTemporary)
	const set = "let whoever gave you the address set its name: "

	for _, c := range []struct {
		name string
		own  []netip.Addr
		want []string
	}{
		{"good.test", []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1"), four}, nil},
		{"good.test", []netip.Addr{netip.MustParseAddr("fe80::1"), six}, nil},
		{"good.test", nil, nil},
		{"gone.test", nil, []string{"hostname: gone.test has no address in DNS, and many servers refuse mail from such a name (let DNS hold gone.test. A or AAAA, the address from which this host sends)"}},
		{"gone.test", []netip.Addr{six}, []string{"hostname: gone.test has no address in DNS, and many servers refuse mail from such a name (let DNS hold gone.test. AAAA 2001:db8::1, the address from which this host sends)"}},
		{"broken.test", nil, []string{"hostname: broken.test could not be looked up: DNS gave no answer: broken.test. (look at dns.servers, or ask again later)"}},
		{"wrong.test", []netip.Addr{four}, []string{"hostname: wrong.test leads to 192.0.2.99, and this host has 192.0.2.1 " +
			"(let DNS hold wrong.test. A 192.0.2.1; or name 192.0.2.99 in own_addresses, if it is a router before this host)"}},
		{"wrong.test", nil, []string{"hostname: its address 192.0.2.99 leads to dynamic.test, not to wrong.test (" + set + "99.2.0.192.in-addr.arpa. PTR wrong.test.)"}},
		{"bare.test", nil, []string{"hostname: its address 192.0.2.2 has no name in DNS, and many servers refuse mail from such an address (" + set + "2.2.0.192.in-addr.arpa. PTR bare.test.)"}},
		{"unclear.test", nil, []string{"hostname: its address 192.0.2.3 could not be looked up: DNS gave no answer: 3.2.0.192.in-addr.arpa. (look at dns.servers, or ask again later)"}},
	} {
		var got []string
		for _, f := range (Identity{Resolver: &m, Setting: "hostname", Hostname: c.name, Addresses: c.own}).Check(t.Context()) {
			got = append(got, f.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s at %v:\n%s", c.name, strings.Trim(list(c.own), " "), diff)
		}
	}
}

// TestSources: the name leads to each address from which mail leaves, and each of these back;
// behind NAT nobody knows the addresses of this host.
func TestSources(t *testing.T) {
	var m dns.Memory
	four, six, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.2")
	m.Set("mail.test", four)
	m.SetNames(four, "mail.test")
	m.SetNames(second, "mail.test")
	m.Set("both.test", four, six)
	m.Set("dsl-192-0-2-2.provider.test", second)
	m.SetNames(second, "mail.test", "dsl-192-0-2-2.provider.test")
	const back = "let whoever gave you the address set its name: "
	noName := "company.hostname: its address 2001:db8::1 has no name in DNS, and many servers refuse mail from such an address (" + back + dns.ReverseName(six) + " PTR "
	for _, c := range []struct {
		name         string
		own, sources []netip.Addr
		want         []string
	}{
		{"mail.test", []netip.Addr{four, six, second}, []netip.Addr{four}, nil},
		{"mail.test", nil, []netip.Addr{netip.MustParseAddr("10.0.0.1"), four}, nil},
		{"mail.test", []netip.Addr{four, second}, []netip.Addr{second}, []string{
			"company.hostname: mail leaves from 192.0.2.2, and mail.test leads to 192.0.2.1: what says that it is another host is refused by many servers (let DNS hold mail.test. A 192.0.2.2; or let mail leave from 192.0.2.1)"}},
		{"mail.test", nil, []netip.Addr{four, six}, []string{
			"company.hostname: mail leaves from 2001:db8::1, and mail.test leads to 192.0.2.1: what says that it is another host is refused by many servers (let DNS hold mail.test. AAAA 2001:db8::1; or let mail leave from 192.0.2.1)",
			noName + "mail.test.)"}},
		{"both.test", nil, []netip.Addr{six}, []string{
			"company.hostname: its address 192.0.2.1 leads to mail.test, not to both.test (" + back + "1.2.0.192.in-addr.arpa. PTR both.test.)",
			noName + "both.test.)"}},
		{"gone.test", []netip.Addr{four}, []netip.Addr{six}, []string{
			"company.hostname: gone.test has no address in DNS, and many servers refuse mail from such a name (let DNS hold gone.test. AAAA 2001:db8::1, the address from which this host sends)"}},
		{"dsl-192-0-2-2.provider.test", nil, []netip.Addr{second}, []string{
			"company.hostname: dsl-192-0-2-2.provider.test is a name such as providers give to the connections of their customers, and many servers take no mail from those " +
				"(give this host a name of its own, such as mail.provider.test, in hostname and in DNS, both ways)"}},
	} {
		var got []string
		for _, f := range (Identity{Resolver: &m, Setting: "company.hostname", Hostname: c.name, Addresses: c.own, Sources: c.sources}).Check(t.Context()) {
			got = append(got, f.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s from %v:\n%s", c.name, c.sources, diff)
		}
	}
}

func TestGeneric(t *testing.T) {
	for name, want := range map[string]bool{
		"192-0-2-11.dsl.test": true, "dsl.192.0.2.11.test": true, "11.2.0.192.test": true, "p11x2x0x192.test": true,
		"mail.test": false, "mail192.test": false, "192-0-2-1.test": false, "1192-0-2-11.test": false, "192-0-2-112.test": false, "mx11.test": false,
	} {
		if got := generic(name, netip.MustParseAddr("192.0.2.11")); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if generic("2001.db8.1.test", netip.MustParseAddr("2001:db8::1")) {
		t.Error("of IPv6 nothing is known")
	}
}
