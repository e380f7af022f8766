package ldap

import (
	"errors"

	"postern/internal/metrics"
)

// Metrics count questions to directories.
type Metrics struct {
	questions *metrics.Counters
	cached    *metrics.Counter
}

// What became of a question.
const (
	answered = "answered"
	refused  = "refused"
	busy     = "busy"
	failed   = "failed"
)

// NewMetrics declares them.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		questions: s.Counters("postern_ldap_questions_total", "Searches and binds at directories that are asked by LDAP, by what became of them: answered; refused, such as a wrong password; busy, because all connections were in use; or failed, because no server answered.",
			metrics.Label{Name: "result", Values: []string{answered, refused, busy, failed}}),
		cached: s.Counter("postern_ldap_remembered_total", "Questions for which no directory was asked, because the answer was remembered."),
	}
}

func (m *Metrics) asked(err error) {
	switch {
	case err == nil:
		m.questions.Add(1, answered)
	case isAnswer(err):
		m.questions.Add(1, refused)
	case errors.Is(err, errBusy):
		m.questions.Add(1, busy)
	default:
		m.questions.Add(1, failed)
	}
}

func (m *Metrics) remembered() { m.cached.Add(1) }
