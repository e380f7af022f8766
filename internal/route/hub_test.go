package route

import (
	"errors"
	"strings"
	"testing"

	"postern/internal/dns"
	"postern/internal/mail"
)

// TestLookupMX: with it the hosts of a list are domains, and what fails never is the sender's
// fault.
func TestLookupMX(t *testing.T) {
	m := names()
	m.SetMX("hub.test", dns.MX{Host: "b.test", Preference: 20}, dns.MX{Host: "a.test", Preference: 10})
	m.SetMX("null.test", dns.MX{})
	m.SetMX("self.test", dns.MX{Host: "me.test"})
	m.SetMX("gone.test", dns.MX{Host: "unknown.test"})
	m.SetMX("half.test", dns.MX{Host: "broken.test"})
	const both = "a.test:587=192.0.2.1:587 [2001:db8::1]:587; b.test:587=192.0.2.2:587"
	for _, c := range []struct {
		hosts []string
		want  string // the hops, or the status of the error
	}{
		{[]string{"hub.test:587"}, both},
		{[]string{"b.test:25"}, "b.test:25=192.0.2.2:25"}, // no MX: a server itself
		{[]string{"192.0.2.99:25"}, "192.0.2.99:25=192.0.2.99:25"},
		{[]string{"unknown.test:25", "hub.test:587"}, both},
		{[]string{"broken.test:25", "hub.test:587"}, both},
		{[]string{"unknown.test:25"}, "4.4.4"},
		{[]string{"gone.test:25"}, "4.4.4"},
		{[]string{"null.test:25"}, "4.4.4"},
		{[]string{"broken.test:25"}, "4.4.3"},
		{[]string{"half.test:25"}, "4.4.3"},
		{[]string{"self.test:25"}, "4.4.6"},
	} {
		s := NewSmarthosts(Options{
			Lookup: Lookup{Resolver: m}, Name: "hub", Hosts: hosts(t, c.hosts...), LookupMX: true,
			IsName: func(name string) bool { return name == "me.test" },
		})
		r, err := s.Route(t.Context(), Question{Destination: "x.test"})
		got := show(r)
		if e, ok := errors.AsType[*mail.Error](err); ok {
			if got = e.Reply.Enhanced; e.Reply.Permanent() {
				t.Errorf("%q: %v is permanent", c.hosts, err)
			}
		}
		if got != c.want {
			t.Errorf("%q: %s (%v), want %s", c.hosts, got, err, c.want)
		}
		if err == nil && (r.Name != "hub" || r.Site != "hub:"+strings.Join(c.hosts, ",") || r.Hops[0].Transport != "hub") {
			t.Errorf("%q: %s at %s, hops of %s", c.hosts, r.Name, r.Site, r.Hops[0].Transport)
		}
	}
}

// TestBalance: at random the hosts are shuffled, in order they are not.
func TestBalance(t *testing.T) {
	reverse := func(n int, swap func(i, j int)) {
		for i := range n / 2 {
			swap(i, n-1-i)
		}
	}
	for random, want := range map[bool]string{false: "192.0.2.1:25 192.0.2.2:25 192.0.2.3:25", true: "192.0.2.3:25 192.0.2.2:25 192.0.2.1:25"} {
		s := NewSmarthosts(Options{
			Lookup: Lookup{Resolver: names(), Shuffle: reverse}, Hosts: hosts(t, "192.0.2.1", "192.0.2.2", "192.0.2.3"), Random: random,
		})
		r, err := s.Route(t.Context(), Question{})
		var got []string
		for _, h := range r.Hops {
			got = append(got, h.Addresses[0].String())
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("random %v: %q, %v", random, got, err)
		}
		other, err := s.Route(t.Context(), Question{})
		if !r.SameWay(other) || err != nil {
			t.Error("the order makes another way", err)
		}
	}
}
