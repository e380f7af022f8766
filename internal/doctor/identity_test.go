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
		for _, f := range (Identity{Resolver: &m, Hostname: c.name, Addresses: c.own}).Check(t.Context()) {
			got = append(got, f.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s at %v:\n%s", c.name, strings.Trim(list(c.own), " "), diff)
		}
	}
}
