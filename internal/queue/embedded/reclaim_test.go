package embedded

import (
	"bytes"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/seglog"
)

// TestNothingToMove: a sparse segment in which only a content is needed that
// no commit names yet, or names no longer, is left alone. Whoever took it for
// emptied would come back to it at once, and again.
func TestNothingToMove(t *testing.T) {
	s, err := Open("queue", Options{FS: vfs.NewMem(), InlineSize: -1, SegmentSize: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var ids mail.IDs
	content := make([]byte, 3000)
	for i := range 6 { // the first four fill a segment
		id := ids.New(time.Now())
		p, err := s.log.Append(t.Context(), seglog.Record{ID: id, Content: bytes.NewReader(content), Size: int64(len(content))})
		if err != nil {
			t.Fatal(err)
		}
		if 0 < i && i < 4 {
			s.log.Free(id, p)
		}
	}
	if _, found := s.log.Sparse(); !found {
		t.Fatal("no segment is sparse: the test makes none")
	}
	if s.reclaimer.moveOne() {
		t.Error("a segment was emptied in which there is nothing to move")
	}
}

// TestMovedAndEndedTogether: a body may be moved and lose its last use in one
// commit. Each of its two places is then free, once: the segment that is freed
// twice would go while somebody else's content is in it.
func TestMovedAndEndedTogether(t *testing.T) {
	s, err := Open("queue", Options{FS: vfs.NewMem(), InlineSize: -1, SegmentSize: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	var ids mail.IDs
	var first stored
	content := make([]byte, 3000)
	for i := range 5 { // the first four fill a segment
		b := stored{id: ids.New(time.Now()), place: place{Place: seglog.Place{Size: int64(len(content))}}}
		if b.place.Place, err = s.log.Append(t.Context(), seglog.Record{ID: b.id, Content: bytes.NewReader(content), Size: b.place.Size}); err != nil {
			t.Fatal(err)
		}
		s.ledger.enter(b.id, b.place)
		s.ledger.use(b.id)
		if i == 0 {
			first = b
		}
	}
	to, err := s.log.Append(t.Context(), seglog.Record{ID: first.id, Content: bytes.NewReader(content), Size: first.place.Size})
	if err != nil {
		t.Fatal(err)
	}
	ended := s.newChange()
	ended.leave = []leaving{{entry: first.id, body: first.id}}
	s.commitGroup([]*change{s.reclaimer.moving(first.id, first.place, to), ended})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, g := range s.log.Stat().Segments {
		want := map[uint64]int{first.place.Segment: 3, to.Segment: 1}[g.Number]
		if g.Records != want {
			t.Errorf("segment %d: %d contents are needed, want %d", g.Number, g.Records, want)
		}
	}
	if content := s.ledger.bodies[first.id]; content != nil {
		t.Errorf("the body that ended is still there: %+v", content)
	}
}
