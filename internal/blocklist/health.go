package blocklist

import (
	"errors"
	"fmt"
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
	now, settle := s.options.Clock.Now(), m.health.Settle
	if errors.Is(err, errRefuses) || errors.Is(err, errLies) {
		settle = m.health.Break
	}
	if p, news := settle(err, now); news {
		s.options.Tell(Event{Name: m.Title(), LeftOut: err != nil, Until: p.Until, Err: p.Err})
	}
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
		if p := m.health.Pause(); p.Err != nil {
			list = append(list, Out{Name: m.Title(), Until: p.Until, Err: p.Err})
		}
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
