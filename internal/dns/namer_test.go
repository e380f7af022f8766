package dns

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestNamer: an address has the name that leads back to it.
func TestNamer(t *testing.T) {
	m := new(Memory)
	ip := netip.MustParseAddr("192.0.2.1")
	m.Set("good.example", netip.MustParseAddr("192.0.2.9"), ip)
	m.Set("forged.example", netip.MustParseAddr("192.0.2.9"))
	m.Set("six.example", netip.MustParseAddr("2001:db8::1"))
	m.SetNames(ip, "zz.example", "good.example", "forged.example")
	m.SetNames(netip.MustParseAddr("192.0.2.2"), "forged.example")
	m.SetNames(netip.MustParseAddr("192.0.2.3"), "not a name", "good.example")
	m.SetNames(netip.MustParseAddr("2001:db8::1"), "six.example")
	m.SetNames(netip.MustParseAddr("127.0.0.1"), "localhost")
	m.Set("localhost", netip.MustParseAddr("127.0.0.1"))
	m.SetNames(netip.MustParseAddr("192.0.2.4"), "a.example", "b.example", "c.example", "four.example")
	m.Set("four.example", netip.MustParseAddr("192.0.2.4"))
	m.Fail(ReverseName(netip.MustParseAddr("192.0.2.5")), errors.Join(ErrTemporary))
	synctest.Test(t, func(t *testing.T) {
		n := NewNamer(NamerOptions{Resolver: func() Resolver { return m }})
		for address, want := range map[string]string{
			"192.0.2.1": "good.example", "::ffff:192.0.2.1": "good.example", "192.0.2.2": "", "192.0.2.3": "", "192.0.2.4": "", "192.0.2.5": "", "192.0.2.99": "",
			"2001:db8::1": "six.example", "127.0.0.1": "",
		} {
			naming := n.Begin(netip.MustParseAddr(address))
			synctest.Wait()
			if got := naming.Name(); got != want {
				t.Errorf("%s is %q, want %q", address, got, want)
			}
		}
		if n.Begin(netip.Addr{}) != nil {
			t.Error("no address is looked up")
		}
		n.Close()
		if n.Begin(ip) != nil {
			t.Error("it is looked up after Close")
		}
	})
}

// deaf never answers.
type deaf struct{ Resolver }

func (deaf) LookupName(ctx context.Context, _ netip.Addr) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestNamerNeverWaits: a resolver that does not answer holds up neither who asks nor
// Close, and only so many look-ups wait for it, for so long.
func TestNamerNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNamer(NamerOptions{Resolver: func() Resolver { return deaf{} }, MaxLookups: 2, Timeout: time.Minute})
		ip := netip.MustParseAddr("192.0.2.1")
		first, second := n.Begin(ip), n.Begin(ip)
		if first == nil || second == nil || n.Begin(ip) != nil {
			t.Error("there are not two at a time")
		}
		if first.Name() != "" {
			t.Error("there is a name")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n.Begin(ip) == nil {
			t.Error("the first two did not end")
		}
		n.Close()
	})
}
