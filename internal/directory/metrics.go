package directory

import (
	"errors"

	"postern/internal/metrics"
)

// Metrics count what a Directory does. What it holds is asked of Counts.
type Metrics struct{ changes *metrics.Counters }

// What becomes of a change.
const (
	changeCommitted = "committed"
	changeWrong     = "wrong"
	changeFailed    = "failed"
)

// NewMetrics declares them.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{s.Counters("postern_directory_changes_total", "Changes of the directory (users, domains, aliases, lists, bans), by what became of that: committed, wrong in themselves, or failed because the database could not.",
		metrics.Label{Name: "result", Values: []string{changeCommitted, changeWrong, changeFailed}})}
}

func (m *Metrics) changed(err error) {
	_, wrongFile := errors.AsType[*ImportProblems](err)
	switch {
	case errors.Is(err, errDryRun):
	case err == nil:
		m.changes.Add(1, changeCommitted)
	case wrongFile, ProblemsOf(err) != nil, errors.Is(err, ErrNotFound):
		m.changes.Add(1, changeWrong)
	default:
		m.changes.Add(1, changeFailed)
	}
}
