package route

import (
	"postern/internal/mail"
)

// Explanation is where a recipient goes, and why.
type Explanation struct {
	Destination mail.Destination `json:"destination"`
	// Route is the explicit route that was taken, and At where it says so: in the
	// configuration, or in its map. Empty for none.
	Route string     `json:"route,omitempty"`
	At    mail.Place `json:"at,omitzero"`
	// NeverBypass says that there is no other way.
	NeverBypass bool `json:"never_bypass,omitempty"`
	// Why says it in words.
	Why string `json:"why"`
	// Passed are the routes before it, which are not for the recipient.
	Passed []Passed `json:"passed,omitempty"`
}

// Explain returns what Choose does, and why.
func (t *Table) Explain(r mail.Routing, at mail.Destination) Explanation {
	var e Explanation
	to, by := t.choose(&r, at, func(p Passed) { e.Passed = append(e.Passed, p) })
	e.Destination = to
	switch {
	case by.rule != nil:
		e.Route, e.At, e.NeverBypass = by.rule.name, by.at, by.rule.neverBypass
		e.Why = "the route " + by.rule.name
		if by.rule.neverBypass {
			e.Why += ", which is never gone round"
		}
	case by.user != "":
		e.Why = "the own route of the user " + by.user
	case by.stays:
		e.Why = "chosen by policy or a person"
	default:
		e.Why = t.why(r.From, to)
	}
	return e
}

// why says where the general way leads.
func (t *Table) why(sender mail.Address, to mail.Destination) string {
	g, is := t.options.Otherwise.(*General)
	if !is {
		return "there is no other way"
	}
	s, err := g.step(sender, to.Domain())
	if err != nil {
		return "nowhere: the domain is one of this server, and no route is for the address"
	}
	return s.why
}

// Bound says why a recipient may not be sent to a destination: the first route that is for it
// must never be gone round, and leads elsewhere. It is "" for any other.
func (t *Table) Bound(r mail.Routing, to mail.Destination) string {
	if !to.Chosen(r.To) { // it is left to the routes
		return ""
	}
	at, by := t.choose(&r, to, nil)
	if by.rule == nil || !by.rule.neverBypass || at.Via(at.Route().Way()) == to.Via(to.Route().Way()) {
		return ""
	}
	return "the route " + by.rule.name + " (" + by.at.String() + ") has never_bypass, and leads to " + string(at.Route().Way())
}
