package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"postern/internal/dns"
	"postern/internal/mail"
)

// failing is a transport that has no way.
type failing struct {
	route Route
	err   error
}

func (f failing) Route(context.Context, Question) (Route, error) { return f.route, f.err }

// hop is one with n addresses.
func hop(transport string, n int) Hop {
	h := Hop{Lane: Lane{Transport: transport, Host: transport, Port: 25}}
	for i := range n {
		h.Addresses = append(h.Addresses, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 25))
	}
	return h
}

func TestInOrder(t *testing.T) {
	temporary, permanent := mail.Refuse(451, "4.4.3", "not now"), mail.Refuse(550, "5.1.2", "never")
	full := fixed{Name: "a", Site: "a:h", Hops: []Hop{hop("a", 9)}}
	two := fixed{Name: "b", Site: "b:i,j", Hops: []Hop{hop("b", 9), hop("b", 9)}}
	many := fixed{Name: "c", Site: "c:k", Hops: []Hop{hop("c", 1), hop("c", 1), hop("c", 1), hop("c", 1), hop("c", 1), hop("c", 1)}}
	parked := failing{Route{Name: "p", Site: "p:1"}, temporary}
	for _, c := range []struct {
		list inOrder
		want string
	}{
		{inOrder{full}, "a at a:h: a9 <nil>"},
		{inOrder{full, two}, "a at a:h+b:i,j: a4 b3 b1 <nil>"},
		{inOrder{many, full}, "c at c:k+a:h: c1 c1 c1 c1 a4 <nil>"},
		{inOrder{failing{err: temporary}, full}, "a at a:h: a4 <nil>"},
		{inOrder{failing{err: permanent}, full}, "a at a:h: a4 <nil>"},
		{inOrder{full, failing{err: permanent}}, "a at a:h: a4 <nil>"},
		{inOrder{failing{err: permanent}, failing{err: temporary}}, " at : 451 4.4.3 not now"},
		{inOrder{failing{err: permanent}, failing{err: errors.New("what nobody foresaw")}}, " at : what nobody foresaw"},
		{inOrder{failing{err: permanent}, failing{err: permanent}}, " at : 550 5.1.2 never"},
		{inOrder{failing{err: permanent}, parked}, "p at p:1: 451 4.4.3 not now"},
		{inOrder{parked, failing{err: temporary}}, "p at p:1: 451 4.4.3 not now"},
	} {
		r, err := c.list.Route(t.Context(), Question{})
		got := r.Name + " at " + r.Site + ":"
		for _, h := range r.Hops {
			got += fmt.Sprintf(" %s%d", h.Transport, len(h.Addresses))
		}
		if got += " " + fmt.Sprint(err); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestWaysOfAKey: a key with several leads to all of them, one behind the other, and no
// transport sees it.
func TestWaysOfAKey(t *testing.T) {
	m := names()
	m.SetMX("x.test", dns.MX{Host: "b.test"})
	table := NewTable(TableOptions{
		Transports: map[string]Transport{"mx": NewMX(MXOptions{Lookup: Lookup{Resolver: m}, Port: 25})},
		Server: func(h mail.HostPort) Transport {
			return NewSmarthosts(Options{Lookup: Lookup{Resolver: m}, Hosts: []mail.HostPort{h}})
		},
	})
	r, err := table.Route(t.Context(), Question{Destination: "x.test/~a.test:587+mx"})
	if want := "a.test:587=192.0.2.1:587 [2001:db8::1]:587; b.test:25=192.0.2.2:25"; err != nil || show(r) != want {
		t.Errorf("%s, %v", show(r), err)
	}
	if r.Hops[0].Transport != "smarthost" || r.Hops[1].Transport != "mx" {
		t.Errorf("the hops are of %s and %s", r.Hops[0].Transport, r.Hops[1].Transport)
	}
}

// TestDiscardAmongSeveral: what the first way discards goes by none behind it, and nothing is
// discarded because a way before has none now.
func TestDiscardAmongSeveral(t *testing.T) {
	open := fixed{Name: "open", Site: "open:a", Hops: []Hop{{Addresses: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:25")}}}}
	none := NewSmarthosts(Options{})
	for name, c := range map[string]struct {
		list    inOrder
		discard bool
		hops    int
		fails   bool
	}{
		"first":         {inOrder{Discard{"drop"}, open}, true, 0, false},
		"behind":        {inOrder{open, Discard{"drop"}}, false, 1, false},
		"behind no way": {inOrder{none, Discard{"drop"}}, false, 0, true},
		"twice":         {inOrder{Discard{"drop"}, Discard{"drop"}}, true, 0, false},
	} {
		r, err := c.list.Route(t.Context(), Question{})
		if r.Discard != c.discard || len(r.Hops) != c.hops || (err != nil) != c.fails {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
