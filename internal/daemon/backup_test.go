package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/directory"
	"postern/internal/queue"
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
	made, err := r.snapshot(t.Context(), "ann", admin.SnapshotOrder{})
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

// TestRoomForRecords: a directory of which a copy would fill the disk is not copied beside a server that
// needs the rest.
func TestRoomForRecords(t *testing.T) {
	c := settings(t, nowhere)
	if err := roomForRecords(c, 0); err != nil {
		t.Errorf("of none: %v", err)
	}
	if err := os.MkdirAll(directoryDir(c), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(directoryDir(c), directory.File), "")
	if err := errors.Join(roomForRecords(c, 0), roomForRecords(c, 1)); err != nil {
		t.Errorf("of a small one: %v", err)
	}
	if err := roomForRecords(c, 1<<60); !errors.Is(err, queue.ErrFull) {
		t.Errorf("with a large reserve: %v", err)
	}
	for _, file := range []string{directory.File + "-wal", directory.File} {
		put(t, filepath.Join(directoryDir(c), file), "")
		if err := os.Truncate(filepath.Join(directoryDir(c), file), 1<<43); err != nil { // it takes no room itself
			t.Fatal(err)
		}
		if err := roomForRecords(c, 0); !errors.Is(err, queue.ErrFull) {
			t.Errorf("with a large %s: %v", file, err)
		}
		if err := os.Remove(filepath.Join(directoryDir(c), file)); err != nil {
			t.Fatal(err)
		}
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
