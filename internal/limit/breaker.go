package limit

import (
	"sync"
	"time"
)

// Breaker says when something that fails is to be asked: after some failures it is left alone,
// at first for a short time, then, as long as it fails, for twice as long each time. At the end of
// a pause one question shows whether it works again. It is safe for use by several goroutines,
// and must not be copied.
type Breaker struct {
	// First is the first pause, and Longest the longest.
	First, Longest time.Duration
	// Tolerated is how many failures in a row make no pause.
	Tolerated int

	mu       sync.Mutex
	failures int // in a row
	pause    Pause
	length   time.Duration // of the pause; 0: there is none
	trying   bool          // one question shows whether it works again
}

// Pause is a time for which something that fails is left alone.
type Pause struct {
	// Since is when it was left alone first, and Until the end of the pause.
	Since, Until time.Time
	// Err is why; nil if there is no pause.
	Err error
}

// Begin reports whether there may be a question now; Settle, Break or Abandon must follow it.
func (b *Breaker) Begin(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch wait := b.pause.Until.Sub(now); {
	case b.length == 0:
		return true
	case b.trying || wait > 0 && wait <= b.length: // a longer one is that of a clock set back
		return false
	}
	b.trying = true
	return true
}

// Abandon ends a question whose end says nothing of what was asked.
func (b *Breaker) Abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
}

// Settle ends a question: err is nil if there was an answer. It returns the pause that there is
// now, and whether that is news: the begin of the first pause, or that it works again.
func (b *Breaker) Settle(err error, now time.Time) (p Pause, news bool) {
	return b.settle(err, now, b.Tolerated)
}

// Break is Settle for a failure that is not tolerated, however many are.
func (b *Breaker) Break(err error, now time.Time) (p Pause, news bool) { return b.settle(err, now, 0) }

func (b *Breaker) settle(err error, now time.Time, tolerated int) (p Pause, news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	paused, tried := b.length > 0, b.trying
	b.trying = false
	if err == nil {
		b.failures, b.length, b.pause = 0, 0, Pause{}
		return b.pause, paused
	}
	b.failures++
	switch {
	case paused && !tried, // asked before the pause
		!paused && b.failures <= tolerated:
		return b.pause, false
	case !paused:
		b.pause.Since = now
	}
	b.length = min(max(b.First, 2*b.length), b.Longest)
	b.pause.Until, b.pause.Err = now.Add(b.length), err
	return b.pause, !paused
}

// Pause returns the pause that there is; its Err is nil if there is none.
func (b *Breaker) Pause() Pause {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause
}
