package embedded

import (
	"sync"
	"time"
)

// latencySpan is how long a duration counts at least; at most twice as long.
// So a store that has nothing to write is soon a quick one again.
const latencySpan = 5 * time.Second

// latency is how long something takes that is done again and again, by one
// goroutine or several. A time that hangs counts before it ends.
type latency struct {
	mu       sync.Mutex
	underWay int
	progress time.Time // when the last one ended, or the first began
	now      stretch
	before   stretch
}

// stretch is what ended during one latencySpan.
type stretch struct {
	since time.Time
	sum   time.Duration
	count int
}

// begin notes the beginning of one, and returns its time.
func (l *latency) begin() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.underWay++; l.underWay == 1 {
		l.progress = now
	}
	return now
}

// end notes the end of the one that began then.
func (l *latency) end(began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.underWay--
	l.progress = now
	l.turn(now)
	l.now.sum += now.Sub(began)
	l.now.count++
}

// get returns the mean of those that ended within the last spans, or for how
// long none has ended while one is under way, if that is more.
func (l *latency) get() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.turn(now)
	var mean, hanging time.Duration
	if count := l.now.count + l.before.count; count > 0 {
		mean = (l.now.sum + l.before.sum) / time.Duration(count)
	}
	if l.underWay > 0 {
		hanging = now.Sub(l.progress)
	}
	return max(mean, hanging)
}

// turn begins a new stretch when the present one is over; mu is held.
func (l *latency) turn(now time.Time) {
	age := now.Sub(l.now.since)
	if age < latencySpan {
		return
	}
	l.before = l.now
	if age >= 2*latencySpan {
		l.before = stretch{}
	}
	l.now = stretch{since: now}
}
