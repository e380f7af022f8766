package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// reclaimer gives back the space of bodies that nobody uses any more. Its
// goroutine frees what the committer has removed, and moves the last bodies
// out of segments that are nearly empty.
type reclaimer struct {
	store *Store
	wake  queue.Signal
	stop  chan struct{}
	done  sync.WaitGroup
	moved atomic.Uint64 // contents

	// freeing is held while contents are freed, and by a snapshot, which
	// nothing must be taken from.
	freeing sync.Mutex

	mu    sync.Mutex
	freed []freed
}

// freed is a content whose removal is durable.
type freed struct {
	body  mail.ID
	place seglog.Place
}

func newReclaimer(s *Store) *reclaimer {
	return &reclaimer{store: s, wake: queue.NewSignal(), stop: make(chan struct{})}
}

// free is told of a content that is no longer needed. It does not wait.
func (r *reclaimer) free(body mail.ID, p place) {
	if p.inline {
		return
	}
	r.mu.Lock()
	r.freed = append(r.freed, freed{body, p.Place})
	r.mu.Unlock()
	r.wake.Raise()
}

func (r *reclaimer) start() { r.done.Go(r.run) }

// end stops the goroutine, which frees what it was told until then.
func (r *reclaimer) end() {
	close(r.stop)
	r.done.Wait()
}

func (r *reclaimer) run() {
	for {
		r.freeAll()
		if r.moveOne() {
			continue
		}
		select {
		case <-r.wake:
		case <-r.stop:
			r.freeAll()
			return
		case <-r.store.failure.done:
			return
		}
	}
}

func (r *reclaimer) freeAll() {
	r.freeing.Lock()
	defer r.freeing.Unlock()
	r.mu.Lock()
	all := r.freed
	r.freed = nil
	r.mu.Unlock()
	for _, f := range all {
		crashpoint.Reach(crashpoint.Unreferred)
		r.store.log.Free(f.body, f.place)
	}
}

// moveOne empties one sparse segment. It returns false when there is none with
// anything to be moved (what is needed in it may be on its way in or out), or
// the store is closing or has failed.
func (r *reclaimer) moveOne() bool {
	select {
	case <-r.stop:
		return false
	case <-r.store.failure.done:
		return false
	default:
	}
	for _, segment := range r.store.log.Sparse() {
		if survivors := r.store.ledger.survivors(segment); len(survivors) > 0 {
			r.empty(segment, survivors)
			return true
		}
	}
	return false
}

// empty moves what is left in a segment.
func (r *reclaimer) empty(segment uint64, survivors []stored) {
	for _, b := range survivors {
		err := r.move(b)
		if err == nil || errors.Is(err, errMovedOn) {
			continue
		}
		if r.store.failure.get() == nil {
			r.store.options.Logger.Warn("queue: a segment of the body log cannot be emptied, and keeps its space", "segment", segment, "body", b.id, "error", err)
		}
		r.store.log.Stuck(segment)
		return
	}
}

// errMovedOn says that a body was not where it was thought to be any more.
var errMovedOn = errors.New("the body has gone or moved")

// move copies a body to the active segment, and has the database name the new
// place; the committer notes that in the ledger. The old place is free once it
// is durable.
func (r *reclaimer) move(b stored) error {
	s := r.store
	at, content, err := s.ledger.open(s.log, b.id)
	switch {
	case errors.Is(err, queue.ErrNotFound), err == nil && at != b.place:
		if content != nil {
			err = content.Close()
		}
		return errors.Join(errMovedOn, err)
	case err != nil:
		return err
	}
	defer content.Close()
	to, err := s.log.Append(context.Background(), seglog.Record{ID: b.id, Head: content.Head(), Content: content, Size: at.Size})
	if err != nil {
		return fmt.Errorf("cannot copy it: %w", err)
	}
	crashpoint.Reach(crashpoint.Moved)
	c := s.newChange()
	c.moving = &moving{body: b.id, from: at.Place, to: to}
	c.setBytes(key(placePrefix, b.id), place{Place: to}.encode())
	c.after(func() {
		r.free(b.id, at)
		r.moved.Add(1)
	})
	if err := s.commit(context.Background(), c); err != nil {
		if s.failure.get() == nil { // else nobody knows which place is named
			s.log.Free(b.id, to)
		}
		return err
	}
	return nil
}
