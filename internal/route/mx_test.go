package route

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/tlspolicy"
)

// domains is what DNS knows in these tests. 192.0.2.9 is this server.
func domains() *dns.Memory {
	var m dns.Memory
	for _, host := range []struct{ name, address string }{
		{"mx1.test", "192.0.2.1"}, {"mx2.test", "192.0.2.2"}, {"backup.test", "192.0.2.3"},
		{"self.test", "192.0.2.9"}, {"plain.test", "192.0.2.4"}, {"xn--bcher-kva.test", "192.0.2.5"},
		{"under_score.test", "192.0.2.6"}, {"r3--x.test", "192.0.2.6"}, {"nowhere.test", "0.0.0.0"}, {"gate.test", "192.0.2.7"}, {"own.test", "192.0.2.9"},
	} {
		m.Set(host.name, netip.MustParseAddr(host.address))
	}
	m.Set("half.test", netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("192.0.2.8"))
	m.Fail("broken.test", dns.ErrTemporary)
	for domain, exchangers := range map[string][]dns.MX{
		"two.test":      {{Host: "backup.test", Preference: 20}, {Host: "mx2.test", Preference: 10}, {Host: "mx1.test", Preference: 10}},
		"same.test":     {{Host: "mx1.test", Preference: 1}, {Host: "mx2.test", Preference: 1}, {Host: "backup.test", Preference: 9}},
		"twice.test":    {{Host: "mx1.test", Preference: 20}, {Host: "mx1.test", Preference: 10}, {Host: "mx2.test", Preference: 15}},
		"null.test":     {{Preference: 0}},
		"nullmore.test": {{Preference: 0}, {Host: "mx1.test", Preference: 10}},
		"onegone.test":  {{Host: "gone.test", Preference: 10}, {Host: "broken.test", Preference: 20}, {Host: "mx1.test", Preference: 30}},
		"allgone.test":  {{Host: "gone.test", Preference: 10}, {Host: "nowhere.test", Preference: 20}},
		"somegone.test": {{Host: "gone.test", Preference: 10}, {Host: "broken.test", Preference: 20}},
		"address.test":  {{Host: "192.0.2.1", Preference: 10}},
		"badname.test":  {{Host: `a\032b.test`, Preference: 10}, {Host: "mx1.test", Preference: 20}},
		"backed.test":   {{Host: "mx1.test", Preference: 10}, {Host: "mx2.test", Preference: 20}, {Host: "self.test", Preference: 20}, {Host: "backup.test", Preference: 30}},
		"primary.test":  {{Host: "self.test", Preference: 10}, {Host: "backup.test", Preference: 20}},
		"byname.test":   {{Host: "mx1.test", Preference: 10}, {Host: "GATE.test", Preference: 20}},
		"lost.test":     {{Host: "gone.test", Preference: 10}, {Host: "self.test", Preference: 20}},
		"hidden.test":   {{Host: "broken.test", Preference: 10}, {Host: "self.test", Preference: 20}},
		"partly.test":   {{Host: "mx1.test", Preference: 10}, {Host: "half.test", Preference: 20}, {Host: "backup.test", Preference: 30}},
	} {
		m.SetMX(domain, exchangers...)
	}
	return &m
}

func newMX(resolver dns.Resolver) *MX {
	return NewMX(MXOptions{
		Port:   25,
		IsName: func(name string) bool { return strings.EqualFold(name, "gate.test") },
		Lane:   Lane{TLS: tlspolicy.Policy{Level: tlspolicy.Opportunistic}},
		Lookup: Lookup{
			Resolver: resolver,
			Self:     func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("192.0.2.9") },
		},
	})
}

func TestMX(t *testing.T) {
	for _, c := range []struct{ domain, want, site string }{
		{"two.test", "mx1.test mx2.test backup.test", "mx:mx1.test:25,mx2.test:25;backup.test:25"},
		{"same.test", "mx1.test mx2.test backup.test", "mx:mx1.test:25,mx2.test:25;backup.test:25"},
		{"twice.test", "mx1.test mx2.test", "mx:mx1.test:25;mx2.test:25"},
		{"plain.test", "plain.test", "mx:plain.test:25"},
		{"nullmore.test", "mx1.test", "mx:mx1.test:25"},
		{"onegone.test", "mx1.test", "mx:gone.test:25;broken.test:25;mx1.test:25"},
		{"badname.test", "mx1.test", `mx:a\032b.test:25;mx1.test:25`},
		{"backed.test", "mx1.test", "mx:mx1.test:25"},
		{"byname.test", "mx1.test", "mx:mx1.test:25"},
		{"partly.test", "mx1.test", "mx:mx1.test:25"},
		{"bücher.test", "xn--bcher-kva.test", "mx:xn--bcher-kva.test:25"},
		{"xn--bcher-kva.test", "xn--bcher-kva.test", "mx:xn--bcher-kva.test:25"},
		{"under_score.test", "under_score.test", "mx:under_score.test:25"},
		{"r3--x.test", "r3--x.test", "mx:r3--x.test:25"},
		{"[192.0.2.77]", "192.0.2.77", "mx:192.0.2.77:25"},
		{"[ipv6:2001:db8::7]", "2001:db8::7", "mx:[2001:db8::7]:25"},
	} {
		r, err := newMX(domains()).Route(t.Context(), Question{Destination: mail.Destination(c.domain)})
		if err != nil {
			t.Errorf("%s: %v", c.domain, err)
			continue
		}
		var hops []string
		for _, h := range r.Hops {
			hops = append(hops, h.Host)
			if h.Port != 25 || h.TLS.Level != tlspolicy.Opportunistic || len(h.Addresses) != 1 {
				t.Errorf("%s: hop %+v", c.domain, h)
			}
		}
		if got := strings.Join(hops, " "); got != c.want || r.Site != c.site || r.Name != "mx" {
			t.Errorf("%s: %s by %q, site %s; want %s, site %s", c.domain, got, r.Name, r.Site, c.want, c.site)
		}
	}
}

func TestNoMX(t *testing.T) {
	for _, c := range []struct{ domain, reply, cause string }{
		{"unknown.test", "550 5.1.2", "unknown.test"},
		{"relay", "550 5.1.2", "relay."},
		{"a\u2026b.test", "550 5.1.2", "disallowed rune"},
		{"a b.test", "550 5.1.2", "domain malformed"},
		{strings.Repeat("ü", 60) + ".test", "550 5.1.2", "63 octets"},
		{"null.test", "556 5.1.10", ""},
		{"allgone.test", "550 5.4.4", "no address that can be connected to"},
		{"address.test", "550 5.4.4", "no name of a host"},
		{"192.0.2.77", "550 5.4.4", "no name of a host"},
		{"[224.0.0.1]", "550 5.4.4", "no address"},
		{"nowhere.test", "550 5.4.4", "no address"},
		{"broken.test", "451 4.4.3", "broken.test"},
		{"somegone.test", "451 4.4.3", "broken.test"},
		{"primary.test", "554 5.4.6", "self.test"},
		{"own.test", "554 5.4.6", "own.test"},
		{"gate.test", "554 5.4.6", "gate.test"},
		{"[192.0.2.9]", "554 5.4.6", "192.0.2.9"},
		{"lost.test", "451 4.4.4", "gone.test"},
		{"hidden.test", "451 4.4.3", "broken.test"},
	} {
		_, err := newMX(domains()).Route(t.Context(), Question{Destination: mail.Destination(c.domain)})
		e, ok := errors.AsType[*mail.Error](err)
		if !ok {
			t.Errorf("%s: %v", c.domain, err)
			continue
		}
		cause := ""
		if e.Cause != nil {
			cause = e.Cause.Error()
		}
		if !strings.HasPrefix(e.Reply.String(), c.reply+" ") || !strings.Contains(cause, c.cause) {
			t.Errorf("%s: %v, want %s and the cause %q", c.domain, err, c.reply, c.cause)
		}
	}
}

// TestEqualsAreShuffled: only those of one preference change places, and the
// site is none of it.
func TestEqualsAreShuffled(t *testing.T) {
	m := newMX(domains())
	m.options.Shuffle = func(n int, swap func(i, j int)) {
		for i := range n / 2 {
			swap(i, n-1-i)
		}
	}
	r, err := m.Route(t.Context(), Question{Destination: "two.test"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(r), "mx2.test:25=192.0.2.2:25; mx1.test:25=192.0.2.1:25; backup.test:25=192.0.2.3:25"; got != want {
		t.Errorf("hops %s, want %s", got, want)
	}
	if r.Site != "mx:mx1.test:25,mx2.test:25;backup.test:25" {
		t.Errorf("site %s", r.Site)
	}
}

func TestExchangersAreBounded(t *testing.T) {
	m := domains()
	var list []dns.MX
	for i := range 40 {
		host := string(rune('a'+i%26)) + string(rune('a'+i/26)) + ".test"
		m.Set(host, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
		list = append(list, dns.MX{Host: host, Preference: uint16(i)})
	}
	m.SetMX("many.test", list...)
	r, err := newMX(m).Route(t.Context(), Question{Destination: "many.test"})
	if err != nil || len(r.Hops) != maxExchangers || r.Hops[0].Host != "aa.test" {
		t.Errorf("%d hops, %v", len(r.Hops), err)
	}
}

func TestOrder(t *testing.T) {
	parse := func(s string) []netip.AddrPort {
		var list []netip.AddrPort
		for a := range strings.FieldsSeq(s) {
			list = append(list, netip.AddrPortFrom(netip.MustParseAddr(a), 25))
		}
		return list
	}
	swap := func(n int, swap func(i, j int)) { swap(0, n-1) }
	const four, six = "192.0.2.1 192.0.2.2 192.0.2.3", "2001:db8::1 2001:db8::2 2001:db8::3"
	for _, c := range []struct {
		prefer  Family
		shuffle func(int, func(int, int))
		limit   int
		in      string
		want    string
	}{
		{"", nil, 9, four + " " + six, four + " " + six},
		{IPv4, swap, 9, six + " " + four, four + " " + six},
		{IPv6, swap, 9, four + " " + six, six + " " + four},
		{AnyFamily, nil, 9, "192.0.2.1 192.0.2.2 2001:db8::1", "192.0.2.1 2001:db8::1 192.0.2.2"},
		{AnyFamily, swap, 9, "192.0.2.1 192.0.2.2 2001:db8::1", "2001:db8::1 192.0.2.1 192.0.2.2"},
		{IPv6, nil, 4, four + " " + six, "2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2"},
		{IPv6, nil, 5, four + " " + six, "2001:db8::1 2001:db8::2 2001:db8::3 192.0.2.1 192.0.2.2"},
		{IPv4, nil, 4, four + " 2001:db8::1", four + " 2001:db8::1"},
		{IPv6, nil, 3, four + " 2001:db8::1", "2001:db8::1 192.0.2.1 192.0.2.2"},
		{AnyFamily, nil, 2, four, "192.0.2.1 192.0.2.2"},
	} {
		l := Lookup{Prefer: c.prefer, Shuffle: c.shuffle}
		if diff := cmp.Diff(parse(c.want), l.order(parse(c.in), c.limit), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%q of %s, at most %d:\n%s", c.prefer, c.in, c.limit, diff)
		}
	}
}

// FuzzDomain: whatever a recipient's domain is, asking for it ends in a way or
// in a reply, and DNS is asked for ASCII only.
func FuzzDomain(f *testing.F) {
	for _, s := range []string{"bücher.test", "[ipv6:::1]", "xn--a.test", "a..b", "\u2026", "192.0.2.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, domain string) {
		list, err := newMX(domains()).exchangers(t.Context(), mail.Destination(domain))
		if err != nil {
			if _, ok := errors.AsType[*mail.Error](err); !ok {
				t.Errorf("error %v without a reply", err)
			}
			return
		}
		if slices.ContainsFunc([]byte(list[0].Host), func(c byte) bool { return c >= 0x80 }) {
			t.Errorf("asked for %q", list[0].Host)
		}
	})
}
