package mail

import (
	"fmt"
	"unicode/utf8"
)

// Decided is one step of a decision about a client or its mail: which rule,
// where a person wrote it, and what it did. A fact keeps those that led to it,
// in their order, so that it can be told later why something happened.
type Decided struct {
	// Rule is the name of the handler, or of the setting that stands for one.
	Rule string `json:"rule"`
	// Place is where the rule, or its step, stands: "file:line".
	Place string `json:"place,omitempty"`
	// Step is the step as it is written: "reject", "add_header"; empty when the
	// rule was chosen and no step had its turn.
	Step string `json:"step,omitempty"`
	// Effect is what came of it, for people: "550 5.7.1 No mail to ...".
	Effect string `json:"effect"`
}

// String returns the step in one line: "no-yahoo (postern.toml:12), reject: ...".
func (d Decided) String() string {
	s := d.Rule
	if d.Place != "" {
		s += " (" + d.Place + ")"
	}
	if d.Step != "" {
		s += ", " + d.Step
	}
	return s + ": " + d.Effect
}

// Limits of a trail in a fact: steps, and octets of each of their texts.
const (
	MaxTrail     = 50
	maxTrailText = 500
)

// Trail returns the steps as a fact keeps them: of more than MaxTrail the
// first and the last, with a step between them that says how many there were,
// and none of their texts longer than a line or two. It never changes steps.
func Trail(steps []Decided) []Decided {
	if len(steps) == 0 {
		return nil
	}
	kept := make([]Decided, 0, min(len(steps), MaxTrail))
	if left := len(steps) - (MaxTrail - 1); len(steps) > MaxTrail {
		head := MaxTrail / 2
		kept = append(kept, steps[:head]...)
		kept = append(kept, Decided{Rule: "...", Effect: fmt.Sprintf("%d more steps", left)})
		kept = append(kept, steps[head+left:]...)
	} else {
		kept = append(kept, steps...)
	}
	for i := range kept {
		d := &kept[i]
		for _, text := range []*string{&d.Rule, &d.Place, &d.Step, &d.Effect} {
			*text = cut(*text, maxTrailText)
		}
	}
	return kept
}

// cut shortens a text to n octets and a mark, at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
