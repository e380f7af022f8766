package policy

import (
	"postern/internal/config"
	"postern/internal/metrics"
)

// Metrics count what is decided by all engines of a process. Make them once, with
// NewMetrics.
type Metrics struct{ decisions *metrics.Counters }

// The outcomes that no verdict is.
const (
	outcomeDiscard = "discard"
	outcomeFailed  = "failed"
)

// NewMetrics declares what is counted; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	var commands, names []string
	for _, at := range config.Commands {
		commands = append(commands, string(at))
	}
	for _, l := range layers {
		names = append(names, l.String())
	}
	return &Metrics{s.Counters("postern_policy_decisions_total",
		"Rules of policy that were chosen, by the command, the layer, and what they decided. What they accepted later layers may still have refused. Under `failed` a rule could not be worked out, and the client was told to come back later: the log says why.",
		metrics.Label{Name: "at", Values: commands},
		metrics.Label{Name: "layer", Values: names},
		metrics.Label{Name: "verdict", Values: []string{Accept.String(), Reject.String(), Defer.String(), outcomeDiscard, outcomeFailed}})}
}

// decided counts what a rule has decided. next says that later layers are asked.
func (m *Metrics) decided(r *rule, v Verdict, next bool) {
	outcome := v.String()
	if v == Accept && !next {
		outcome = outcomeDiscard
	}
	m.decisions.Add(1, string(r.at), r.layer.String(), outcome)
}

// failed counts a rule that could not be worked out.
func (m *Metrics) failed(r *rule) {
	m.decisions.Add(1, string(r.at), r.layer.String(), outcomeFailed)
}
