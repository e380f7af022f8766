package embedded

import (
	"maps"
	"slices"
	"sync"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// ledger knows each body's place and counts its uses. Only the committer
// changes uses; what it does stands in the order of the commits.
//
// A body's place is read, and its file opened, under the ledger's lock: who
// has the handle keeps the content, whatever becomes of the place.
type ledger struct {
	mu       sync.Mutex
	bodies   map[mail.ID]*stored
	segments map[uint64]*stored // the bodies in each, as a list
	spoilt   map[mail.ID]error  // why the content cannot be read
}

// stored is one body.
type stored struct {
	id    mail.ID
	place place
	uses  int
	// unplaced says that its place cannot be read.
	unplaced       bool
	previous, next *stored // in the same segment
}

func newLedger() *ledger {
	return &ledger{bodies: make(map[mail.ID]*stored), segments: make(map[uint64]*stored), spoilt: make(map[mail.ID]error)}
}

// enter takes in a body without uses.
func (l *ledger) enter(body mail.ID, p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &stored{id: body, place: p}
	l.bodies[body] = b
	l.link(b)
}

// enterUnplaced takes in a body whose place cannot be read, and why.
func (l *ledger) enterUnplaced(body mail.ID, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bodies[body] = &stored{id: body, unplaced: true}
	l.spoilt[body] = why
}

// use counts one use more.
func (l *ledger) use(body mail.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.bodies[body]; b != nil {
		b.uses++
	}
}

// leave takes one use away, and the body with the last.
func (l *ledger) leave(body mail.ID) (last stored, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bodies[body]
	if b == nil {
		return stored{}, false
	}
	if b.uses--; b.uses > 0 {
		return stored{}, false
	}
	l.unlink(b)
	delete(l.bodies, body)
	delete(l.spoilt, body)
	return *b, true
}

// has reports whether there is such a body.
func (l *ledger) has(body mail.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bodies[body] != nil
}

// placeOf returns the place of a body. Errors: ErrNotFound, ErrDamaged.
func (l *ledger) placeOf(body mail.ID) (place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lookUp(body)
}

// lookUp is placeOf; mu is held.
func (l *ledger) lookUp(body mail.ID) (place, error) {
	b := l.bodies[body]
	switch {
	case b == nil:
		return place{}, queue.ErrNotFound
	case b.unplaced:
		return place{}, damaged(key(placePrefix, body), "its place cannot be read")
	}
	return b.place, nil
}

// open finds a body and, when it is in the body log, opens it there.
func (l *ledger) open(log *seglog.Log, body mail.ID) (place, *seglog.Content, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.lookUp(body)
	if err != nil || p.inline {
		return p, nil, err
	}
	content, err := log.Content(body, p.Place)
	return p, content, err
}

// at reports whether a body is at a place of the body log.
func (l *ledger) at(body mail.ID, p seglog.Place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bodies[body]
	return b != nil && !b.unplaced && !b.place.inline && b.place.Place == p
}

// move says that a body is at another place now.
func (l *ledger) move(body mail.ID, to seglog.Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bodies[body]
	l.unlink(b)
	b.place.Place = to
	l.link(b)
}

// survivors returns the bodies in a segment.
func (l *ledger) survivors(segment uint64) []stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []stored
	for b := l.segments[segment]; b != nil; b = b.next {
		all = append(all, *b)
	}
	return all
}

// spoil notes why the content of a body cannot be read.
func (l *ledger) spoil(body mail.ID, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bodies[body] != nil && l.spoilt[body] == nil {
		l.spoilt[body] = why
	}
}

// damage returns why the content of a body cannot be read, if that is known.
func (l *ledger) damage(body mail.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spoilt[body]
}

// all returns the ids of all bodies.
func (l *ledger) all() []mail.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.bodies))
}

// count returns how many bodies there are.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.bodies)
}

// link adds a body to the list of its segment; mu is held.
func (l *ledger) link(b *stored) {
	if b.place.Segment == 0 {
		return
	}
	if b.next = l.segments[b.place.Segment]; b.next != nil {
		b.next.previous = b
	}
	l.segments[b.place.Segment] = b
}

// unlink undoes link; mu is held.
func (l *ledger) unlink(b *stored) {
	switch {
	case b.place.Segment == 0:
		return
	case b.previous != nil:
		b.previous.next = b.next
	case b.next != nil:
		l.segments[b.place.Segment] = b.next
	default:
		delete(l.segments, b.place.Segment)
	}
	if b.next != nil {
		b.next.previous = b.previous
	}
	b.previous, b.next = nil, nil
}
