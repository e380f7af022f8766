package pool

import "postern/internal/metrics"

// Metrics count what comes of target servers, of all pools together. Make them once,
// with NewMetrics.
type Metrics struct {
	attempts, sent, connectFailures *metrics.Counter
	probes                          *metrics.Counters
}

// What came of a probe.
const (
	probeAnswered = "answered"
	probeFailed   = "failed"
)

// NewMetrics declares what is counted; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		attempts:        s.Counter("postern_target_attempts_total", "Messages that were sent to target servers of pools, or with which that was tried. One message may count for several servers."),
		sent:            s.Counter("postern_target_sent_total", "Messages that target servers took, for one recipient at least."),
		connectFailures: s.Counter("postern_target_connect_failures_total", "Connections to target servers, for mail, that could not be made or could not be used."),
		probes: s.Counters("postern_target_probes_total", "Probes of target servers that were not known to be usable, by what came of them.",
			metrics.Label{Name: "result", Values: []string{probeAnswered, probeFailed}}),
	}
}

func (m *Metrics) probed(err error) {
	if err == nil {
		m.probes.Add(1, probeAnswered)
	} else {
		m.probes.Add(1, probeFailed)
	}
}
