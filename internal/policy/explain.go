package policy

import (
	"fmt"

	"postern/internal/config"
	"postern/internal/mail"
)

// Explanation tells of every rule that was considered why it was chosen or not. A
// session that has one counts nothing, and logs nothing.
type Explanation struct {
	Considered []Considered
	began      map[config.Command]bool
}

// Considered is one rule at one command, for one recipient at rcpt and data.
type Considered struct {
	At        config.Command `json:"at"`
	Recipient string         `json:"recipient,omitempty"`
	Layer     string         `json:"layer"`
	Rule      string         `json:"rule"`
	Place     string         `json:"place,omitempty"`
	Chosen    bool           `json:"chosen,omitempty"`
	// Why says why it was chosen or not.
	Why string `json:"why"`
	// Condition is the text of its condition, if that was worked out, with the
	// Values of the attributes in it.
	Condition string           `json:"condition,omitempty"`
	Values    []AttributeValue `json:"values,omitempty"`

	rule *rule
}

// AttributeValue is an attribute with its value as text.
type AttributeValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Explain begins a session that is recorded. Unlike Begin it returns one for every
// listener that there is, and nil for others alone.
func (e *Engine) Explain(o mail.Origin) (*Session, *Explanation) {
	rules := e.listeners[o.Listener]
	if rules == nil {
		return nil, nil
	}
	s := e.begin(o, rules)
	s.record = &Explanation{began: make(map[config.Command]bool)}
	return s, s.record
}

// begin notes the rules of a command that are for other listeners.
func (x *Explanation) begin(s *Session, at config.Command) {
	if x == nil || x.began[at] {
		return
	}
	x.began[at] = true
	for _, r := range s.engine.rules {
		if r.at == at && !r.isFor(s.origin.Listener) {
			x.note(s, &candidate{rule: r}, "not for the listener %s", s.origin.Listener)
		}
	}
}

// Unreached returns the rules that were never considered: those of commands that the
// session did not come to, and those of layers behind one that had decided.
func (s *Session) Unreached() []Considered {
	if s == nil || s.record == nil {
		return nil
	}
	told := make(map[*rule]bool)
	for i := range s.record.Considered {
		told[s.record.Considered[i].rule] = true
	}
	var list []Considered
	for _, r := range s.engine.rules {
		why := "the session did not come to " + string(r.at)
		if s.record.began[r.at] {
			why = "not asked: a layer before it had decided"
		}
		if !told[r] {
			list = append(list, Considered{At: r.at, Layer: r.layer.String(), Rule: r.name, Place: r.where(), Why: why})
		}
	}
	return list
}

func (x *Explanation) note(s *Session, c *candidate, format string, args ...any) *Considered {
	n := Considered{At: c.rule.at, Layer: c.rule.layer.String(), Rule: c.rule.name, Place: c.rule.where(), Why: fmt.Sprintf(format, args...), rule: c.rule}
	if !s.to.IsNull() {
		n.Recipient = s.to.String()
	}
	x.Considered = append(x.Considered, n)
	return &x.Considered[len(x.Considered)-1]
}

// The methods below do nothing for a nil Explanation: they are called by the one
// choice that there is.

func (x *Explanation) unlike(s *Session, c *candidate) {
	if x == nil {
		return
	}
	if !c.recipient.match(s.recipientSubject()) {
		x.note(s, c, "the recipient %s is not like %q", s.to.Path(), c.recipient.text)
		return
	}
	x.note(s, c, "the sender %s is not like %q", s.from.Path(), c.sender.text)
}

func (x *Explanation) untrue(s *Session, c *candidate) {
	if x != nil {
		x.note(s, c, "its condition is false").explain(s, c.rule.when)
	}
}

func (x *Explanation) failed(s *Session, c *candidate, err error) {
	if x != nil {
		x.note(s, c, "its condition failed: %v", err).explain(s, c.rule.when)
	}
}

func (x *Explanation) chosen(s *Session, c *candidate) {
	if x == nil {
		return
	}
	n := x.note(s, c, "%s", c.likeness())
	n.Chosen = true
	if c.rule.when != nil {
		n.Why += ", and its condition is true"
		n.explain(s, c.rule.when)
	}
}

// passedOver notes a rule behind the one that was chosen.
func (x *Explanation) passedOver(s *Session, c, chosen *candidate) {
	switch {
	case c.rule == chosen.rule: // with other patterns of its own
	case !s.matches(c):
		x.unlike(s, c)
	case c.recipient.compare(chosen.recipient) != 0 || c.sender.compare(chosen.sender) != 0:
		x.note(s, c, "less specific than %q", chosen.rule.name)
	case c.conditions() != chosen.conditions():
		x.note(s, c, "has no condition, as %q has", chosen.rule.name)
	case c.rule.priority != chosen.rule.priority:
		x.note(s, c, "its priority %d is less than the %d of %q", c.rule.priority, chosen.rule.priority, chosen.rule.name)
	default:
		x.note(s, c, "%q was chosen", chosen.rule.name)
	}
}

// likeness says by which patterns a rule matches.
func (c *candidate) likeness() string {
	if c.recipient.isAny() && c.sender.isAny() {
		return "it is for all"
	}
	return "like " + c.patternText()
}

// explain adds the condition, with the values of its attributes.
func (n *Considered) explain(s *Session, x *expression) {
	n.Condition = x.text
	for _, name := range x.uses {
		value, _ := s.value(name)
		text := printable(fmt.Sprint(value))
		n.Values = append(n.Values, AttributeValue{Name: name, Value: clip(text, 200)})
	}
}
