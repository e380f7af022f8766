package oidc

import (
	"errors"

	"postern/internal/auth"
	"postern/internal/metrics"
)

// Metrics count tokens, and documents of issuers.
type Metrics struct{ tokens, documents *metrics.Counters }

// What becomes of a token, and of a question for a document.
const (
	tokenGood    = "verified"
	tokenBad     = "refused"
	tokenUnknown = "unverified"

	documentRead   = "read"
	documentFailed = "failed"

	documentDiscovery = "discovery"
	documentKeys      = "keys"
)

// NewMetrics declares them.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		tokens: s.Counters("postern_oidc_tokens_total", "Tokens that clients have shown, by what became of them: verified; refused, because they are no good; or unverified, because the keys of the issuer are not known.",
			metrics.Label{Name: "result", Values: []string{tokenGood, tokenBad, tokenUnknown}}),
		documents: s.Counters("postern_oidc_documents_total", "Questions to issuers for their two documents: discovery says where the keys are, keys has them. One that has failed is asked again; as long as keys are known, tokens are verified with these.",
			metrics.Label{Name: "document", Values: []string{documentDiscovery, documentKeys}}, metrics.Label{Name: "result", Values: []string{documentRead, documentFailed}}),
	}
}

func (m *Metrics) token(err error) {
	switch {
	case err == nil:
		m.tokens.Add(1, tokenGood)
	case errors.Is(err, auth.ErrInvalid):
		m.tokens.Add(1, tokenBad)
	default:
		m.tokens.Add(1, tokenUnknown)
	}
}

func (m *Metrics) document(which string, err error) {
	result := documentRead
	if err != nil {
		result = documentFailed
	}
	m.documents.Add(1, which, result)
}
