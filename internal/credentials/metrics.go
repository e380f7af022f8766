package credentials

import (
	"errors"

	"postern/internal/metrics"
)

// Metrics count requests for tokens, and what comes of showing credentials.
type Metrics struct{ requests, logins *metrics.Counters }

// What becomes of a request, and of a login.
const (
	had      = "issued"
	taken    = "taken"
	refused  = "refused"
	failed   = "failed"
	withheld = "withheld"
)

// NewMetrics declares them.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{requests: s.Counters("postern_credential_tokens_total", "Requests for tokens by which this server proves to others who it is, by what became of them: issued; refused, so that a person must do something; or failed, when the issuer did not answer as it should, or the key file cannot be used.",
		metrics.Label{Name: "result", Values: []string{had, refused, failed}}),
		logins: s.Counters("postern_credential_logins_total", "Logins of this server at others, by what became of them: taken; refused by the server; failed, when it did not answer or only for now; or withheld, because the server has refused the credential not long ago, so that it was not shown again.",
			metrics.Label{Name: "result", Values: []string{taken, refused, failed, withheld}})}
}

// shown counts what came of showing a credential.
func (m *Metrics) shown(came error) {
	_, no := refusalOf(came)
	switch {
	case came == nil:
		m.logins.Add(1, taken)
	case no:
		m.logins.Add(1, refused)
	default:
		m.logins.Add(1, failed)
	}
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
