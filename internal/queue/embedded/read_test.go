package embedded

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/queue"
)

// broken is a database of which nothing can be read.
type broken struct{ pebble.Reader }

func (broken) NewIter(*pebble.IterOptions) (*pebble.Iterator, error) {
	return nil, pebble.ErrCorruption
}

// TestListingIsWholeOrFails: a listing that must end early says so.
func TestListingIsWholeOrFails(t *testing.T) {
	s := newStore("queue", Options{Logger: slog.New(slog.DiscardHandler)})
	selector, err := queue.Filter{}.Selector(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	err = errors.New("nothing was told")
	for _, e := range s.entries(broken{}, selector, queue.Page{}) {
		err = e
	}
	if !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("the listing ends with %v", err)
	}
}
