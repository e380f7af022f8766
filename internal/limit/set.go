package limit

import (
	"slices"
	"sync"
	"time"

	"postern/internal/mail"
)

// Set has many limits by their names, each a Keyed of its own. It is made for limits
// that come and go with a configuration: one that keeps its name and rate goes on
// counting. It is safe for use by several goroutines.
type Set struct {
	clock mail.Clock

	mu     sync.RWMutex
	limits map[string]*Keyed
}

// NewSet returns a Set without limits.
func NewSet(clock mail.Clock) *Set { return &Set{clock: clock, limits: make(map[string]*Keyed)} }

// Take uses n of the rate of a key in the limit of that name, as Keyed.Take does. A
// limit that there was not, or that had another rate, begins to count.
func (s *Set) Take(name string, rate Rate, key string, n int64) Result {
	return s.limit(name, rate).Take(key, n)
}

// Book is to Keyed.Book what Take is to Keyed.Take.
func (s *Set) Book(name string, rate Rate, key string, n int64) Result {
	return s.limit(name, rate).Book(key, n)
}

func (s *Set) limit(name string, rate Rate) *Keyed {
	s.mu.RLock()
	k := s.limits[name]
	s.mu.RUnlock()
	if k == nil || k.rate != rate {
		k = s.begin(name, rate)
	}
	return k
}

// begin returns the limit of that name and rate, which another goroutine may have
// begun by now.
func (s *Set) begin(name string, rate Rate) *Keyed {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.limits[name]
	if k == nil || k.rate != rate {
		k = New(Options{Rate: rate, Clock: s.clock})
		s.limits[name] = k
	}
	return k
}

// Keep forgets all limits but those named.
func (s *Set) Keep(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.limits {
		if !slices.Contains(names, name) {
			delete(s.limits, name)
		}
	}
}

// Shift tells all limits that the clock was set, as Keyed.Shift does.
func (s *Set) Shift(by time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range s.limits {
		k.Shift(by)
	}
}
