package deliver

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/metrics"
)

func TestMetricsOfATransaction(t *testing.T) {
	s := metrics.NewSet()
	m := NewMetrics(s)
	m.settled(&verdict{
		outcomes: []mail.Outcome{{State: mail.Delivered}, {State: mail.Bounced}, {State: mail.Delivered}},
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
	const outcomes = `
# HELP postern_delivery_recipients_total HELP
# TYPE postern_delivery_recipients_total counter
postern_delivery_recipients_total{outcome="bounced"} 1
postern_delivery_recipients_total{outcome="dead"} 0
postern_delivery_recipients_total{outcome="deferred"} 0
postern_delivery_recipients_total{outcome="delivered"} 2
postern_delivery_recipients_total{outcome="expired"} 0
postern_delivery_recipients_total{outcome="relayed"} 0
`
	text := strings.Replace(outcomes, "HELP\n", s.Descriptions()[0].Help+"\n", 1)
	if err := testutil.GatherAndCompare(s.Gatherer(), strings.NewReader(text), "postern_delivery_recipients_total"); err != nil {
		t.Error(err)
	}
}

func TestMetricsOfATransactionCostNothing(t *testing.T) {
	m := NewMetrics(metrics.NewSet())
	v := &verdict{outcomes: []mail.Outcome{{State: mail.Delivered}, {State: mail.Deferred}}}
	if n := testing.AllocsPerRun(100, func() { m.settled(v); m.attempts.Observe(time.Second); m.transactions.Add(1) }); n != 0 {
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
