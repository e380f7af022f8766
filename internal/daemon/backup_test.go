package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/admin"
)

// TestSnapshotsFollow: the copies of a backup are gone before the next backup can begin, which has its
// own at the same place. When a directory changed last says what went first.
func TestSnapshotsFollow(t *testing.T) {
	c := settings(t, nowhere)
	r := start(t, c)
	if err := os.MkdirAll(keysDir(c), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 { // so that to remove the copies takes longer than times tell apart
		if err := os.WriteFile(filepath.Join(keysDir(c), fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made, err := r.snapshot(t.Context(), admin.SnapshotOrder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Release(); err != nil {
		t.Fatal(err)
	}
	if copies, store := changed(t, c.DataDir), changed(t, queueDir(c)); copies.After(store) {
		t.Errorf("the store could be copied again at %v, and the copies went at %v", store, copies)
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

func changed(t *testing.T, path string) time.Time {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}
