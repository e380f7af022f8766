package auth

import (
	"postern/internal/metrics"
)

// Metrics are what all authentications of a process count together. Make them once, with
// NewMetrics.
type Metrics struct {
	exchanges *metrics.Counters
	known     *metrics.Counter
	bans      *metrics.Counters
	refused   *metrics.Counter
	delayed   *metrics.Gauge
}

// How an exchange ends.
const (
	resultSuccess   = "success"
	resultInvalid   = "invalid"
	resultBanned    = "banned"
	resultTemporary = "temporary"
	resultMalformed = "malformed"
	resultRefused   = "refused"
)

// NewMetrics declares what is counted; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		exchanges: s.Counters("postern_auth_total",
			"Authentications, by their mechanism and how they ended (invalid: wrong credentials; banned: not looked at, because too many were wrong; temporary: a source did not answer, or too much at a time; refused: by policy).",
			metrics.Label{Name: "mechanism", Values: Mechanisms()},
			metrics.Label{Name: "result", Values: []string{resultSuccess, resultInvalid, resultBanned, resultTemporary, resultMalformed, resultRefused}}),
		known: s.Counter("postern_auth_known_total", "Authentications of accounts from networks from which they succeeded within a week: none of these is delayed, or kept out by a ban."),
		bans: s.Counters("postern_auth_bans_total", "Bans that were set because of wrong passwords, of networks and of accounts (for clients that are not known).",
			metrics.Label{Name: "of", Values: []string{"network", "account"}}),
		refused: s.Counter("postern_auth_refused_clients_total", "Clients that were refused as they connected, because their network is banned."),
		delayed: s.Gauge("postern_auth_delayed", "Clients whose refusal is being delayed."),
	}
}

// banned counts a ban.
func (m *Metrics) banned(subject string) {
	of := "network"
	if isAccount(subject) {
		of = "account"
	}
	m.bans.Add(1, of)
}

// Watch has it read how many passwords a Hasher has verified.
func (h *Hasher) Watch(s *metrics.Set) {
	s.ReadCounter("postern_auth_hashes_total", "Hashes of passwords that were computed; each takes 19 MiB and some 20 ms of a processor.",
		func() float64 { return float64(h.Computed()) })
	s.ReadCounter("postern_auth_verified_again_total", "Passwords that were known to be right, because they were within the hour before: no hash was computed.",
		func() float64 { return float64(h.Known()) })
	s.ReadGauge("postern_auth_hashes_waiting", "Clients that wait for a processor to verify their password.",
		func() float64 { return float64(h.waiting.Load()) })
}
