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
	if len(s.log.Sparse()) == 0 {
		t.Fatal("no segment is sparse: the test makes none")
	}
	if s.reclaimer.moveOne() {
		t.Error("a segment was emptied in which there is nothing to move")
	}
}
