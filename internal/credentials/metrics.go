package credentials

import (
	"errors"

	"postern/internal/metrics"
)

// Metrics count requests for tokens.
type Metrics struct{ requests *metrics.Counters }

// What becomes of a request.
const (
	had     = "issued"
	refused = "refused"
	failed  = "failed"
)

// NewMetrics declares them.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{s.Counters("postern_credential_tokens_total", "Requests for tokens by which this server proves to others who it is, by what became of them: issued; refused, so that a person must do something; or failed, when the issuer did not answer as it should, or the key file cannot be used.",
		metrics.Label{Name: "result", Values: []string{had, refused, failed}})}
}

func (m *Metrics) asked(err error) {
	no, is := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		m.requests.Add(1, had)
	case is && no.final():
		m.requests.Add(1, refused)
	default:
		m.requests.Add(1, failed)
	}
}
