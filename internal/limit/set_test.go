package limit

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
)

func TestSet(t *testing.T) {
	clock := mail.NewManualClock(time.Date(2024, 2, 5, 9, 0, 0, 0, time.UTC))
	s := NewSet(clock)
	one, two := Rate{Max: 1, Per: time.Hour}, Rate{Max: 2, Per: time.Hour}
	for i, step := range []struct {
		name, key string
		rate      Rate
		want      bool
	}{
		{"a", "x", one, true}, {"a", "x", one, false}, {"a", "y", one, true}, {"b", "x", one, true},
		{"a", "x", two, true}, {"a", "x", two, true}, {"a", "x", two, false}, // another rate counts apart
		{"a", "x", one, false}, {"a", "x", two, false}, // and neither forgets the other
	} {
		if got := s.Take(Named{step.name, step.rate}, step.key, 1); got.Allowed != step.want {
			t.Errorf("step %d: %+v", i, got)
		}
	}
	s.Keep([]Named{{"b", one}})
	if !s.Take(Named{"a", two}, "x", 2).Allowed {
		t.Error("a limit that was forgotten counts on")
	}
	if s.Take(Named{"b", one}, "x", 1).Allowed {
		t.Error("a limit that was kept has forgotten")
	}
	clock.Advance(time.Hour)
	if !s.Take(Named{"b", one}, "x", 1).Allowed {
		t.Error("after an hour it is not allowed")
	}
	clock.Step(-2*time.Hour, func(_ time.Time, by time.Duration) { s.Shift(by) })
	if got := s.Take(Named{"b", one}, "x", 1); got.Allowed || got.Wait > time.Hour {
		t.Errorf("after the clock was set back: %+v", got)
	}
	s.Keep(nil)
	if s.Take(Named{"b", one}, "x", 1).Allowed {
		t.Error("a limit of the configuration before has forgotten at once")
	}
	s.Keep(nil)
	if !s.Take(Named{"b", one}, "x", 1).Allowed {
		t.Error("a limit of no configuration counts on")
	}
}

// TestSetAtOnce: goroutines that begin a limit together count together.
func TestSetAtOnce(t *testing.T) {
	s := NewSet(mail.SystemClock{})
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if s.Take(Named{"a", Rate{Max: 5, Per: time.Hour}}, "x", 1).Allowed {
				allowed.Add(1)
			}
		})
	}
	all.Wait()
	if allowed.Load() != 5 {
		t.Errorf("%d of 5 were allowed", allowed.Load())
	}
}
