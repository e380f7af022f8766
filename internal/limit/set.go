package limit

import (
	"slices"
	"sync"
	"time"

	"postern/internal/mail"
)

// Named is a limit of a configuration: its name there, and its rate.
type Named struct {
	Name string
	Rate Rate
}

// Set has many limits, each a Keyed of its own. It is made for limits that come and
// go with a configuration: one that keeps its name and rate goes on counting, and
// one of the same name with another rate counts apart, since the sessions of the
// configuration before may go on for a while. It is safe for use by several
// goroutines.
type Set struct {
	clock mail.Clock

	mu     sync.RWMutex
	limits map[Named]*Keyed
	kept   []Named // by the last Keep
}

// NewSet returns a Set without limits.
func NewSet(clock mail.Clock) *Set { return &Set{clock: clock, limits: make(map[Named]*Keyed)} }

// Take uses n of the rate of a key in a limit, as Keyed.Take does. A limit that there
// was not begins to count.
func (s *Set) Take(l Named, key string, n int64) Result { return s.limit(l).Take(key, n) }

// Book is to Keyed.Book what Take is to Keyed.Take.
func (s *Set) Book(l Named, key string, n int64) Result { return s.limit(l).Book(key, n) }

func (s *Set) limit(l Named) *Keyed {
	s.mu.RLock()
	k := s.limits[l]
	s.mu.RUnlock()
	if k == nil {
		k = s.begin(l)
	}
	return k
}

// begin returns a limit that another goroutine may have begun by now.
func (s *Set) begin(l Named) *Keyed {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.limits[l]
	if k == nil {
		k = New(Options{Rate: l.Rate, Clock: s.clock})
		s.limits[l] = k
	}
	return k
}

// Keep forgets all limits but these, which are those of a configuration, and those
// of the last call: sessions still use the configuration before.
func (s *Set) Keep(limits []Named) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.limits {
		if !slices.Contains(limits, l) && !slices.Contains(s.kept, l) {
			delete(s.limits, l)
		}
	}
	s.kept = slices.Clone(limits)
}

// Shift tells all limits that the clock was set, as Keyed.Shift does.
func (s *Set) Shift(by time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range s.limits {
		k.Shift(by)
	}
}
