package senders

import "postern/internal/metrics"

// Metrics count what an Inventory forgets.
type Metrics struct {
	sources   *metrics.Gauge
	forgotten *metrics.Counters
}

// Why a source is forgotten, beside by an operator.
const (
	forRoom = "room"
	forAge  = "age"
)

// NewMetrics declares them; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		sources: s.Gauge("postern_senders", "Sources of mail in the inventory of senders."),
		forgotten: s.Counters("postern_senders_forgotten_total", "Sources that the inventory of senders has forgotten: for the room of another that was seen later, or because of their age.",
			metrics.Label{Name: "cause", Values: []string{forRoom, forAge}}),
	}
}
