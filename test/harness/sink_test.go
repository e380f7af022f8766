package harness

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSinkAtManyAddresses: a sink tells its addresses apart, is told of each
// reply, and leaves some clients without a word until they go.
func TestSinkAtManyAddresses(t *testing.T) {
	first, second, silent := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	var mu sync.Mutex
	var verbs []string
	at := map[string]netip.Addr{}
	sink := &Sink{
		Connect: func(at netip.Addr) bool { return at != silent },
		Reply: func(_ netip.Addr, verb string) {
			mu.Lock()
			defer mu.Unlock()
			verbs = append(verbs, verb)
		},
		Take: func(a *Arrival) string {
			mu.Lock()
			defer mu.Unlock()
			at[IDOf(a.Content)] = a.At
			return ""
		},
	}
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := func(a netip.Addr) string { return netip.AddrPortFrom(a, uint16(port)).String() }
	if err := sink.ListenAt(addr(first), addr(second), addr(silent)); err != nil {
		t.Fatal(err)
	}
	unheard, err := net.Dial("tcp", addr(silent))
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []netip.Addr{first, second} {
		messages := []*Message{message(address.String(), "text\r\n"), nil}
		source := Source{Addr: addr(address), Sessions: 1, Keep: true, Next: func() *Message {
			m := messages[0]
			messages = messages[1:]
			return m
		}}
		if err := source.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	unheard.Close()
	if err := sink.Close(); err != nil { // it waits for all of them
		t.Fatal(err)
	}
	if at[first.String()] != first || at[second.String()] != second {
		t.Errorf("arrived at %v", at)
	}
	one := []string{"", "EHLO", "MAIL", "RCPT", "DATA", ".", "QUIT"}
	if diff := cmp.Diff(slices.Concat(one, one), verbs); diff != "" {
		t.Error(diff)
	}
}

// TestSinkThatCannotListen: at one of its addresses another is already, so it
// is at none.
func TestSinkThatCannotListen(t *testing.T) {
	other := listen(t)
	port := netip.MustParseAddrPort(other.Addr()).Port()
	free := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port).String()
	if err := new(Sink).ListenAt(free, other.Addr()); err == nil {
		t.Fatal("two listen at one address")
	}
	l, err := net.Listen("tcp", free)
	if err != nil {
		t.Fatalf("it still listens: %v", err)
	}
	l.Close()
}
