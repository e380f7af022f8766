package dns

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	compareAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	four        = netip.MustParseAddr("192.0.2.1")
	six         = netip.MustParseAddr("2001:db8::1")
)

func TestMemory(t *testing.T) {
	var m Memory
	m.Set("Relay.example", four, six)
	m.Fail("broken.example", ErrTemporary)
	m.Set("gone.example", four)
	m.Set("gone.example")
	m.Fail("mended.example", ErrTemporary)
	m.Set("mended.example", six)

	for _, c := range []struct {
		host string
		want []netip.Addr
		err  error
	}{
		{host: "relay.EXAMPLE.", want: []netip.Addr{four, six}},
		{host: "mended.example", want: []netip.Addr{six}},
		{host: "broken.example", err: ErrTemporary},
		{host: "gone.example", err: ErrNotFound},
		{host: "never.example", err: ErrNotFound},
	} {
		got, err := m.LookupAddr(t.Context(), c.host)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.host, err, c.err)
		}
		if diff := cmp.Diff(c.want, got, compareAddr); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.host, diff)
		}
	}
}

func TestMemoryContextEnded(t *testing.T) {
	var m Memory
	m.Set("relay.example", four)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.LookupAddr(ctx, "relay.example"); !errors.Is(err, ErrTemporary) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want ErrTemporary and context.Canceled", err)
	}
}
