package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/test/harness"
)

// story is what the journal tells of one queue entry.
type story struct {
	id       string // of ours; "" for a report
	accepted int
	from     string
	to       []string
	final    map[string][]mail.Reason // by recipient
}

// bare takes the brackets off a path.
func bare(path string) string { return strings.TrimSuffix(strings.TrimPrefix(path, "<"), ">") }

// stories gathers the facts by entry.
func stories(facts []mail.Fact) map[mail.ID]*story {
	all := map[mail.ID]*story{}
	for _, f := range facts {
		if f.Message == "" {
			continue
		}
		s := all[f.Message]
		if s == nil {
			s = &story{final: map[string][]mail.Reason{}}
			all[f.Message] = s
		}
		if f.Reason == mail.ReasonAccepted {
			s.accepted++
			s.id = harness.IDOf([]byte("\nMessage-ID: " + f.MessageID))
			s.from, s.to = bare(f.From), f.To
		}
		if mail.State(f.Reason).Final() {
			for _, to := range f.To {
				s.final[bare(to)] = append(s.final[bare(to)], f.Reason)
			}
		}
	}
	return all
}

// join adds another entry of the same message: a variant, or a copy.
func (s *story) join(other *story) (faults []string) {
	for _, to := range other.to {
		if slices.Contains(s.to, to) {
			faults = append(faults, fmt.Sprintf("%s is two entries in the queue for %s", s.id, to))
		}
	}
	s.to = append(s.to, other.to...)
	maps.Copy(s.final, other.final)
	return faults
}

// duplicates counts the copies that had come in an earlier life.
func (l *load) duplicates() int {
	n := 0
	for _, lives := range l.arrived {
		n += max(0, len(lives)-1)
	}
	return n
}

// check compares what the source saw, what the sink saw, and what the
// journal says.
func check(t *testing.T, l *load, facts []mail.Fact) {
	t.Helper()
	faults := slices.Concat(l.faults, checkNumbers(facts))
	byID := map[string]*story{}
	for entry, s := range stories(facts) {
		faults = append(faults, checkStory(entry, s)...)
		if s.id == "" {
			continue // a report: the sink saw for whom
		}
		if before := byID[s.id]; before != nil {
			faults = append(faults, before.join(s)...)
			continue
		}
		byID[s.id] = s
	}
	acknowledged := 0
	for id, m := range l.messages {
		outcome, ended := l.outcomes[id]
		if !ended {
			faults = append(faults, fmt.Sprintf("%s: nobody knows what became of it", id))
		}
		if outcome == harness.Accepted {
			acknowledged++
		}
		faults = append(faults, l.checkMessage(m, outcome, byID[id])...)
	}
	if acknowledged < 10*l.life {
		t.Errorf("only %d messages were acknowledged in %d lives: that was no load", acknowledged, l.life)
	}
	if !slices.ContainsFunc(facts, func(f mail.Fact) bool { return f.Reason == mail.ReasonHeld && f.Hold == mail.HoldPolicy }) {
		t.Error("policy has held nothing")
	}
	if len(l.ends) < len(l.arrived)/2 {
		t.Errorf("the log tells of %d settled deliveries, and %d were made: has its line changed?", len(l.ends), len(l.arrived))
	}
	for i, fault := range faults {
		if i == 20 {
			t.Errorf("and %d more faults", len(faults)-i)
			break
		}
		t.Error(fault)
	}
}

// checkNumbers finds facts of a source that are doubled, missing or out of
// order.
func checkNumbers(facts []mail.Fact) (faults []string) {
	last := map[string]uint64{}
	for _, f := range facts {
		if f.N != last[f.Source]+1 {
			faults = append(faults, fmt.Sprintf("journal: fact %d of %q follows %d", f.N, f.Source, last[f.Source]))
		}
		last[f.Source] = f.N
	}
	return faults
}

// checkStory checks that an entry was accepted once, and each of its
// recipients came to one end.
func checkStory(entry mail.ID, s *story) (faults []string) {
	if s.accepted != 1 {
		faults = append(faults, fmt.Sprintf("journal: %s (%s) was accepted %d times", entry, s.id, s.accepted))
	}
	for _, to := range s.to {
		if ends := s.final[bare(to)]; len(ends) != 1 {
			faults = append(faults, fmt.Sprintf("journal: %s (%s) ended %v for %s, want one end", entry, s.id, ends, to))
		}
	}
	if len(s.final) > len(s.to) {
		faults = append(faults, fmt.Sprintf("journal: %s (%s) ended for %v, which are more than %v", entry, s.id, s.final, s.to))
	}
	return faults
}

// checkMessage checks what became of one message.
func (l *load) checkMessage(m *harness.Message, outcome harness.Outcome, s *story) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, m.ID+": "+fmt.Sprintf(format, args...)) }
	kept := s != nil
	switch outcome {
	case harness.Accepted:
		if !kept {
			fault("was acknowledged, and the journal does not know it")
		}
	case harness.Refused, harness.Torn:
		if kept {
			fault("was not wholly submitted, and yet accepted")
		}
	}
	for _, to := range copies(m) {
		if kept && !slices.Contains(s.to, to) {
			fault("was accepted, and not for %s", to)
		}
		lives, end := l.arrived[m.ID+" "+to], to
		want := mail.ReasonDelivered
		if strings.HasPrefix(to, reject) {
			want, lives, end = mail.ReasonBounced, l.reports[m.ID], m.From
		}
		if kept && len(lives) == 0 {
			fault("was accepted, and nothing came for %s", to)
		}
		if outcome == harness.Accepted && len(lives) == 0 {
			l.lost++
		}
		if !kept && len(lives) > 0 {
			fault("was not accepted, and yet something came for %s", to)
		}
		if kept && len(s.final[to]) > 0 && s.final[to][0] != want {
			fault("ended %q for %s, want %q", s.final[to][0], to, want)
		}
		if !increasing(lives) {
			fault("came twice in one life for %s: %v", to, lives)
		}
		settled, ended := l.ends[end]
		if ended && len(lives) > 0 && lives[len(lives)-1] != settled {
			fault("came in the lives %v for %s, whose delivery was settled in life %d", lives, to, settled)
		}
	}
	return faults
}

// increasing reports whether each number is larger than the one before: a
// copy may come again in a later life, but not in the same.
func increasing(numbers []int) bool {
	for i := 1; i < len(numbers); i++ {
		if numbers[i] <= numbers[i-1] {
			return false
		}
	}
	return true
}
