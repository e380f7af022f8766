package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// TestVerifyAtWork reads everything again and again while mail comes, is
// delivered, and what is left is moved. It finds nothing, and nothing is set
// aside for what it found.
func TestVerifyAtWork(t *testing.T) {
	s := open(t, "queue", embedded.Options{FS: vfs.NewMem(), Clock: mail.NewManualClock(noon), InlineSize: 1000, SegmentSize: 20_000})
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	var ids mail.IDs
	for i := range 4 {
		domain := fmt.Sprintf("d%d.example", i)
		workers.Go(func() { comeAndGo(ctx, t, s, &ids, domain) })
	}
	for read, moved := 0, uint64(0); (read < 20_000 || moved == 0) && !t.Failed(); {
		v, err := s.Verify(t.Context(), func(queue.Progress) {})
		st, failed := s.Stat(t.Context())
		if err = errors.Join(err, failed); err != nil || v.Flaws.Count > 0 {
			t.Errorf("%+v, %v", v, err)
		}
		read, moved = read+v.Bodies, st.Moved
	}
	cancel()
	workers.Wait()
	if damaged, err := s.Damaged(t.Context(), queue.Page{}); err != nil || len(damaged) > 0 {
		t.Errorf("set aside: %+v, %v", damaged, err)
	}
}

// comeAndGo accepts small and middle-sized mail, and delivers all of it but
// one in eight.
func comeAndGo(ctx context.Context, t *testing.T, s *embedded.Store, ids *mail.IDs, domain string) {
	for n := 0; ctx.Err() == nil; n++ {
		id := ids.New(time.Now())
		if err := submitContent(t.Context(), s, entryTo(id, domain), make([]byte, 100+n%2*3000)); err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		leases, err := s.Claim(t.Context(), mail.Destination(domain), 1, noon, noon.Add(time.Hour))
		if err != nil {
			t.Errorf("claim: %v", err)
			return
		}
		for _, l := range leases {
			state := mail.Delivered
			if n%8 == 7 && n < 400 {
				state = mail.Deferred
			}
			if err := settleLater(t.Context(), s, l, state); err != nil {
				t.Errorf("settle: %v", err)
				return
			}
		}
	}
}

// settleLater is settleAs with another hour to come for what is deferred.
func settleLater(ctx context.Context, s queue.Store, l queue.Lease, state mail.State) error {
	return s.Settle(ctx, []queue.Settlement{{
		Lease: l, Next: noon.Add(time.Hour), Outcomes: []mail.Outcome{{State: state, Attempt: l.Attempt(), At: noon}},
	}})
}

// TestVerifyEndsAtClose: it may take hours, and nobody who closes the store
// wants to wait for that.
func TestVerifyEndsAtClose(t *testing.T) {
	s := open(t, "queue", embedded.Options{FS: vfs.NewMem(), Clock: mail.NewManualClock(noon)})
	var ids mail.IDs
	for range 10 {
		mailtest.Must(t, submit(t.Context(), s, entryTo(ids.New(noon), "one.example")))
	}
	closed := make(chan error, 1)
	told := 0
	_, err := s.Verify(t.Context(), func(queue.Progress) {
		if told++; told > 1 {
			return
		}
		go func() { closed <- s.Close() }()
		for err := error(nil); !errors.Is(err, queue.ErrClosed); {
			_, err = s.Count(t.Context(), queue.Filter{})
		}
	})
	if !errors.Is(err, queue.ErrClosed) || told != 1 {
		t.Errorf("%v, after progress was told %d times", err, told)
	}
	mailtest.Must(t, <-closed)
}
