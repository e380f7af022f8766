package deliver

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/metrics"
	"postern/internal/route"
)

func TestMetricsOfATransaction(t *testing.T) {
	s := metrics.NewSet()
	m := NewMetrics(s)
	m.byTransport.Keep([]string{"own", "backup"})
	at := netip.MustParseAddrPort("192.0.2.1:25")
	hop := func(transport, host string) route.Hop {
		return route.Hop{Addresses: []netip.AddrPort{at}, Lane: route.Lane{Transport: transport, Host: host}}
	}
	way := &transaction{route: route.Route{Name: "own", Hops: []route.Hop{hop("own", "a.example"), hop("backup", "b.example")}}}
	m.settled(way, &verdict{
		outcomes: []mail.Outcome{{State: mail.Delivered, Host: "a.example", Address: at}, {State: mail.Bounced}, {State: mail.Delivered, Host: "b.example", Address: at}},
		told:     map[dsn.Action][]int{dsn.Failed: {1}},
	})
	const want = `
# HELP postern_reports_total Reports written to senders, by what they tell.
# TYPE postern_reports_total counter
postern_reports_total{action="delayed"} 0
postern_reports_total{action="delivered"} 0
postern_reports_total{action="expanded"} 0
postern_reports_total{action="failed"} 1
postern_reports_total{action="relayed"} 0
`
	if err := testutil.GatherAndCompare(s.Gatherer(), strings.NewReader(want), "postern_reports_total"); err != nil {
		t.Error(err)
	}
	m.settled(&transaction{ways: []string{"backup", "unknown", "own"}}, &verdict{outcomes: []mail.Outcome{{State: mail.Deferred}, {State: mail.Deferred}, {State: mail.Discarded}}})
	const byTransport = `
# HELP postern_transport_recipients_total HELP
# TYPE postern_transport_recipients_total counter
postern_transport_recipients_total{outcome="bounced",transport="backup"} 0
postern_transport_recipients_total{outcome="bounced",transport="own"} 1
postern_transport_recipients_total{outcome="dead",transport="backup"} 0
postern_transport_recipients_total{outcome="dead",transport="own"} 0
postern_transport_recipients_total{outcome="deferred",transport="backup"} 1
postern_transport_recipients_total{outcome="deferred",transport="own"} 0
postern_transport_recipients_total{outcome="delivered",transport="backup"} 1
postern_transport_recipients_total{outcome="delivered",transport="own"} 1
postern_transport_recipients_total{outcome="discarded",transport="backup"} 0
postern_transport_recipients_total{outcome="discarded",transport="own"} 1
postern_transport_recipients_total{outcome="expired",transport="backup"} 0
postern_transport_recipients_total{outcome="expired",transport="own"} 0
postern_transport_recipients_total{outcome="relayed",transport="backup"} 0
postern_transport_recipients_total{outcome="relayed",transport="own"} 0
`
	const outcomes = `
# HELP postern_delivery_recipients_total HELP
# TYPE postern_delivery_recipients_total counter
postern_delivery_recipients_total{outcome="bounced"} 1
postern_delivery_recipients_total{outcome="dead"} 0
postern_delivery_recipients_total{outcome="deferred"} 2
postern_delivery_recipients_total{outcome="delivered"} 2
postern_delivery_recipients_total{outcome="discarded"} 1
postern_delivery_recipients_total{outcome="expired"} 0
postern_delivery_recipients_total{outcome="relayed"} 0
`
	for i, want := range []string{outcomes, byTransport} {
		d := s.Descriptions()[i]
		if err := testutil.GatherAndCompare(s.Gatherer(), strings.NewReader(strings.Replace(want, "HELP\n", d.Help+"\n", 1)), d.Name); err != nil {
			t.Error(err)
		}
	}
}

func TestMetricsOfATransactionCostNothing(t *testing.T) {
	m := NewMetrics(metrics.NewSet())
	m.byTransport.Keep([]string{"own"})
	way := &transaction{route: route.Route{Name: "own"}}
	v := &verdict{outcomes: []mail.Outcome{{State: mail.Delivered}, {State: mail.Deferred}}}
	if n := testing.AllocsPerRun(100, func() { m.settled(way, v); m.attempts.Observe(time.Second); m.transactions.Add(1) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// The scheduler is stalled while it is at one step, and not while it waits.
func TestStalled(t *testing.T) {
	d := New(Options{})
	if got := d.Stalled(); got != 0 {
		t.Errorf("before it begins it is stalled for %s", got)
	}
	d.turned.at.Store(time.Now().Add(-time.Hour).UnixNano())
	if got := d.Stalled(); got < time.Hour {
		t.Errorf("an hour at one step is %s", got)
	}
	d.turned.step()
	if got := d.Stalled(); got >= time.Hour {
		t.Errorf("after the next step it is %s", got)
	}
	d.turned.end()
	if got := d.Stalled(); got != 0 {
		t.Errorf("while it waits it is stalled for %s", got)
	}
}

// TestTransportUses: what each transport has in hand is read by its name; a name that the
// settings have no more goes, and what was counted of the others stays.
func TestTransportUses(t *testing.T) {
	sink := mailtest.NewSink(t)
	counted := metrics.NewSet()
	by := func(transport string, r route.Route) route.Route {
		r.Name, r.Hops[0].Transport = transport, transport
		return r
	}
	h := start(t, routes{"x.example": by("up", to("up", sink.Addr())), "": by("dead", to("dead", refused))}, Options{
		Metrics: NewMetrics(counted), Settings: Settings{TransportNames: []string{"up", "dead", "idle"}, IdleTimeout: time.Hour},
	})
	h.awaitFacts(h.submit("joe@sender.example", "a@x.example"), mail.ReasonDelivered, 1)
	h.bringDown(2 * downAfter)
	await(t, "the connection is kept and the other site is down", func() bool {
		uses := h.TransportUses()
		return len(uses) == 3 && uses["up"] == TransportUse{Connections: 1} && uses["dead"] == TransportUse{Down: 1} && uses["idle"] == TransportUse{}
	})
	next := h.changed(func(s *Settings) { s.TransportNames = []string{"up"} })
	h.Change(next)
	const name = "postern_transport_recipients_total"
	if n, err := testutil.GatherAndCount(counted.Gatherer(), name); n != len(outcomeNames()) || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
	if uses := h.TransportUses(); len(uses) != 1 {
		t.Errorf("in use are %v", uses)
	}
}
