// Package tlspolicy says what a connection to the next server must have of TLS, and
// decides whether what it has is enough.
//
// A Policy comes of a transport, of the recipient's domain, or of the message; where
// several speak, the strongest holds (Policy.Demand, Policy.Stronger). A Check judges one
// handshake, and says why it is good enough; what is not is a *Failure.
package tlspolicy

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Level is how much a policy demands.
type Level string

// The levels, from the least demand to the most. A pin is more than a good
// certificate: it leaves nothing to any authority.
const (
	None          Level = "none"          // in clear
	Opportunistic Level = "opportunistic" // TLS if the server offers it and it works (RFC 7435)
	Required      Level = "required"      // TLS with anybody
	Verify        Level = "verify"        // TLS with a certificate that is good for the name
	Pin           Level = "pin"           // TLS with a key or certificate that is known
)

// levels are in the order of their strength.
var levels = []Level{None, Opportunistic, Required, Verify, Pin}

// strength is the place of a level among all; an unknown one demands the most.
func (l Level) strength() int {
	if at := slices.Index(levels, l); at >= 0 {
		return at
	}
	return len(levels)
}

// Demands reports whether under the level mail may only go under TLS.
func (l Level) Demands() bool { return l.strength() >= Required.strength() }

// Begin is how TLS begins on a connection.
type Begin string

// The ways in which TLS begins.
const (
	BySTARTTLS Begin = ""         // by STARTTLS, and EHLO again (RFC 3207 4.2)
	Unspoken   Begin = "unspoken" // by STARTTLS, and no EHLO again: what was offered in clear holds
	Implicit   Begin = "implicit" // with the first octet (RFC 8314 3.3)
)

// Policy is what a connection must have. Two that are equal demand the same, so that
// connections under one may carry the mail of the other.
type Policy struct {
	Level Level
	// Source says who demands it, for people: "transport partners, postern.toml:12:3".
	Source string
	// Trust is whose certificates are good, under Verify; nil: those of the authorities
	// that the system trusts.
	Trust Trust
	// Names are those for one of which a certificate must be, under Verify; none: for the
	// host that is connected to.
	Names Names
	// Pins are the keys and certificates, one of which the server must have, under Pin.
	Pins Pins
	// MinVersion is the lowest version of TLS, as in crypto/tls; 0: what the level asks for (see Lowest).
	MinVersion uint16
	// Certificate is shown to servers that ask for one; nil: none.
	Certificate Certificate
	// Begin is how TLS begins.
	Begin Begin

	// trusted is what Trust was when the policy was settled.
	trusted *x509.CertPool
}

// Trust is a list of authorities. It is kept in policies, which are compared.
type Trust interface {
	// Name is what it is called for people.
	Name() string
	// Pool returns it as it is now. What was returned is never changed.
	Pool() *x509.CertPool
}

// Certificate is one that this server shows. It is kept in policies, which are compared.
type Certificate interface {
	// Name is what it is called for people.
	Name() string
	// Certificate returns it as it is now; nil as long as there is none.
	Certificate() *tls.Certificate
}

// Known reports whether the level is one of those above.
func (p Policy) Known() bool { return slices.Contains(levels, p.Level) }

// Demanded reports whether mail may only go under TLS.
func (p Policy) Demanded() bool { return p.Level.Demands() }

// NamesServer reports whether the policy says which server is meant, by its key or its name,
// so that it matters not who has named the host.
func (p Policy) NamesServer() bool { return p.Level == Pin || p.Names != Names{} }

// Authenticates reports whether the server proves who it is.
func (p Policy) Authenticates() bool { return p.Level == Verify || p.Level == Pin }

// Lowest is the lowest version of TLS that will do. Without a demand that is TLS 1.0: the mail
// would else go in clear (RFC 7435 3).
func (p Policy) Lowest() uint16 {
	if p.MinVersion != 0 {
		return p.MinVersion
	}
	if p.Demanded() {
		return tls.VersionTLS12
	}
	return tls.VersionTLS10
}

// String says for people what is demanded, by whom, and what will do.
func (p Policy) String() string {
	s := string(p.Level)
	if p.Source != "" {
		s += " (" + p.Source + ")"
	}
	if p.Level == None {
		return s
	}
	said := []string{tls.VersionName(p.Lowest()) + " or newer"}
	if p.Level == Verify {
		for _, name := range p.Names.each() {
			said = append(said, "for "+name)
		}
		if p.Trust != nil {
			said = append(said, "trusting "+p.Trust.Name())
		}
	}
	if p.Level == Pin {
		said = append(said, fmt.Sprintf("pins: %d", p.Pins.count()))
	}
	if p.Certificate != nil {
		said = append(said, "showing "+p.Certificate.Name())
	}
	if p.Begin == Implicit {
		said = append(said, "from the first octet")
	}
	return s + ": " + strings.Join(said, ", ")
}

// Settled returns the policy with its list of authorities as that is now: connections that
// were verified by what it was before are none of it.
func (p Policy) Settled() Policy {
	if p.Trust != nil {
		p.trusted = p.Trust.Pool()
	}
	return p
}

// roots are the authorities; those of the system are nil.
func (p Policy) roots() *x509.CertPool {
	if p.trusted == nil && p.Trust != nil {
		return p.Trust.Pool()
	}
	return p.trusted
}

// fromMessage is the source of what a message demands.
const fromMessage = "the message"

// Demand returns the policy with what a message demands beyond it.
func (p Policy) Demand(d mail.TLSDemand) Policy {
	switch d {
	case "":
		return p
	case mail.TLSRequired:
		return p.AtLeast(Required, fromMessage)
	default:
		return p.AtLeast(Verify, fromMessage)
	}
}

// AtLeast returns the policy with a level that somebody demands, if it is more.
func (p Policy) AtLeast(level Level, source string) Policy {
	if level.strength() > p.Level.strength() {
		p.Level, p.Source = level, source
	}
	return p
}

// Stronger returns the policy with what another demands of the same server: that of the higher
// level holds, with its authorities, names and pins; of two of one level the other does, with what it
// leaves open as the first has it. The higher of the two versions holds in any case; where it is not that of the
// one whose level holds, the source names it for that. How TLS begins, and what is shown, stays.
func (p Policy) Stronger(other Policy) Policy {
	lowest, weaker := p.higher(other), other.Source
	if other.Level.strength() >= p.Level.strength() {
		weaker = p.Source
		p.Level, p.Source, p.MinVersion = other.Level, other.Source, other.MinVersion
		p.Trust, p.Names, p.Pins = cmp.Or(other.Trust, p.Trust), cmp.Or(other.Names, p.Names), cmp.Or(other.Pins, p.Pins)
	}
	return p.raised(lowest, weaker)
}

// higher is the higher of the lowest versions of two policies; 0 when neither names one.
func (p Policy) higher(other Policy) uint16 {
	if p.MinVersion == 0 && other.MinVersion == 0 {
		return 0
	}
	return max(p.Lowest(), other.Lowest())
}

// Through returns the policy of a server with what another demands that speaks of the servers behind
// it: TLS, a server that is verified as p has it, and the higher of the two versions. Key, names and authorities are of those
// servers alone. Where the other raises the version alone, the source names it for that.
func (p Policy) Through(other Policy) Policy {
	level := other.Level
	if other.Authenticates() {
		level = Verify
	}
	lowest := p.higher(other)
	return p.AtLeast(level, other.Source).raised(lowest, other.Source)
}

// raised returns the policy with the version that another, by its source, may have raised; 0: neither
// names one.
func (p Policy) raised(lowest uint16, source string) Policy {
	if lowest > p.Lowest() && p.Source != source {
		p.Source += "; its version: " + source
	}
	p.MinVersion = lowest
	return p.Settled()
}
