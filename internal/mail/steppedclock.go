package mail

import (
	"sync"
	"sync/atomic"
	"time"
)

// StepTolerance is by how much the time of day may move apart from the time
// that passes, from one look to the next, without being called a step.
// Programs that keep clocks right set them over larger differences, and
// otherwise let them run slower or faster for a while.
const StepTolerance = time.Second

// SteppedClock is the machine's clock, and notices when it is set: the time of
// day has moved by another amount than the time that passed. Who has planned
// something for a time of day is told before anybody sees the new time. It is
// safe for use by several goroutines.
//
// Time that a suspended machine was asleep has not passed for it.
type SteppedClock struct {
	read func() (wall time.Time, passed time.Duration)
	// apart is wall, as time since an epoch, less passed.
	apart atomic.Int64

	mu    sync.Mutex // held while a step is told
	told  []func(at time.Time, by time.Duration)
	since time.Duration // passed at the last step
}

// NewSteppedClock returns a clock that reads the machine's.
func NewSteppedClock() *SteppedClock {
	start := time.Now()
	return newSteppedClock(func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(start) // Sub is of the monotonic clock
	})
}

func newSteppedClock(read func() (time.Time, time.Duration)) *SteppedClock {
	c := &SteppedClock{read: read}
	wall, passed := read()
	c.apart.Store(apart(wall, passed))
	return c
}

func apart(wall time.Time, passed time.Duration) int64 { return wall.UnixNano() - int64(passed) }

// OnStep lets f be told of each step: the time of day after it, and how far it
// went. f is called by whoever looks at the clock first, under the locks that
// this one holds, so that it must take none of these and not look at the clock.
func (c *SteppedClock) OnStep(f func(at time.Time, by time.Duration)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, f)
}

// Now returns the time of day.
func (c *SteppedClock) Now() time.Time {
	wall, passed := c.read()
	now, before := apart(wall, passed), c.apart.Load()
	if by := time.Duration(now - before); by.Abs() > StepTolerance {
		return c.step(wall, passed)
	}
	if now != before {
		c.apart.CompareAndSwap(before, now) // it runs slower or faster
	}
	return wall
}

// step tells of a step, unless somebody else was quicker.
func (c *SteppedClock) step(wall time.Time, passed time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := time.Duration(apart(wall, passed) - c.apart.Load())
	if passed <= c.since {
		return wall.Add(-by) // read before the step that was told meanwhile
	}
	if by.Abs() > StepTolerance {
		for _, f := range c.told {
			f(wall, by)
		}
		c.since = passed
		c.apart.Store(apart(wall, passed))
	}
	return wall
}
