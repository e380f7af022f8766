package dns

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern/internal/mail"
)

// For how long an answer is believed, whatever it says itself: records for at
// least a moment, so that a burst of mail asks once, and for at most a day;
// "nothing" for at most an hour (RFC 2308 5 advises one to three); and a
// failure for as long as a burst takes (RFC 9520 3.2 asks for a second or
// more, so that servers in trouble are not asked all the time).
const (
	minTTL      = 5 * time.Second
	maxTTL      = 24 * time.Hour
	maxNotFound = time.Hour
	failureTTL  = 5 * time.Second
)

// cache remembers answers, and lets identical questions that are under way
// share one query. The zero value needs its limit and clock.
type cache struct {
	limit int // entries
	clock mail.Clock

	mu      sync.Mutex
	entries map[question]entry
	flights map[question]*flight
}

type entry struct {
	answer  answer
	expires time.Time
}

// flight is a question that is being asked.
type flight struct {
	done   chan struct{} // closed when the rest is set
	answer answer
	// abandoned says that who asked had no more time: it is no answer for
	// those who have.
	abandoned bool
}

type afreshKey struct{}

// Afresh returns a context with which names are asked for again although their answers are
// remembered: for a person who has changed them. What is found is remembered, for all.
func Afresh(ctx context.Context) context.Context {
	return context.WithValue(ctx, afreshKey{}, true)
}

func newCache(limit int, clock mail.Clock) *cache {
	return &cache{limit: limit, clock: clock, entries: map[question]entry{}, flights: map[question]*flight{}}
}

// get returns what is remembered, or what ask finds out. Only one of those
// who want the same asks; the others wait for it.
func (c *cache) get(ctx context.Context, q question, ask func(context.Context, question) answer) answer {
	for {
		known, f, mine := c.begin(q, ctx.Value(afreshKey{}) != nil)
		switch {
		case f == nil:
			return known
		case mine:
			return c.end(ctx, q, f, ask(ctx, q))
		}
		select {
		case <-f.done:
			if !f.abandoned {
				return f.answer
			}
		case <-ctx.Done():
			return answer{err: fmt.Errorf("%w: %s: %w", ErrTemporary, q, ctx.Err())}
		}
	}
}

// begin returns what is remembered, unless it is to be asked afresh, or the flight of the question;
// mine says that it was begun here, and that end must follow.
func (c *cache) begin(q question, afresh bool) (known answer, f *flight, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[q]; ok && !afresh && c.clock.Now().Before(e.expires) {
		return e.answer, nil, false
	}
	if f, ok := c.flights[q]; ok {
		return answer{}, f, false
	}
	f = &flight{done: make(chan struct{})}
	c.flights[q] = f
	return answer{}, f, true
}

func (c *cache) end(ctx context.Context, q question, f *flight, a answer) answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.answer, f.abandoned = a, ctx.Err() != nil
	if !f.abandoned {
		c.remember(q, a)
	}
	delete(c.flights, q)
	close(f.done)
	return a
}

// remember stores an answer that may be. mu is held.
func (c *cache) remember(q question, a answer) {
	life := lifetime(a)
	if life == 0 {
		delete(c.entries, q)
		return
	}
	now := c.clock.Now()
	if len(c.entries) >= c.limit {
		c.makeRoom(now)
	}
	c.entries[q] = entry{a, now.Add(life)}
}

// makeRoom drops what has expired, and if that is not enough some of the
// rest, whichever comes: an eighth, so that it is seldom done. mu is held.
func (c *cache) makeRoom(now time.Time) {
	for q, e := range c.entries {
		if !now.Before(e.expires) {
			delete(c.entries, q)
		}
	}
	for q := range c.entries {
		if len(c.entries) <= c.limit-c.limit/8-1 {
			return
		}
		delete(c.entries, q)
	}
}

// lifetime is for how long an answer is remembered; 0 for not at all.
func lifetime(a answer) time.Duration {
	switch {
	case a.err == nil:
		return min(max(a.ttl, minTTL), maxTTL)
	case isNotFound(a.err):
		return min(a.ttl, maxNotFound) // 0 without an SOA record (RFC 2308 5)
	}
	return failureTTL
}
