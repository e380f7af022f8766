package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/tlspolicy"
)

func hosts(t *testing.T, list ...string) []mail.HostPort {
	t.Helper()
	var parsed []mail.HostPort
	for _, s := range list {
		h, err := mail.ParseHostPort(s, 25)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, h)
	}
	return parsed
}

// names is a resolver that knows a.test and b.test, and breaks at broken.test.
func names() *dns.Memory {
	var m dns.Memory
	m.Set("a.test", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1"))
	m.Set("b.test", netip.MustParseAddr("192.0.2.2"))
	m.Fail("broken.test", dns.ErrTemporary)
	return &m
}

// show writes hops as "host:port=address address", with "; " between.
func show(r Route) string {
	var hops []string
	for _, h := range r.Hops {
		s := fmt.Sprintf("%s:%d=", h.Host, h.Port)
		for i, a := range h.Addresses {
			if i > 0 {
				s += " "
			}
			s += a.String()
		}
		hops = append(hops, s)
	}
	return strings.Join(hops, "; ")
}

func TestRoute(t *testing.T) {
	self := netip.MustParseAddrPort("192.0.2.2:25")
	for _, c := range []struct {
		name  string
		hosts []string
		want  string
		site  string
	}{
		{
			name:  "both families, each address once",
			hosts: []string{"A.test"},
			want:  "a.test:25=192.0.2.1:25 [2001:db8::1]:25",
			site:  "smarthost:a.test:25",
		},
		{
			name:  "the configured order",
			hosts: []string{"b.test:587", "a.test"},
			want:  "b.test:587=192.0.2.2:587; a.test:25=192.0.2.1:25 [2001:db8::1]:25",
			site:  "smarthost:b.test:587,a.test:25",
		},
		{
			name:  "addresses are not looked up",
			hosts: []string{"198.51.100.7:2525", "[2001:db8::7]"},
			want:  "198.51.100.7:2525=198.51.100.7:2525; 2001:db8::7:25=[2001:db8::7]:25",
			site:  "smarthost:198.51.100.7:2525,[2001:db8::7]:25",
		},
		{
			name:  "a host without an answer is passed over",
			hosts: []string{"broken.test", "unknown.test", "b.test:26"},
			want:  "b.test:26=192.0.2.2:26",
			site:  "smarthost:broken.test:25,unknown.test:25,b.test:26",
		},
		{
			name:  "this server itself is passed over",
			hosts: []string{"b.test", "a.test"},
			want:  "a.test:25=192.0.2.1:25 [2001:db8::1]:25",
			site:  "smarthost:b.test:25,a.test:25",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSmarthosts(Options{
				Hosts:  hosts(t, c.hosts...),
				Lane:   Lane{TLS: tlspolicy.Policy{Level: tlspolicy.Required}},
				Lookup: Lookup{Resolver: names(), Self: func(a netip.AddrPort) bool { return a == self }},
			})
			r, err := s.Route(t.Context(), Question{Destination: "anywhere.test"})
			if err != nil {
				t.Fatal(err)
			}
			if got := show(r); got != c.want {
				t.Errorf("hops %s, want %s", got, c.want)
			}
			if r.Name != "smarthost" || r.Site != c.site {
				t.Errorf("route %q of site %q, want smarthost and %q", r.Name, r.Site, c.site)
			}
			for _, h := range r.Hops {
				if h.TLS.Level != tlspolicy.Required {
					t.Errorf("%s has TLS policy %q, want required", h.Host, h.TLS.Level)
				}
			}
		})
	}
}

func TestNoRoute(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name     string
		ctx      context.Context
		hosts    []string
		enhanced string
		cause    string
	}{
		{"no such name", t.Context(), []string{"unknown.test", "other.test"}, "4.4.4", "other.test"},
		{"no answer", t.Context(), []string{"broken.test"}, "4.4.3", "broken.test"},
		{"no answer for one of two", t.Context(), []string{"unknown.test", "broken.test"}, "4.4.3", "unknown.test"},
		{"itself", t.Context(), []string{"192.0.2.9"}, "4.4.6", "192.0.2.9:25"},
		{"itself, and no such name", t.Context(), []string{"unknown.test", "192.0.2.9"}, "4.4.6", "unknown.test"},
		{"itself, and no answer", t.Context(), []string{"192.0.2.9", "broken.test"}, "4.4.3", "192.0.2.9:25"},
		{"no time left", ended, []string{"a.test"}, "4.4.3", "canceled"},
		{"no hosts", t.Context(), nil, "4.4.4", "no smarthost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSmarthosts(Options{
				Hosts: hosts(t, c.hosts...),
				Lookup: Lookup{
					Resolver: names(),
					Self:     func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("192.0.2.9") },
				},
			})
			_, err := s.Route(c.ctx, Question{Destination: "anywhere.test"})
			e, ok := errors.AsType[*mail.Error](err)
			if !ok || e.Reply.Code != 451 || e.Reply.Enhanced != c.enhanced || e.Cause == nil || !strings.Contains(e.Cause.Error(), c.cause) {
				t.Errorf("error %v, want 451 %s with a cause that names %q", err, c.enhanced, c.cause)
			}
		})
	}
}

func TestRouteIsResolvedAnew(t *testing.T) {
	m := names()
	s := NewSmarthosts(Options{Hosts: hosts(t, "b.test"), Lookup: Lookup{Resolver: m}})
	before, err := s.Route(t.Context(), Question{Destination: "x.test"})
	if err != nil {
		t.Fatal(err)
	}
	m.Set("b.test", netip.MustParseAddr("192.0.2.3"))
	after, err := s.Route(t.Context(), Question{Destination: "x.test"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{show(before), show(after)}
	if diff := cmp.Diff([]string{"b.test:25=192.0.2.2:25", "b.test:25=192.0.2.3:25"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if before.Site != after.Site {
		t.Errorf("the site changed with DNS, from %q to %q", before.Site, after.Site)
	}
}

func TestAddressesAreBounded(t *testing.T) {
	var m dns.Memory
	var many []netip.Addr
	for i := range maxAddresses + 5 {
		many = append(many, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
	}
	m.Set("many.test", many...)
	r, err := NewSmarthosts(Options{Hosts: hosts(t, "many.test"), Lookup: Lookup{Resolver: &m}}).Route(t.Context(), Question{Destination: "x.test"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Hops[0].Addresses); n != maxAddresses {
		t.Errorf("%d addresses, want %d", n, maxAddresses)
	}
}
