package lists

import (
	"strings"

	"postern/internal/mail"
)

// patterns are the lines of patterns, in which "*" stands for anything, also for
// nothing. They are found by what is before their first "*" and behind their last:
// a text that fits must begin and end so.
type patterns struct {
	exact map[string]int
	// one are those with one "*", which need no other look; more are the others.
	one  map[ends]int
	more map[ends][]pattern
	// texts are those of more.
	texts map[string]bool
	// lengths are the shapes of the ends that there are, with the most patterns of more
	// that have the same ends of that shape.
	lengths map[shape]int
	steps   int // of a look-up, at most
	size    int
}

// ends are the literal texts at both ends of a pattern.
type ends struct{ first, last string }

// shape is how long ends are.
type shape struct{ first, last int }

// pattern is one with more than one "*".
type pattern struct {
	mail.Pattern
	line, literal int // literal is how much of it is no "*"
}

func newPatterns() *patterns {
	return &patterns{exact: make(map[string]int), one: make(map[ends]int), more: make(map[ends][]pattern), texts: make(map[string]bool), lengths: make(map[shape]int)}
}

func (p *patterns) add(text string, line int) *fault {
	text, wrong := patternOf(text)
	if wrong != nil {
		return wrong
	}
	read := mail.NewPattern(text)
	text = read.String() // two stars are one
	first := strings.IndexByte(text, '*')
	if first < 0 {
		if p.exact[text] == 0 {
			p.size++
		}
		put(p.exact, text, line)
		return nil
	}
	last := strings.LastIndexByte(text, '*')
	e := ends{text[:first], text[last+1:]}
	if first == last {
		return p.addOne(e, line)
	}
	if p.texts[text] {
		return nil
	}
	p.texts[text] = true
	return p.addMore(e, pattern{read, line, len(text) - read.Stars()})
}

func (p *patterns) addOne(e ends, line int) *fault {
	if p.one[e] > 0 {
		return nil
	}
	if wrong := p.reserve(e, 0); wrong != nil {
		return wrong
	}
	p.one[e] = line
	p.size++
	return nil
}

func (p *patterns) addMore(e ends, add pattern) *fault {
	if wrong := p.reserve(e, len(p.more[e])+1); wrong != nil {
		return wrong
	}
	p.more[e] = append(p.more[e], add)
	p.size++
	return nil
}

// reserve notes that there are ends, with so many patterns of more.
func (p *patterns) reserve(e ends, more int) *fault {
	s := shape{len(e.first), len(e.last)}
	most, known := p.lengths[s]
	steps := p.steps + max(0, more-most)
	if !known {
		steps++
	}
	if steps > MaxSteps {
		return faultAt(0, `put the "*" at an end, or make the text before the first or behind the last one longer`,
			"is a pattern too many that must be tried one after the other; %d can", MaxSteps)
	}
	p.steps, p.lengths[s] = steps, max(most, more)
	return nil
}

func (p *patterns) len() int { return p.size }

// found is the best pattern so far: of those that fit, the one that has most that is
// no "*"; then the fewest of these; then the first.
type found struct{ line, literal, stars int }

func (f *found) offer(line, literal, stars int) {
	better := f.line == 0 || literal > f.literal ||
		literal == f.literal && (stars < f.stars || stars == f.stars && line < f.line)
	if better {
		*f = found{line, literal, stars}
	}
}

func (p *patterns) find(q query, steps *int) int {
	*steps++
	if line := p.exact[q.text]; line > 0 {
		return line
	}
	var best found
	for s := range p.lengths {
		*steps++
		if s.first+s.last > len(q.text) {
			continue
		}
		e := ends{q.text[:s.first], q.text[len(q.text)-s.last:]}
		if line := p.one[e]; line > 0 {
			best.offer(line, s.first+s.last, 1)
		}
		for _, other := range p.more[e] {
			*steps++
			if other.Match(q.text) {
				best.offer(other.line, other.literal, other.Stars())
			}
		}
	}
	return best.line
}

// patternOf is a pattern as texts are compared with it (textOf).
func patternOf(text string) (string, *fault) {
	for label := range strings.SplitSeq(text[strings.LastIndexByte(text, '@')+1:], ".") {
		if strings.Contains(text, "@") && strings.Contains(label, "*") && !isASCII(label) {
			return "", faultAt(0, `write the whole label, or a "*" in its place`,
				"%q has a * in a label that is not ASCII: in DNS it has another form", clip(text))
		}
	}
	return textOf(text), nil
}
