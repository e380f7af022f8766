//go:build !race

package message

import (
	"bytes"
	"io"
	"testing"
)

// TestRewriteAllocations holds the work per message: the buffers are used
// again, so a message costs the values that are made for it and no more.
// Under the race detector a sync.Pool forgets at random.
func TestRewriteAllocations(t *testing.T) {
	message := benchMessage(4 << 10)
	r := testRewrite()
	src := bytes.NewReader(message)
	if got := testing.AllocsPerRun(100, func() {
		src.Reset(message)
		if _, err := r.Copy(io.Discard, src); err != nil {
			t.Fatal(err)
		}
	}); got > 4 {
		t.Errorf("%v allocations a message, want at most 4", got)
	}
}
