package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The numbers of RFC 1035 and RFC 3596 that these tests speak of.
const (
	typeA, typeAAAA             = 1, 28
	noError, servFail, nxDomain = 0, 2, 3
)

// record is what the name server of these tests answers to one question.
type record struct {
	code int
	data []byte // of one record of the type asked for; nil for none
}

// nameServer answers questions on loopback with what ask returns, and
// returns a System that asks nobody else.
func nameServer(t *testing.T, ask func(name string, kind uint16) record) *System {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(conn, ask)
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	s := NewSystem(Options{})
	s.resolver.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}
	return s
}

func serve(conn net.PacketConn, ask func(string, uint16) record) {
	buf := make([]byte, 512)
	for {
		n, peer, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		name, kind, end := question(buf[:n])
		if _, err := conn.WriteTo(reply(buf[:end], kind, ask(name, kind)), peer); err != nil {
			return
		}
	}
}

// question reads the first question of a packet (RFC 1035 4.1.2).
func question(p []byte) (name string, kind uint16, end int) {
	var labels []string
	i := 12
	for p[i] != 0 {
		size := int(p[i])
		labels = append(labels, string(p[i+1:i+1+size]))
		i += 1 + size
	}
	return strings.Join(labels, "."), binary.BigEndian.Uint16(p[i+1:]), i + 5
}

// reply answers the question in p (RFC 1035 4.1.1, 4.1.3).
func reply(p []byte, kind uint16, r record) []byte {
	out := append([]byte(nil), p...)
	binary.BigEndian.PutUint16(out[2:], 0x8180|uint16(r.code)) // a response, recursion available
	copy(out[6:12], make([]byte, 6))
	if r.data == nil {
		return out
	}
	out[7] = 1                       // one answer
	out = append(out, 0xc0, 12)      // its name is that of the question
	out = append(out, 0, byte(kind)) // type
	out = append(out, 0, 1, 0, 0, 0, 60, 0, byte(len(r.data)))
	return append(out, r.data...)
}

func TestSystem(t *testing.T) {
	only4 := record{data: four.AsSlice()}
	only6 := record{data: six.AsSlice()}
	answers := map[string]map[uint16]record{
		"both.test":      {typeA: only4, typeAAAA: only6},
		"four.test":      {typeA: only4, typeAAAA: {code: noError}},
		"six.test":       {typeA: {code: noError}, typeAAAA: only6},
		"six-fails.test": {typeA: only4, typeAAAA: {code: servFail}},
		"unknown.test":   {typeA: {code: nxDomain}, typeAAAA: {code: nxDomain}},
		"empty.test":     {typeA: {code: noError}, typeAAAA: {code: noError}},
		"fails.test":     {typeA: {code: servFail}, typeAAAA: {code: servFail}},
		"perhaps4.test":  {typeA: {code: servFail}, typeAAAA: {code: noError}},
		"perhaps6.test":  {typeA: {code: noError}, typeAAAA: {code: servFail}},
	}
	s := nameServer(t, func(name string, kind uint16) record { return answers[name][kind] })
	for _, c := range []struct {
		host string
		want []netip.Addr
		err  error
	}{
		{host: "both.test", want: []netip.Addr{four, six}},
		{host: "four.test", want: []netip.Addr{four}},
		{host: "six.test", want: []netip.Addr{six}},
		{host: "six-fails.test", want: []netip.Addr{four}},
		{host: "unknown.test", err: ErrNotFound},
		{host: "empty.test", err: ErrNotFound},
		{host: "fails.test", err: ErrTemporary},
		{host: "perhaps4.test", err: ErrTemporary},
		{host: "perhaps6.test", err: ErrTemporary},
	} {
		t.Run(c.host, func(t *testing.T) {
			got, err := s.LookupAddr(t.Context(), c.host)
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, got, compareAddr); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSystemNameIsComplete(t *testing.T) {
	var mu sync.Mutex
	asked := make(map[string]bool)
	s := nameServer(t, func(name string, _ uint16) record {
		mu.Lock()
		defer mu.Unlock()
		asked[name] = true
		return record{code: nxDomain}
	})
	if _, err := s.LookupAddr(t.Context(), "relay.unknown.test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(map[string]bool{"relay.unknown.test": true}, asked); diff != "" {
		t.Errorf("names asked for (-want +got):\n%s", diff)
	}
}

func TestSystemContextEnded(t *testing.T) {
	s := nameServer(t, func(string, uint16) record { return record{data: four.AsSlice()} })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.LookupAddr(ctx, "four.test"); !errors.Is(err, ErrTemporary) {
		t.Errorf("error %v, want ErrTemporary", err)
	}
}
