package auth

import (
	"container/list"
	"sync"
	"time"

	"postern/internal/mail"
)

// recent remembers values for a while, and at most so many of them: who comes too many
// takes the place of the one that was not used for the longest time. It is safe for use
// by several goroutines.
type recent[K comparable, V any] struct {
	most  int
	keep  time.Duration // since it was put
	clock mail.Clock

	mu   sync.Mutex
	at   map[K]*list.Element
	used list.List // of *remembered; the last one used is at the front
}

type remembered[K comparable, V any] struct {
	key   K
	value V
	until time.Time
}

func newRecent[K comparable, V any](most int, keep time.Duration, clock mail.Clock) *recent[K, V] {
	return &recent[K, V]{most: most, keep: keep, clock: clock, at: make(map[K]*list.Element)}
}

// get returns what is remembered of a key.
func (r *recent[K, V]) get(key K) (value V, known bool) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.at[key]
	if e == nil {
		return value, false
	}
	m := e.Value.(*remembered[K, V])
	if !now.Before(m.until) {
		r.drop(e)
		return value, false
	}
	r.used.MoveToFront(e)
	return m.value, true
}

// put remembers a value, from now on for as long as all.
func (r *recent[K, V]) put(key K, value V) {
	until := r.clock.Now().Add(r.keep)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.at[key]; e != nil {
		m := e.Value.(*remembered[K, V])
		m.value, m.until = value, until
		r.used.MoveToFront(e)
		return
	}
	for len(r.at) >= r.most {
		r.drop(r.used.Back())
	}
	r.at[key] = r.used.PushFront(&remembered[K, V]{key, value, until})
}

// forget forgets a key.
func (r *recent[K, V]) forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.at[key]; e != nil {
		r.drop(e)
	}
}

// drop forgets an element. mu is held.
func (r *recent[K, V]) drop(e *list.Element) {
	delete(r.at, e.Value.(*remembered[K, V]).key)
	r.used.Remove(e)
}
