package directory

import "sync"

// watchers are told what has changed.
type watchers struct {
	mu   sync.Mutex
	next int
	told map[int]func([]Key)
}

// Watch makes the Directory call tell after each change, with the records that it has
// changed, when look-ups find them. It is called in the order of the changes, by whoever
// makes one, and must return soon and change nothing itself. stop ends that.
func (d *Directory) Watch(tell func(changed []Key)) (stop func()) {
	w := &d.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == nil {
		w.told = map[int]func([]Key){}
	}
	id := w.next
	w.next++
	w.told[id] = tell
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.told, id)
	}
}

func (w *watchers) tell(changed []Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tell := range w.told {
		tell(changed)
	}
}
