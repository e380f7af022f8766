package blocklist

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A list that has failed so often in a row is left out, at first for the shorter
// time, then, as long as it fails, for twice as long, up to the longer one. One that
// answers what cannot be is left out at once.
const (
	maxFailures = 5
	firstPause  = time.Minute
	longPause   = time.Hour
)

// health is how a list has answered of late.
type health struct {
	mu       sync.Mutex
	failures int // in a row
	pause    time.Duration
	until    time.Time // the end of the pause
	trying   bool      // one question shows whether it answers again
	cause    error     // of the pause
}

// begin reports whether the list is to be asked; settle or abandon must follow.
func (h *health) begin(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch wait := h.until.Sub(now); {
	case h.pause == 0:
		return true
	case h.trying || wait > 0 && wait <= h.pause: // a longer one is that of a clock set back
		return false
	}
	h.trying = true
	return true
}

// abandon ends a question that says nothing of the list.
func (h *health) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trying = false
}

// Event is that a list is left out, or asked again.
type Event struct {
	Name string
	// LeftOut says that it is left out until Until, because of Err.
	LeftOut bool
	Until   time.Time
	Err     error
}

// settle notes how a list has answered, and tells of it when it is left out or
// answers again.
func (s *Set) settle(m *member, err error) {
	s.options.Metrics.asked(err)
	if err != nil {
		s.options.Logger.Debug("a block list has failed", "list", m.Title(), "error", err)
	}
	e, tell := m.health.settle(err, s.options.Clock.Now())
	if tell {
		e.Name = m.Title()
		s.options.Tell(e)
	}
}

func (h *health) settle(err error, now time.Time) (e Event, tell bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wasOut := h.pause > 0
	tried := h.trying
	h.trying = false
	if err == nil {
		h.failures, h.pause, h.cause = 0, 0, nil
		return Event{}, wasOut
	}
	h.failures++
	atOnce := errors.Is(err, errRefuses) || errors.Is(err, errLies)
	switch {
	case wasOut && !tried: // asked before it was left out
		return Event{}, false
	case !wasOut && h.failures < maxFailures && !atOnce:
		return Event{}, false
	}
	h.pause = min(max(firstPause, 2*h.pause), longPause)
	h.until, h.cause = now.Add(h.pause), err
	return Event{LeftOut: true, Until: h.until, Err: err}, !wasOut
}

// Out is a list that is left out.
type Out struct {
	Name  string
	Until time.Time
	Err   error
}

// Out returns the lists that are left out now.
func (s *Set) Out() []Out {
	var list []Out
	for _, m := range s.lists {
		m.health.mu.Lock()
		if m.health.pause > 0 {
			list = append(list, Out{Name: m.Title(), Until: m.health.until, Err: m.health.cause})
		}
		m.health.mu.Unlock()
	}
	return list
}

// String says what has happened, for a person.
func (e Event) String() string {
	if !e.LeftOut {
		return fmt.Sprintf("%s answers again", e.Name)
	}
	return fmt.Sprintf("%s: %v; it is asked again at %s", e.Name, e.Err, e.Until.UTC().Format(time.RFC3339))
}
