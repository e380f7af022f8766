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

// suspendable is a store whose marks also suspend the intake: the store itself
// would go on to accept.
type suspendable struct {
	*embedded.Store
	marking sync.Mutex
	closed  atomic.Bool
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

// PutMark sets or lifts a mark.
func (s *suspendable) PutMark(ctx context.Context, m queue.Mark, f mail.Fact) error {
	s.marking.Lock()
	defer s.marking.Unlock()
	err := s.Store.PutMark(ctx, m, f)
	if err == nil && m.Kind == queue.MarkSuspendIntake {
		s.closed.Store(m.Value != "")
	}
	return err
}

// intake reports whether the intake is suspended.
func (s *suspendable) intake() bool { return s.closed.Load() }
