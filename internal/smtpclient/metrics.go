package smtpclient

import "postern/internal/metrics"

// Metrics are what all connections of a process count together. Make them once,
// with NewMetrics.
type Metrics struct {
	open  *metrics.Gauge
	dials *metrics.Counters
}

// The results of an attempt to connect.
const (
	made   = "made"
	failed = "failed"
)

// NewMetrics declares what is counted; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		open: s.Gauge("postern_outgoing_connections", "Connections to the next servers that are open, those included that wait for the next message."),
		dials: s.Counters("postern_outgoing_connects_total",
			"Attempts to connect to a next server, by their result. One that failed came to no connection, or to one over which the server took no mail: a refusing greeting, TLS, a password.",
			metrics.Label{Name: "result", Values: []string{made, failed}}),
	}
}

// count counts the connection among those that are open, or no longer.
func (c *Conn) count(open bool) {
	if c.counted == open {
		return
	}
	c.counted = open
	if open {
		c.options.Metrics.open.Add(1)
	} else {
		c.options.Metrics.open.Add(-1)
	}
}
