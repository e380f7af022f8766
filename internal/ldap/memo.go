package ldap

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"postern/internal/auth"
	"postern/internal/mail"
)

// memo remembers answers for a time, the latest used of them, and lets those who ask
// the same at the same time share one question. That there is no such entry is
// remembered too, for a tenth of the time; other errors are not.
type memo[V any] struct {
	weigh    func(V) int // names that an answer has, beside the one asked for
	lifetime time.Duration
	clock    mail.Clock

	mu      sync.Mutex
	entries map[string]*list.Element // of kept[V]
	order   *list.List               // the latest used first
	flights map[string]*flight[V]
	weight  int // of all entries
}

// maxWeight bounds what is remembered, in names of users, addresses and groups.
const maxWeight = 100_000

// kept is an answer that is remembered.
type kept[V any] struct {
	key     string
	value   V
	err     error
	weight  int
	until   time.Time
	learned time.Time
}

// flight is a question under way.
type flight[V any] struct {
	done  chan struct{} // closed when the rest is set
	value V
	err   error
}

// forUnknown is the part of the time for which it is remembered that there is nothing.
const forUnknown = 10

func newMemo[V any](lifetime time.Duration, clock mail.Clock, weigh func(V) int) *memo[V] {
	return &memo[V]{
		weigh: weigh, lifetime: lifetime, clock: clock,
		entries: make(map[string]*list.Element), order: list.New(), flights: make(map[string]*flight[V]),
	}
}

// get returns what is remembered for a key, or the flight that finds it out; mine says
// that the caller has to end it.
func (m *memo[V]) get(key string) (k kept[V], f *flight[V], mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, is := m.entries[key]; is {
		k := e.Value.(kept[V])
		// A clock that was set back makes nothing last longer.
		if now := m.clock.Now(); now.Before(k.until) && !now.Before(k.learned) {
			m.order.MoveToFront(e)
			return k, nil, false
		}
		m.remove(e)
	}
	if f, is := m.flights[key]; is {
		return kept[V]{}, f, false
	}
	f = &flight[V]{done: make(chan struct{})}
	m.flights[key] = f
	return kept[V]{}, f, true
}

// settle ends a flight, and remembers what it has found.
func (m *memo[V]) settle(key string, f *flight[V], value V, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.value, f.err = value, err
	delete(m.flights, key)
	defer close(f.done)
	lifetime := m.lifetime
	switch {
	case errors.Is(err, auth.ErrUnknown):
		lifetime /= forUnknown
	case err != nil:
		return
	}
	if lifetime == 0 {
		return
	}
	now, weight := m.clock.Now(), 1
	if err == nil {
		weight += m.weigh(value)
	}
	m.entries[key] = m.order.PushFront(kept[V]{key: key, value: value, err: err, weight: weight, learned: now, until: now.Add(lifetime)})
	for m.weight += weight; m.weight > maxWeight; {
		m.remove(m.order.Back())
	}
}

// forget forgets what is remembered for a key.
func (m *memo[V]) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, is := m.entries[key]; is {
		m.remove(e)
	}
}

// clear forgets everything, and remembers nothing from now on.
func (m *memo[V]) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lifetime = 0
	clear(m.entries)
	m.order.Init()
	m.weight = 0
}

func (m *memo[V]) remove(e *list.Element) {
	k := e.Value.(kept[V])
	delete(m.entries, k.key)
	m.weight -= k.weight
	m.order.Remove(e)
}

// recall returns what m remembers for a key, or asks. A question goes on when who asked
// first has gone, for the sake of the others.
func recall[V any](ctx context.Context, d *Directory, m *memo[V], key string, ask func(context.Context) (V, error)) (value V, remembered bool, err error) {
	k, f, mine := m.get(key)
	if f == nil {
		d.options.Metrics.remembered()
		return k.value, true, k.err
	}
	if mine {
		d.asking.Go(func() {
			asking, cancel := context.WithTimeout(d.ctx, d.patience())
			defer cancel()
			value, err := ask(asking)
			m.settle(key, f, value, err)
		})
	}
	select {
	case <-f.done:
		return f.value, false, f.err
	case <-ctx.Done():
		return value, false, ctx.Err()
	}
}
