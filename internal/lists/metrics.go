package lists

import "postern/internal/metrics"

// Metrics count what became of files that changed.
type Metrics struct{ reads *metrics.Counters }

// What becomes of a file.
const (
	readInForce = "in-force"
	readWrong   = "wrong"
)

// NewMetrics declares them.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{s.Counters("postern_list_changes_total", "Files of lists that were found changed, by what became of that: their entries are in force, or the file is wrong and its entries of before stay in force.",
		metrics.Label{Name: "result", Values: []string{readInForce, readWrong}})}
}

func (m *Metrics) read(err error) {
	if err != nil {
		m.reads.Add(1, readWrong)
		return
	}
	m.reads.Add(1, readInForce)
}
