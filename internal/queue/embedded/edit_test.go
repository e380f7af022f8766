package embedded_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// TestEditingTellsOfEachStep: whoever asks while an edit is under way hears
// what it has done, and afterwards that there is none.
func TestEditingTellsOfEachStep(t *testing.T) {
	const n = 2*queue.EditStep + 1
	var store atomic.Pointer[embedded.Store]
	var mu sync.Mutex
	seen := make(map[int]bool)
	files := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if s := store.Load(); s != nil && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo) {
			mu.Lock()
			defer mu.Unlock()
			if e, underWay := s.Editing(); underWay && e.Actor == "operator" && e.Filter.Where == "all" {
				seen[e.Done.Changed] = true
			}
		}
		return nil
	}))
	s := open(t, "queue", backlogOptions(files, 0))
	defer s.Close()
	acceptMany(t, s, 0, n)
	store.Store(s)
	done, err := s.Edit(t.Context(), queue.Filter{Where: "all"}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}, "operator")
	store.Store(nil)
	if err != nil || done.Changed != n {
		t.Fatalf("%+v, %v", done, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, step := range []int{0, queue.EditStep, 2 * queue.EditStep} {
		if !seen[step] {
			t.Errorf("with %d done nobody was told; only with %v", step, seen)
		}
	}
	if e, underWay := s.Editing(); underWay {
		t.Errorf("still under way: %+v", e)
	}
}
