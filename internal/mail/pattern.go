package mail

import "strings"

// Like reports whether a text has the form of a pattern, as NewPattern has it;
// upper and lower case are the same.
func Like(pattern, text string) bool {
	return NewPattern(pattern).Match(strings.ToLower(text))
}

// Pattern is a text in which "*" stands for anything, also for nothing. Upper and
// lower case are the same.
type Pattern struct {
	parts []string // what stands between the stars, in lower case
}

// NewPattern reads a pattern; every text is one.
func NewPattern(text string) Pattern {
	parts := strings.Split(strings.ToLower(text), "*")
	kept := parts[:1]
	for i := 1; i < len(parts); i++ { // two stars are one
		if parts[i] != "" || i == len(parts)-1 {
			kept = append(kept, parts[i])
		}
	}
	return Pattern{parts: kept}
}

// String returns the pattern in lower case.
func (p Pattern) String() string { return strings.Join(p.parts, "*") }

// Exact reports whether the pattern has no star.
func (p Pattern) Exact() bool { return len(p.parts) == 1 }

// Stars returns how many stars there are.
func (p Pattern) Stars() int { return len(p.parts) - 1 }

// Match reports whether a text, which is in lower case, has the form of the pattern.
// It takes time in proportion to both lengths at most, and allocates nothing.
func (p Pattern) Match(text string) bool {
	if p.Exact() {
		return p.parts[0] == text
	}
	first, last := p.parts[0], p.parts[len(p.parts)-1]
	text, begins := strings.CutPrefix(text, first)
	if !begins {
		return false
	}
	for _, part := range p.parts[1 : len(p.parts)-1] {
		_, behind, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = behind
	}
	return strings.HasSuffix(text, last)
}

// Meets reports whether there is a text that has the form of both patterns.
func (p Pattern) Meets(q Pattern) bool {
	a, b := []rune(p.String()), []rune(q.String())
	// meets[j] says whether the rest of a, from the character at hand, and that of
	// b from j have a text in common.
	next, meets := make([]bool, len(b)+1), make([]bool, len(b)+1)
	for i := len(a); i >= 0; i-- {
		for j := len(b); j >= 0; j-- {
			starA, starB := i < len(a) && a[i] == '*', j < len(b) && b[j] == '*'
			switch {
			case i == len(a) && j == len(b):
				meets[j] = true
			case starA && starB:
				meets[j] = next[j] || meets[j+1]
			case starA: // nothing, or the next character of b
				meets[j] = next[j] || j < len(b) && meets[j+1]
			case starB:
				meets[j] = meets[j+1] || i < len(a) && next[j]
			default:
				meets[j] = i < len(a) && j < len(b) && a[i] == b[j] && next[j+1]
			}
		}
		next, meets = meets, next
	}
	return next[0]
}
