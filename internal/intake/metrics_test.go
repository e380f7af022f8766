package intake

import (
	"testing"

	"postern/internal/metrics"
	"postern/internal/queue"
)

func TestMetricsOfAMessageCostNothing(t *testing.T) {
	m := NewMetrics(metrics.NewSet())
	e := queue.Entry{Deliveries: []queue.Delivery{{Recipients: make([]queue.Recipient, 3)}}}
	if n := testing.AllocsPerRun(100, func() { m.accepted(&e, 1000) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
