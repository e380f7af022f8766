package deliver

import (
	"sync"
	"time"

	"postern/internal/mail"
)

// This file keeps the times right that were noted on a clock which was stepped
// since: the age of a message, and when the server was started. What is planned
// is moved by the store (queue.Scheduler.Shift) and by the sites.

// maxSteps is how many steps are remembered, the last ones.
const maxSteps = 100

// step is a step of the clock: by is how far, to the time at.
type step struct {
	at time.Time
	by time.Duration
}

// before reports whether t was noted before the step. When a clock was set
// back, a time may have come twice: then it is taken for the later one, so that
// nothing is older than it is.
func (s step) before(t, now time.Time) bool {
	return !t.After(s.at.Add(-s.by)) && (t.Before(s.at) || t.After(now))
}

// steps are those since the start.
type steps struct {
	mu     sync.Mutex
	list   []step
	untold []step // for which there was no fact yet
}

func (s *steps) add(new step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, new)
	s.list = s.list[max(0, len(s.list)-maxSteps):]
	s.untold = append(s.untold, new)
	s.untold = s.untold[max(0, len(s.untold)-maxSteps):]
}

// take returns the steps that were not yet told.
func (s *steps) take() []step {
	s.mu.Lock()
	defer s.mu.Unlock()
	untold := s.untold
	s.untold = nil
	return untold
}

// today returns a time that was noted by the clock as it was then, on the clock
// as it is now.
func (s *steps) today(t, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := false
	for _, step := range s.list {
		if before = before || step.before(t, now); before {
			t = t.Add(step.by)
		}
	}
	return t
}

// Stepped says that the clock was stepped: it has gone on by more, or less,
// than the time that has passed. Retries are made, and mail expires, after the
// time that was set, not when the clock says so. The store must know before.
// It may be called by whoever holds locks: it only takes note.
func (d *Deliverer) Stepped(at time.Time, by time.Duration) {
	d.steps.add(step{at, by})
	d.sites.shift(by)
	d.rates.Shift(by)
	d.free()
}

// tellSteps records the steps of the clock.
func (d *Deliverer) tellSteps() {
	for _, s := range d.steps.take() {
		text := "the clock was set forward by " + s.by.String()
		if s.by < 0 {
			text = "the clock was set back by " + (-s.by).String()
		}
		d.Logger.Warn(text)
		d.Record(mail.Fact{Time: s.at, Reason: mail.ReasonStepped, Text: text + "; retries keep their waits"})
	}
}
