package daemon

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// suspendable is a store whose marks also suspend the intake and sites: the
// store itself would go on to accept, and it knows no sites.
type suspendable struct {
	*embedded.Store
	marking sync.Mutex
	closed  atomic.Bool
	// site suspends a site, or ends that.
	site func(name string, suspend bool)
}

// newSuspendable finds out whether the intake was suspended before the start.
func newSuspendable(store *embedded.Store) (*suspendable, error) {
	s := &suspendable{Store: store}
	_, err := store.Mark(context.Background(), queue.MarkSuspendIntake, queue.All)
	s.closed.Store(err == nil)
	if errors.Is(err, queue.ErrNotFound) {
		err = nil
	}
	return s, err
}

// tell sets who suspends sites, and has those suspended that were before the
// start.
func (s *suspendable) tell(site func(name string, suspend bool)) error {
	s.site = site
	marks, err := s.ListMarks(context.Background(), queue.MarkSuspendSite)
	for i := range marks {
		site(marks[i].Key, true)
	}
	return err
}

// PutMark sets or lifts a mark.
func (s *suspendable) PutMark(ctx context.Context, m queue.Mark, f mail.Fact) error {
	s.marking.Lock()
	defer s.marking.Unlock()
	err := s.Store.PutMark(ctx, m, f)
	if err != nil {
		return err
	}
	switch suspend := m.Value != ""; m.Kind {
	case queue.MarkSuspendIntake:
		s.closed.Store(suspend)
	case queue.MarkSuspendSite:
		s.site(m.Key, suspend)
	}
	return nil
}

// intake reports whether the intake is suspended.
func (s *suspendable) intake() bool { return s.closed.Load() }
