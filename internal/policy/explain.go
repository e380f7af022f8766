package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
)

// Explanation tells of every rule that was considered why it was chosen or not, and
// what it did. A session that has one counts nothing, and logs nothing.
type Explanation struct {
	// Considered are all of them so far, in their order.
	Considered []Considered
	// Recipients are those of the last message that was accepted at data, with what
	// becomes of each; nil before.
	Recipients []Addressee

	engine   *Engine
	listener string
	told     int // of Considered: those that Command has returned
	since    int // of Considered: where the command at hand began
	began    map[config.Command]bool
	about    []string // the recipients at hand: one at rcpt, all at data
}

// Considered is one rule at one command, for one recipient at rcpt and data.
type Considered struct {
	At        config.Command `json:"at"`
	Recipient string         `json:"recipient,omitempty"`
	Layer     string         `json:"layer"`
	Rule      string         `json:"rule"`
	Place     string         `json:"place,omitempty"`
	// Handler is what a person would write for a setting that stands for a handler.
	Handler string `json:"handler,omitempty"`
	Chosen  bool   `json:"chosen,omitempty"`
	// Why says why it was chosen or not.
	Why string `json:"why"`
	// Elsewhere says that it is for other listeners.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Condition is the text of its condition, if that was worked out, with the
	// Values of the attributes in it.
	Condition string           `json:"condition,omitempty"`
	Values    []AttributeValue `json:"values,omitempty"`
	// Steps are those that it has taken, and Verdict is "reject" or "defer" when it
	// has refused; one that failed has both, too.
	Steps   []mail.Decided `json:"steps,omitempty"`
	Verdict string         `json:"verdict,omitempty"`

	rule           *rule
	failed, unlike bool // in its condition; its patterns
}

// AttributeValue is an attribute with its value as text.
type AttributeValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Explain begins a session that is recorded. The session is nil where that of Begin
// is; there is an Explanation in any case, if only of rules that are for others.
func (e *Engine) Explain(o mail.Origin) (*Session, *Explanation) {
	x := &Explanation{engine: e, listener: o.Listener, began: make(map[config.Command]bool)}
	s := e.Begin(o)
	if s != nil {
		s.record = x
	}
	return s, x
}

// begin begins a command about some recipients, and notes the rules that are for
// other listeners.
func (x *Explanation) begin(at config.Command, about ...mail.Address) {
	if x == nil {
		return
	}
	x.since, x.about = len(x.Considered), nil
	for _, a := range about {
		x.about = append(x.about, a.String())
	}
	x.elsewhere(at)
}

// elsewhere notes the rules of a command that are for other listeners, once.
func (x *Explanation) elsewhere(at config.Command) {
	if x.began[at] {
		return
	}
	x.began[at] = true
	for _, r := range x.engine.rules {
		if r.at == at && !r.isFor(x.listener) {
			x.add(r, "", "not for the listener "+x.listener).Elsewhere = true
		}
	}
}

// Command returns what was considered since it was called last, at a command that is
// over: each rule once for each recipient, also one with many patterns. Of rules that
// were not asked it says so.
func (x *Explanation) Command(at config.Command) []Considered {
	x.elsewhere(at)
	about := x.about
	if len(about) == 0 {
		about = []string{""}
	}
	for _, to := range about {
		for _, r := range x.engine.rules {
			if r.at == at && r.isFor(x.listener) && !x.has(r, to) {
				x.add(r, to, "not asked: it was decided before")
			}
		}
	}
	list := merged(x.Considered[x.told:])
	x.told, x.since, x.about = len(x.Considered), len(x.Considered), nil
	return list
}

// merged returns a list in which a rule with several patterns stands once for each
// recipient: with the pattern by which it was chosen, or got furthest.
func merged(list []Considered) []Considered {
	type key struct {
		rule *rule
		to   string
	}
	at := make(map[key]int)
	var short []Considered
	for _, n := range list {
		i, again := at[key{n.rule, n.Recipient}]
		switch {
		case !again:
			at[key{n.rule, n.Recipient}] = len(short)
			short = append(short, n)
		case short[i].Chosen || short[i].failed || short[i].Condition != "":
		case n.unlike && short[i].unlike:
			short[i].Why = "like none of its patterns"
		case !n.unlike:
			short[i] = n
		}
	}
	return short
}

// has reports whether a rule was considered at this command, for a recipient.
func (x *Explanation) has(r *rule, to string) bool {
	return slices.ContainsFunc(x.Considered[x.since:], func(n Considered) bool {
		return n.rule == r && (n.Recipient == to || n.Recipient == "")
	})
}

// Unreached returns the rules of commands that the session did not come to.
func (x *Explanation) Unreached() []Considered {
	var list []Considered
	for _, r := range x.engine.rules {
		if x.began[r.at] {
			continue
		}
		c := considered(r, "the session did not come to "+string(r.at))
		if !r.isFor(x.listener) {
			c.Why, c.Elsewhere = "not for the listener "+x.listener, true
		}
		list = append(list, c)
	}
	return list
}

func considered(r *rule, why string) Considered {
	return Considered{At: r.at, Layer: r.layer.String(), Rule: r.name, Place: r.where(), Handler: r.written, Why: why, rule: r}
}

// written is the handler as a person could write it, on one line.
func (d *draft) written() string {
	parts := []string{"at = " + strconv.Quote(string(d.At))}
	for _, side := range []struct {
		key   string
		texts []config.Text
	}{{"listeners", d.Listeners}, {"sender", d.Sender}, {"recipient", d.Recipient}} {
		if len(side.texts) > 0 {
			parts = append(parts, side.key+" = "+quoted(side.texts))
		}
	}
	if d.When.Text != "" {
		parts = append(parts, "when = '"+d.When.Text+"'")
	}
	steps := make([]string, len(d.Steps))
	for i := range d.Steps {
		steps[i] = d.Steps[i].String()
	}
	return strings.Join(append(parts, "steps = ["+strings.Join(steps, ", ")+"]"), "; ")
}

func quoted(texts []config.Text) string {
	list := make([]string, len(texts))
	for i, t := range texts {
		list[i] = strconv.Quote(t.Text)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// add notes a rule, for a recipient unless that is empty.
func (x *Explanation) add(r *rule, to, why string) *Considered {
	n := considered(r, why)
	n.Recipient = to
	x.Considered = append(x.Considered, n)
	return &x.Considered[len(x.Considered)-1]
}

// beginData begins data with all recipients.
func (x *Explanation) beginData(to []Addressee) {
	if x == nil {
		return
	}
	about := make([]mail.Address, len(to))
	for i := range to {
		about[i] = to[i].Recipient.Address
	}
	x.begin(config.AtData, about...)
}

// disposed notes what becomes of the recipients of a message that is accepted.
func (x *Explanation) disposed(to []Addressee) {
	if x != nil {
		x.Recipients = to
	}
}

// took notes a step that a rule has taken, for all for whom it was chosen.
func (x *Explanation) took(r *rule, step mail.Decided) {
	x.each(r, func(n *Considered) { n.Steps = append(n.Steps, step) })
}

// refused notes that a rule has refused.
func (x *Explanation) refused(r *rule, v Verdict) {
	x.each(r, func(n *Considered) { n.Verdict = v.String() })
}

// each calls f for a rule that was chosen at the command at hand, or failed.
func (x *Explanation) each(r *rule, f func(*Considered)) {
	if x == nil {
		return
	}
	for i := x.since; i < len(x.Considered); i++ {
		if n := &x.Considered[i]; n.rule == r && (n.Chosen || n.failed) {
			f(n)
		}
	}
}

func (x *Explanation) note(s *Session, c *candidate, format string, args ...any) *Considered {
	to := ""
	if !s.to.IsNull() {
		to = s.to.String()
	}
	return x.add(c.rule, to, fmt.Sprintf(format, args...))
}

// The methods below do nothing for a nil Explanation: they are called by the one
// choice that there is.

func (x *Explanation) unlike(s *Session, c *candidate) {
	if x == nil {
		return
	}
	if !c.recipient.match(s.recipientSubject()) {
		x.note(s, c, "the recipient %s is not like %q", s.to.Path(), c.recipient.text).unlike = true
		return
	}
	x.note(s, c, "the sender %s is not like %q", s.from.Path(), c.sender.text).unlike = true
}

func (x *Explanation) untrue(s *Session, c *candidate) {
	if x != nil {
		x.note(s, c, "its condition is false").explain(s, c.rule.when)
	}
}

func (x *Explanation) failed(s *Session, c *candidate, err error) {
	if x == nil {
		return
	}
	n := x.note(s, c, "its condition failed: %v", err)
	n.failed = true
	n.explain(s, c.rule.when)
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
