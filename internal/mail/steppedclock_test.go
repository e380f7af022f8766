package mail

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// manual is what a clock reads.
type manual struct {
	mu     sync.Mutex
	wall   time.Time
	passed time.Duration
}

func (m *manual) read() (time.Time, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall, m.passed
}

// pass lets time pass, while the time of day moves by another amount.
func (m *manual) pass(passed, wall time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passed += passed
	m.wall = m.wall.Add(wall)
}

func TestSteppedClock(t *testing.T) {
	m := &manual{wall: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	c := newSteppedClock(m.read)
	var told []string
	c.OnStep(func(at time.Time, by time.Duration) { told = append(told, fmt.Sprint(at.Format("15:04:05 "), by)) })
	for _, x := range []struct {
		passed, wall time.Duration
		told         string
	}{
		{time.Hour, time.Hour, ""},
		{time.Minute, time.Hour, "11:00:00 59m0s"},
		{time.Minute, time.Minute, ""},
		{time.Minute, -time.Minute, "11:00:00 -2m0s"},
		{time.Second, 2 * time.Second, ""},                // as far as a clock may run away in one look
		{time.Second, 2 * time.Second, ""},                // and again, which adds up
		{time.Second, 2 * time.Second, ""},                //
		{0, StepTolerance + 1, "11:00:07 1.000000001s"},   //
		{0, -24 * 365 * time.Hour, "11:00:07 -8760h0m0s"}, // nothing has passed: one look too early
	} {
		told = nil
		m.pass(x.passed, x.wall)
		got := c.Now()
		if want, _ := m.read(); x.passed > 0 && !got.Equal(want) {
			t.Errorf("it is %v, want %v", got, want)
		}
		if x.passed == 0 {
			m.pass(1, 1)
			c.Now()
		}
		if fmt.Sprint(told) != fmt.Sprint([]string{x.told}) && len(told)+len(x.told) > 0 {
			t.Errorf("after %v in which the clock moved by %v: %q, want %q", x.passed, x.wall, told, x.told)
		}
	}
}

// TestSteppedClockStale: who read the clock before a step, and is told after
// it, takes it for no step back.
func TestSteppedClockStale(t *testing.T) {
	m := &manual{wall: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	c := newSteppedClock(m.read)
	steps := 0
	c.OnStep(func(time.Time, time.Duration) { steps++ })
	m.pass(time.Second, time.Second)
	wall, passed := m.read()
	m.pass(time.Second, time.Hour)
	c.Now()
	if got := c.step(wall, passed); !got.Equal(wall.Add(time.Hour - time.Second)) {
		t.Errorf("before the step it was %v, and on the clock as it is now %v", wall, got)
	}
	if steps != 1 {
		t.Errorf("%d steps", steps)
	}
}

// TestSteppedClockOnce: all who look at the same time see one step, after it
// was told.
func TestSteppedClockOnce(t *testing.T) {
	m := &manual{wall: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	c := newSteppedClock(m.read)
	steps := make(chan time.Duration, 100)
	c.OnStep(func(_ time.Time, by time.Duration) { steps <- by })
	m.pass(time.Second, time.Hour)
	var looking sync.WaitGroup
	for range 20 {
		looking.Go(func() {
			c.Now()
			if len(steps) == 0 {
				t.Error("somebody saw the new time before it was told")
			}
		})
	}
	looking.Wait()
	if len(steps) != 1 {
		t.Errorf("%d steps", len(steps))
	}
}

// TestNewSteppedClock: the machine's own clock runs without a step.
func TestNewSteppedClock(t *testing.T) {
	c := NewSteppedClock()
	c.OnStep(func(at time.Time, by time.Duration) { t.Errorf("a step of %v to %v", by, at) })
	for range 1000 {
		if off := time.Since(c.Now()).Abs(); off > time.Minute {
			t.Fatalf("the clock is %v off", off)
		}
	}
}
