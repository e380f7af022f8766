package httpauth

import (
	"errors"

	"postern/internal/auth"
	"postern/internal/metrics"
)

// Metrics count questions to services.
type Metrics struct{ questions *metrics.Counters }

// What becomes of a question.
const (
	good   = "right"
	bad    = "wrong"
	failed = "failed"
)

// NewMetrics declares them.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{s.Counters("postern_http_auth_questions_total", "Questions to services whether user and password belong together, by the answer: right; wrong; or failed, when there was none in time, or not one of those that count.",
		metrics.Label{Name: "result", Values: []string{good, bad, failed}})}
}

func (m *Metrics) asked(err error) {
	switch {
	case err == nil:
		m.questions.Add(1, good)
	case errors.Is(err, auth.ErrInvalid):
		m.questions.Add(1, bad)
	default:
		m.questions.Add(1, failed)
	}
}
