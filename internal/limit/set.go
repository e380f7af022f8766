package limit

import (
	"slices"
	"sync"
	"time"

	"postern/internal/mail"
)

// Set has limits by name, each with keys of its own; a limit is made when it is first
// asked. It is safe for use by several goroutines, and lasts as long as the process.
// Its memory is bounded by that of a Keyed for each name, and who asks takes the names
// from a configuration.
type Set struct {
	clock mail.Clock

	mu     sync.Mutex
	limits map[string]*Keyed
}

// NewSet returns a Set without limits; nil is the machine's clock.
func NewSet(clock mail.Clock) *Set { return &Set{clock: clock, limits: make(map[string]*Keyed)} }

// Take uses n of the rate of a key under the limit of that name, as Keyed.Take does.
// Where the limit had another rate before, it begins anew.
func (s *Set) Take(name, key string, rate Rate, n int64) Result {
	return s.limit(name, rate).Take(key, n)
}

// Look says what Take would, and uses nothing.
func (s *Set) Look(name, key string, rate Rate, n int64) Result {
	return s.limit(name, rate).Look(key, n)
}

func (s *Set) limit(name string, rate Rate) *Keyed {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.limits[name]
	if k == nil || k.Rate() != rate {
		k = New(Options{Rate: rate, Clock: s.clock})
		s.limits[name] = k
	}
	return k
}

// Keep forgets all limits but those of these names: the ones that a configuration has.
func (s *Set) Keep(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.limits {
		if !slices.Contains(names, name) {
			delete(s.limits, name)
		}
	}
}

// Shift tells all limits that the clock was set by so much, as Keyed.Shift does.
// Nobody who has the lock of a Set looks at the clock.
func (s *Set) Shift(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.limits {
		k.Shift(by)
	}
}
