package journal

import (
	"slices"

	"postern/internal/mail"
)

// ledger knows which facts of which source the journal has. The facts of a
// source stand in the order of their numbers, so that its last number says it
// all, except where lines are damaged.
type ledger struct {
	marks map[string]uint64 // source: number of its last fact
	holes map[string][]hole

	// While a file is read: how many damaged lines there were, and how many
	// of them stood before the last line of each source.
	damage int
	seen   map[string]int
}

// hole is a stretch of numbers, both ends excluded, whose lines may be among
// the damaged. The source may still have those facts: a power cut can tear
// the middle out of a group that was written but not yet synced.
type hole struct{ after, before uint64 }

func newLedger() ledger {
	return ledger{marks: map[string]uint64{}, holes: map[string][]hole{}, seen: map[string]int{}}
}

// add notes a fact.
func (l *ledger) add(source string, n uint64) {
	last := l.marks[source]
	if n <= last {
		l.fill(source, n)
		return
	}
	if l.damage > l.seen[source] && n > last+1 {
		l.holes[source] = append(l.holes[source], hole{after: last, before: n})
	}
	l.marks[source] = n
	l.seen[source] = l.damage
}

// fill narrows the hole that n lies in: the facts of a hole are written again
// in their order.
func (l *ledger) fill(source string, n uint64) {
	holes := l.holes[source]
	for i := range holes {
		if h := &holes[i]; h.after < n && n < h.before {
			h.after = n
		}
	}
	l.holes[source] = slices.DeleteFunc(holes, func(h hole) bool { return h.after+1 >= h.before })
}

// raise sets the marks of a header.
func (l *ledger) raise(marks map[string]uint64) {
	for source, n := range marks {
		l.marks[source] = max(l.marks[source], n)
	}
}

// settle ends the reading of files.
func (l *ledger) settle() {
	l.damage = 0
	clear(l.seen)
}

// has reports whether the journal has a fact.
func (l *ledger) has(source string, n uint64) bool {
	inHole := slices.ContainsFunc(l.holes[source], func(h hole) bool { return h.after < n && n < h.before })
	return n <= l.marks[source] && !inHole
}

// missing returns those of the facts that the journal does not have.
func (l *ledger) missing(facts []mail.Fact) []mail.Fact {
	first := slices.IndexFunc(facts, func(f mail.Fact) bool { return l.has(f.Source, f.N) })
	if first < 0 {
		return facts // as nearly always
	}
	return slices.DeleteFunc(slices.Clone(facts), func(f mail.Fact) bool { return l.has(f.Source, f.N) })
}

// complete returns the number up to which the journal has every fact of a
// source.
func (l *ledger) complete(source string) uint64 {
	if holes := l.holes[source]; len(holes) > 0 {
		return holes[0].after
	}
	return l.marks[source]
}
