package mail

import (
	"sync"
	"time"
)

// Clock tells the time of day. Timers and time-outs use package time, which
// runs on the monotonic clock.
type Clock interface {
	Now() time.Time
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now returns time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// ManualClock stands still until it is moved. It is the twin of SystemClock
// for tests, and safe for use by several goroutines.
type ManualClock struct {
	mu  sync.Mutex
	now time.Time
}

// NewManualClock returns a clock that stands at now.
func NewManualClock(now time.Time) *ManualClock { return &ManualClock{now: now} }

// Now returns the time at which the clock stands.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock by d.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Step moves the clock by d as if it were set: tell is called before anybody
// sees the new time (as by SteppedClock), and must not look at the clock.
func (c *ManualClock) Step(d time.Duration, tell func(at time.Time, by time.Duration)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	tell(c.now, d)
}
