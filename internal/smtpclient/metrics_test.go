package smtpclient

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/mailtest"
	"postern/internal/metrics"
)

// TestMetricsOfConnections: each counts once, however it ends.
func TestMetricsOfConnections(t *testing.T) {
	set := metrics.NewSet()
	o := Options{Metrics: NewMetrics(set)}
	sink := mailtest.NewSink(t)
	dial := func() *Conn {
		t.Helper()
		conn, err := Dial(t.Context(), "mx.example", sink.Addr(), o)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	closed, dropped, open := dial(), dial(), dial()
	defer open.Close()
	closed.Close()
	closed.Close()
	dropped.drop()
	dropped.drop()
	dropped.Close()
	if _, err := Dial(t.Context(), "mx.example", unused(t), o); err == nil {
		t.Error("somebody answers where nobody should")
	}
	const want = `
# HELP postern_outgoing_connections Connections to the next servers that are open, those included that wait for the next message.
# TYPE postern_outgoing_connections gauge
postern_outgoing_connections 1
`
	if err := testutil.GatherAndCompare(set.Gatherer(), strings.NewReader(want), "postern_outgoing_connections"); err != nil {
		t.Error(err)
	}
	for result, want := range map[string]float64{made: 3, failed: 1} {
		if got := counted(t, set, result); got != want {
			t.Errorf("%v connects are %s, want %v", got, result, want)
		}
	}
}

// unused is an address at which nobody answers.
func unused(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// counted is how many attempts to connect had that result.
func counted(t *testing.T, set *metrics.Set, result string) float64 {
	t.Helper()
	families, err := set.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "postern_outgoing_connects_total" && m.GetLabel()[0].GetValue() == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}
