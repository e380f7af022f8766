package admin_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"postern/internal/admin"
	"postern/internal/queue"
)

// store says of itself what a test wants it to say.
type store struct {
	stat     queue.Stat
	verified queue.Verified
	failure  error
	damaged  []string
}

func (s *store) Stat(context.Context) (queue.Stat, error) { return s.stat, s.failure }
func (s *store) DamagedFiles() []string                   { return s.damaged }

func (s *store) Verify(_ context.Context, progress func(queue.Progress)) (queue.Verified, error) {
	progress(queue.Progress{Done: 1, Total: 3})
	progress(queue.Progress{Done: 3, Total: 3}) // too soon to be told
	return s.verified, s.failure
}

// TestStore: what the store says of itself comes through.
func TestStore(t *testing.T) {
	r := newRig(t)
	r.store.stat = queue.Stat{Entries: 3, Segments: []queue.Segment{{Number: 7, Live: 5}}}
	r.store.verified = queue.Verified{Octets: 3}
	r.store.verified.Flaws.Add(queue.Flaw{File: "db/1.sst", Offset: 4, Cause: "a bit"})
	r.store.damaged = []string{"db/1.sst"}
	st, err := r.Stat(t.Context())
	if err != nil || st.Entries != 3 || !slices.Equal(st.Segments, r.store.stat.Segments) {
		t.Errorf("stat: %+v, %v", st, err)
	}
	told := 0
	v, err := r.Verify(t.Context(), func(p queue.Progress) {
		if told++; p.Done != 1 {
			t.Errorf("progress %+v", p)
		}
	})
	if err != nil || told != 1 || v.Octets != 3 || v.Flaws.Count != 1 || v.Flaws.List[0] != r.store.verified.Flaws.List[0] {
		t.Errorf("verify: %+v, %v, progress told %d times", v, err, told)
	}
	if s, err := r.Status(t.Context()); err != nil || !slices.Equal(s.DamagedFiles, r.store.damaged) {
		t.Errorf("status: %+v, %v", s, err)
	}
	if list, err := r.Damaged(t.Context(), queue.Page{}); err != nil || len(list) != 0 {
		t.Errorf("damaged: %v, %v", list, err)
	}
}

// TestStoreFails: a verification that fails midway says so in its last line.
func TestStoreFails(t *testing.T) {
	r := newRig(t)
	r.store.failure = errors.New("private")
	_, err := r.Verify(t.Context(), func(queue.Progress) {})
	if problem, ok := errors.AsType[*admin.Problem](err); !ok || problem.Status != 500 {
		t.Errorf("verify: %v", err)
	}
	if _, err := r.Stat(t.Context()); err == nil {
		t.Error("stat does not fail")
	}
}
