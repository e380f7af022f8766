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
	r.mu.Lock()
	all := r.freed
	r.freed = nil
	r.mu.Unlock()
	for _, f := range all {
		crashpoint.Reach(crashpoint.Unreferred)
		r.store.log.Free(f.body, f.place)
	}
}

// moveOne empties one sparse segment. It returns false when there is none, or
// nothing to be moved in it, or the store is closing or has failed.
func (r *reclaimer) moveOne() bool {
	select {
	case <-r.stop:
		return false
	case <-r.store.failure.done:
		return false
	default:
	}
	segment, found := r.store.log.Sparse()
	if !found {
		return false
	}
	survivors := r.store.ledger.survivors(segment)
	if len(survivors) == 0 {
		return false // what is needed in it is on its way in or out; the next that is freed wakes us
	}
	for _, b := range survivors {
		err := r.move(b)
		if err == nil || errors.Is(err, errMovedOn) {
			continue
		}
		if r.store.failure.get() == nil {
			r.store.options.Logger.Warn("queue: a segment of the body log cannot be emptied, and keeps its space", "segment", segment, "body", b.id, "error", err)
		}
		r.store.log.Stuck(segment)
		break
	}
	return true
}

// errMovedOn says that a body was not where it was thought to be any more.
var errMovedOn = errors.New("the body has gone or moved")

// move copies a body to the active segment, and has the database name the new
// place. The old one is free once that is durable.
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
	if err := s.commit(context.Background(), r.moving(b.id, at, to)); err != nil {
		if s.failure.get() == nil { // else nobody knows which place is named
			s.log.Free(b.id, to)
		}
		return err
	}
	return nil
}

// moving is the change by which a body goes from one place to another.
func (r *reclaimer) moving(body mail.ID, from place, to seglog.Place) *change {
	c := r.store.newChange()
	c.moving = &moving{body: body, from: from.Place, to: to}
	c.setBytes(key(placePrefix, body), place{Place: to}.encode())
	c.after(func() {
		r.free(body, from)
		r.moved.Add(1)
	})
	return c
}
