package blocklist

import (
	"errors"

	"postern/internal/metrics"
)

// Metrics count questions to lists.
type Metrics struct{ questions *metrics.Counters }

// What became of a question.
const (
	answered = "answered"
	refused  = "refused"
	lying    = "lying"
	failed   = "failed"
)

// NewMetrics declares them.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{s.Counters("postern_block_list_questions_total", "Questions to block lists, by what became of them: answered, whether listed or not; refused, by an answer that says so; lying, from a list that lists everybody; or failed, without an answer in time. Lists that are left out are not asked.",
		metrics.Label{Name: "result", Values: []string{answered, refused, lying, failed}})}
}

func (m *Metrics) asked(err error) {
	switch {
	case err == nil:
		m.questions.Add(1, answered)
	case errors.Is(err, errRefuses):
		m.questions.Add(1, refused)
	case errors.Is(err, errLies):
		m.questions.Add(1, lying)
	default:
		m.questions.Add(1, failed)
	}
}
