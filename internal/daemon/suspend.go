package daemon

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// suspendable is a store whose marks also suspend the intake and sites: the
// store itself would go on to accept, and it knows no sites. It keeps what is
// suspended in memory, so that nobody who asks for the state of the server
// waits for a disk that is slow.
type suspendable struct {
	*embedded.Store
	marking sync.Mutex // held while a mark is being set
	// site suspends a site, or ends that.
	site func(name string, suspend bool)

	mu    sync.Mutex
	marks map[queue.MarkKind]map[string]queue.Mark // what is suspended
}

// newSuspendable finds out what was suspended before the start.
func newSuspendable(store *embedded.Store) (*suspendable, error) {
	s := &suspendable{Store: store, marks: make(map[queue.MarkKind]map[string]queue.Mark)}
	for _, kind := range queue.Suspensions {
		marks, err := store.ListMarks(context.Background(), kind)
		if err != nil {
			return nil, err
		}
		s.marks[kind] = make(map[string]queue.Mark)
		for _, m := range marks {
			s.marks[kind][m.Key] = m
		}
	}
	return s, nil
}

// tell sets who suspends sites, and has those suspended that were before the
// start.
func (s *suspendable) tell(site func(name string, suspend bool)) {
	s.site = site
	for name := range s.marks[queue.MarkSuspendSite] {
		site(name, true)
	}
}

// PutMark sets or lifts a mark.
func (s *suspendable) PutMark(ctx context.Context, m queue.Mark, f mail.Fact) error {
	s.marking.Lock()
	defer s.marking.Unlock()
	if err := s.Store.PutMark(ctx, m, f); err != nil {
		return err
	}
	s.note(m)
	if m.Kind == queue.MarkSuspendSite {
		s.site(m.Key, m.Value != "")
	}
	return nil
}

// note keeps a suspension in memory, or forgets it.
func (s *suspendable) note(m queue.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch known := s.marks[m.Kind]; {
	case known == nil: // suspends nothing
	case m.Value == "":
		delete(known, m.Key)
	default:
		known[m.Key] = m
	}
}

// ListMarks returns the marks of a kind, in order of key.
func (s *suspendable) ListMarks(ctx context.Context, kind queue.MarkKind) ([]queue.Mark, error) {
	if !slices.Contains(queue.Suspensions, kind) {
		return s.Store.ListMarks(ctx, kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.marks[kind]), func(a, b queue.Mark) int { return cmp.Compare(a.Key, b.Key) }), nil
}

// intake reports whether the intake is suspended.
func (s *suspendable) intake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.marks[queue.MarkSuspendIntake]) > 0
}
