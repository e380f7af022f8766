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

func TestMemoryMX(t *testing.T) {
	var m Memory
	m.SetMX("Mail.example", MX{"mx.example", 10})
	m.Set("mx.example", four)
	m.SetMX("gone.example", MX{"mx.example", 10})
	m.SetMX("gone.example")
	m.Fail("lost.example", ErrNoName)
	got, err := m.LookupMX(t.Context(), "mail.EXAMPLE.")
	if diff := cmp.Diff([]MX{{"mx.example", 10}}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, want := range map[string]error{"mx.example": ErrNotFound, "gone.example": ErrNoName, "lost.example": ErrNoName} {
		_, err := m.LookupMX(t.Context(), name)
		if !errors.Is(err, want) || want == ErrNotFound && errors.Is(err, ErrNoName) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, err := m.LookupAddr(t.Context(), "mail.example"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoName) {
		t.Errorf("the addresses of a name with exchangers: %v", err)
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

// TestMemoryAsClient: it answers for A and TXT records as Client does.
func TestMemoryAsClient(t *testing.T) {
	var m Memory
	m.Set("a.test", netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("127.0.0.2"))
	m.Set("six.test", netip.MustParseAddr("2001:db8::1"))
	m.SetText("a.test", "said")
	if ips, err := m.LookupIPv4(t.Context(), "A.test."); err != nil || len(ips) != 1 || !ips[0].Is4() {
		t.Errorf("%v, %v", ips, err)
	}
	if texts, err := m.LookupText(t.Context(), "a.test"); err != nil || len(texts) != 1 || texts[0] != "said" {
		t.Errorf("%v, %v", texts, err)
	}
	for name, want := range map[string]error{"six.test": ErrNotFound, "no.test": ErrNoName} {
		if _, err := m.LookupIPv4(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := m.LookupText(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("text of %s: %v", name, err)
		}
	}
}
