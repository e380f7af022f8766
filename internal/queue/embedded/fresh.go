package embedded

import (
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// What is handed over in memory: contents of at most freshSize octets, of
// freshBudget octets together. Beyond that, one that nobody has claimed for
// freshAge makes room; else the new one is read back from the disk.
const (
	freshSize   = draftMemory
	freshBudget = 32 << 20
	freshAge    = time.Minute
)

// entryOverhead is what an entry takes besides its content, about.
const entryOverhead = 2 << 10

// fresh keeps small messages from their acceptance until they change for the
// first time, so that a first attempt reads nothing back.
type fresh struct {
	mu      sync.Mutex
	entries map[mail.ID]*freshEntry
	bodies  map[mail.ID][]byte
	first   *freshEntry // the oldest
	last    *freshEntry
	size    int64
}

// freshEntry is an entry that has not changed since it was accepted.
type freshEntry struct {
	entry          queue.Entry
	since          time.Time
	size           int64
	previous, next *freshEntry
}

func newFresh() *fresh {
	return &fresh{entries: make(map[mail.ID]*freshEntry), bodies: make(map[mail.ID][]byte)}
}

// add keeps an entry with its content; both are fresh's from now on.
func (f *fresh) add(e queue.Entry, content []byte, now time.Time) {
	size := int64(cap(content)) + entryOverhead
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.first != nil && f.size+size > freshBudget && now.Sub(f.first.since) > freshAge {
		f.remove(f.first)
	}
	if f.size+size > freshBudget {
		return
	}
	item := &freshEntry{entry: e, since: now, size: size, previous: f.last}
	if f.last != nil {
		f.last.next = item
	} else {
		f.first = item
	}
	f.last = item
	f.size += size
	f.entries[e.ID], f.bodies[e.Body] = item, content
}

// drop forgets an entry: it has changed.
func (f *fresh) drop(id mail.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if item := f.entries[id]; item != nil {
		f.remove(item)
	}
}

// remove takes an entry out; mu is held.
func (f *fresh) remove(item *freshEntry) {
	if item.previous != nil {
		item.previous.next = item.next
	} else {
		f.first = item.next
	}
	if item.next != nil {
		item.next.previous = item.previous
	} else {
		f.last = item.previous
	}
	f.size -= item.size
	delete(f.entries, item.entry.ID)
	delete(f.bodies, item.entry.Body)
}

// header returns a copy of an entry without its deliveries.
func (f *fresh) header(id mail.ID) (queue.Entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	item := f.entries[id]
	if item == nil {
		return queue.Entry{}, false
	}
	e := item.entry
	e.Deliveries = nil
	return e.Clone(), true
}

// delivery returns a copy of a delivery.
func (f *fresh) delivery(id mail.ID, d mail.Destination) (queue.Delivery, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	item := f.entries[id]
	if item == nil {
		return queue.Delivery{}, false
	}
	for i := range item.entry.Deliveries {
		if item.entry.Deliveries[i].Destination == d {
			return item.entry.Deliveries[i].Clone(), true
		}
	}
	return queue.Delivery{}, false
}

// content returns a body; nobody may change it.
func (f *fresh) content(body mail.ID) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, found := f.bodies[body]
	return content, found
}

// octets is how much memory it takes.
func (f *fresh) octets() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size
}
