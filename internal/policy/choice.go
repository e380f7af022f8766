package policy

import (
	"cmp"
	"fmt"

	"postern/internal/config"
)

// candidate is a rule with one pair of its patterns: a rule is as specific as the
// pair by which it matches.
type candidate struct {
	rule              *rule
	sender, recipient *pattern
}

func (r *rule) candidates() []candidate {
	list := make([]candidate, 0, len(r.senders)*len(r.recipients))
	for i := range r.recipients {
		for j := range r.senders {
			list = append(list, candidate{rule: r, sender: &r.senders[j], recipient: &r.recipients[i]})
		}
	}
	return list
}

// compareCandidates is the order in which rules are considered: recipient before
// sender, the more specific first; then those with a condition; then by priority.
func compareCandidates(a, b candidate) int {
	return cmp.Or(
		a.recipient.compare(b.recipient),
		a.sender.compare(b.sender),
		cmp.Compare(a.conditions(), b.conditions()),
		cmp.Compare(b.rule.priority, a.rule.priority),
	)
}

// conditions is 0 with a condition and 1 without, as they are to be sorted.
func (c *candidate) conditions() int {
	if c.rule.when != nil {
		return 0
	}
	return 1
}

// ties refuses rules of which either could be chosen: alike in all that decides, for
// one listener, and with patterns that one address may match. The list is sorted.
func ties(list []candidate) []config.Problem {
	var problems []config.Problem
	reported := make(map[[2]*rule]bool)
	for i := range list {
		a := &list[i]
		for j := i + 1; j < len(list) && compareCandidates(*a, list[j]) == 0; j++ {
			b := &list[j]
			pair := [2]*rule{a.rule, b.rule}
			if a.rule == b.rule || reported[pair] || reported[[2]*rule{b.rule, a.rule}] || !a.meets(b) {
				continue
			}
			reported[pair] = true
			problems = append(problems, tie(a, b))
		}
	}
	return problems
}

// meets reports whether both can match the same mail at one listener.
func (c *candidate) meets(d *candidate) bool {
	return c.rule.sharesListener(d.rule) && c.recipient.meets(d.recipient) && c.sender.meets(d.sender)
}

func (r *rule) sharesListener(o *rule) bool {
	if len(r.listeners) == 0 || len(o.listeners) == 0 {
		return true
	}
	for _, name := range r.listeners {
		if o.isFor(name) {
			return true
		}
	}
	return false
}

// tie names both rules, at the place of the later one.
func tie(a, b *candidate) config.Problem {
	if b.rule.place.File == a.rule.place.File && b.rule.place.Line < a.rule.place.Line {
		a, b = b, a
	}
	what := "both are for everybody"
	if !a.recipient.isAny() || !a.sender.isAny() || !b.recipient.isAny() || !b.sender.isAny() {
		what = fmt.Sprintf("%s and %s can match the same mail, and neither is more specific", b.patternText(), a.patternText())
	}
	if a.rule.when != nil {
		what += "; both have a condition"
	}
	return config.Problem{Place: b.rule.place, Key: "handler",
		Message: fmt.Sprintf("%q is a tie with %q at %s: %s", b.rule.name, a.rule.name, a.rule.place, what),
		Hint:    "give one of them another priority, or make its patterns more specific",
	}
}

func (c *candidate) patternText() string {
	switch {
	case c.recipient.isAny():
		return fmt.Sprintf("sender %q", c.sender.text)
	case c.sender.isAny():
		return fmt.Sprintf("recipient %q", c.recipient.text)
	}
	return fmt.Sprintf("recipient %q with sender %q", c.recipient.text, c.sender.text)
}

// choose returns the rule of a layer that is for what the session has at hand: the
// first whose patterns match and whose condition is true. It returns nil for none. An
// error is that of a condition, of the rule that it returns.
func (s *Session) choose(l *layerRules) (*rule, error) {
	var chosen *candidate
	for i := range l.candidates {
		c := &l.candidates[i]
		if chosen != nil {
			s.record.passedOver(s, c, chosen)
			continue
		}
		if !s.matches(c) {
			s.record.unlike(s, c)
			continue
		}
		is, err := s.holds(c.rule)
		switch {
		case err != nil:
			s.record.failed(s, c, err)
			return c.rule, err
		case !is:
			s.record.untrue(s, c)
			continue
		}
		s.record.chosen(s, c)
		if s.record == nil {
			return c.rule, nil
		}
		chosen = c
	}
	if chosen == nil {
		return nil, nil
	}
	return chosen.rule, nil
}

// matches compares sender and recipient with the patterns.
func (s *Session) matches(c *candidate) bool {
	if !c.recipient.isAny() && !c.recipient.match(s.recipientSubject()) {
		return false
	}
	return c.sender.isAny() || c.sender.match(s.senderSubject())
}

// truth is what is known of a condition at a command.
type truth uint8

const (
	unknown truth = iota
	holdsTrue
	holdsFalse
)

// holds works the condition of a rule out, once at a command.
func (s *Session) holds(r *rule) (bool, error) {
	if r.when == nil {
		return true, nil
	}
	if s.known == nil {
		s.known = make([]truth, len(s.engine.rules))
	}
	if t := s.known[r.index]; t != unknown {
		return t == holdsTrue, nil
	}
	is, err := r.when.holds(s)
	if err != nil {
		return false, err
	}
	s.known[r.index] = holdsFalse
	if is {
		s.known[r.index] = holdsTrue
	}
	return is, nil
}
