package route

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/mail"
)

// TestIdentity: what comes of the sender goes into every lane; and with an address of one
// family alone to connect from, servers of the other are not asked.
func TestIdentity(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	hop := func(addresses ...string) Hop {
		h := Hop{Lane: Lane{Host: strings.Join(addresses, "+")}}
		for _, a := range addresses {
			h.Addresses = append(h.Addresses, netip.MustParseAddrPort(a))
		}
		return h
	}
	both := fixed{Hops: []Hop{hop("192.0.2.1:25", "[2001:db8::1]:25"), hop("[2001:db8::2]:25"), hop("[::ffff:192.0.2.3]:25")}}
	only := fixed{Name: "t", Site: "t:only", Hops: []Hop{hop("[2001:db8::2]:25")}}
	for _, c := range []struct {
		name string
		way  fixed
		from Identity
		want string
	}{
		{"any", both, Identity{Hostname: "a.example"}, "192.0.2.1:25 [2001:db8::1]:25, [2001:db8::2]:25, [::ffff:192.0.2.3]:25"},
		{"both", both, Identity{IPv4: four, IPv6: six}, "192.0.2.1:25 [2001:db8::1]:25, [2001:db8::2]:25, [::ffff:192.0.2.3]:25"},
		{"IPv4", both, Identity{IPv4: four}, "192.0.2.1:25, [::ffff:192.0.2.3]:25"},
		{"IPv6", both, Identity{IPv6: six}, "[2001:db8::1]:25, [2001:db8::2]:25"},
		{"none is left", only, Identity{IPv4: four}, "451 4.4.4"},
	} {
		table := NewTable(TableOptions{Otherwise: c.way, Finish: func(l *Lane, q Question) {
			l.From = c.from
			l.From.Hostname = q.Sender.Domain
		}})
		r, err := table.Route(t.Context(), Question{Destination: "x.test", Sender: mail.Address{Local: "joe", Domain: "sender.test"}})
		var hops []string
		for _, h := range r.Hops {
			var addresses []string
			for _, a := range h.Addresses {
				addresses = append(addresses, a.String())
			}
			hops = append(hops, strings.Join(addresses, " "))
			if want := (Identity{Hostname: "sender.test", IPv4: c.from.IPv4, IPv6: c.from.IPv6}); h.From != want {
				t.Errorf("%s: from %+v, want %+v", c.name, h.From, want)
			}
		}
		got := strings.Join(hops, ", ")
		if err != nil {
			got, _, _ = strings.Cut(err.Error(), " None")
			if r.Site != "" || len(r.Hops) > 0 {
				t.Errorf("%s: it fails with %+v, as if a server had to come back", c.name, r)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if n := len(both.Hops[0].Addresses); n != 2 {
		t.Errorf("the transport's own route has %d addresses left", n)
	}
}

// TestSource: an address is connected to from one of its family.
func TestSource(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	i := Identity{IPv4: four, IPv6: six}
	for to, want := range map[string]netip.Addr{"192.0.2.1": four, "::ffff:192.0.2.1": four, "2001:db8::1": six} {
		if got := i.Source(netip.MustParseAddr(to)); got != want {
			t.Errorf("%s: from %s, want %s", to, got, want)
		}
	}
}
