// Package tlspolicy says what a connection to the next server must have of TLS, and
// decides whether what it has is enough.
//
// A Policy comes of a transport, of the recipient's domain, or of the message; where
// several speak, the strongest holds (Policy.Demand).
package tlspolicy

import "postern/internal/mail"

// Level is how much a policy demands.
type Level string

// The levels, from the least demand to the most.
const (
	None          Level = "none"          // in clear
	Opportunistic Level = "opportunistic" // TLS if the server offers it and it works (RFC 7435)
	Required      Level = "required"      // TLS with anybody
	Verify        Level = "verify"        // TLS with a certificate that is good for the name
)

// levels are in the order of their strength.
var levels = []Level{None, Opportunistic, Required, Verify}

// strength is the place of a level among all; an unknown one demands the most.
func (l Level) strength() int {
	for i, other := range levels {
		if l == other {
			return i
		}
	}
	return len(levels)
}

// Policy is what a connection must have. Two that are equal demand the same, so that
// connections under one may carry the mail of the other.
type Policy struct {
	Level Level
}

// Demand returns the policy with what a message demands beyond it.
func (p Policy) Demand(d mail.TLSDemand) Policy {
	level := Level("")
	switch d {
	case "":
		return p
	case mail.TLSRequired:
		level = Required
	default:
		level = Verify
	}
	if level.strength() > p.Level.strength() {
		p.Level = level
	}
	return p
}
