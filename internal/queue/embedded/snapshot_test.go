package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// snapshotOptions make a store with segments that come and go.
func snapshotOptions(files vfs.FS) embedded.Options {
	return embedded.Options{FS: files, Clock: mail.NewManualClock(noon), InlineSize: 500, SegmentSize: 20_000}
}

// deliverAll delivers all that is due.
func deliverAll(t *testing.T, s *embedded.Store) {
	t.Helper()
	agenda, err := s.Due(t.Context(), noon, 1000)
	mailtest.Must(t, err)
	for _, due := range agenda.Destinations {
		leases, err := s.Claim(t.Context(), due.Destination, due.Count, noon, noon.Add(time.Minute))
		mailtest.Must(t, err)
		for _, l := range leases {
			mailtest.Must(t, settleAs(t.Context(), s, l, mail.Delivered))
		}
	}
}

// fillTo stores entries with these numbers, and delivers none.
func fillTo(t *testing.T, s *embedded.Store, first, n int) (ids []mail.ID) {
	t.Helper()
	for i := first; i < first+n; i++ {
		id := mail.ID(fmt.Sprintf("%016d", i))
		mailtest.Must(t, submitContent(t.Context(), s, entryTo(id, "one.example"), snapshotContent(id)))
		ids = append(ids, id)
	}
	return ids
}

// snapshotContent is the content of an entry: in the database, in the body
// log, and in a file of its own.
func snapshotContent(id mail.ID) []byte {
	size := []int{300, 4000, 9000, 1_100_000}[id[15]%4]
	return bytes.Repeat([]byte(id), size/len(id))
}

// copyFiles copies the files of a store to another directory of a disk.
func copyFiles(t *testing.T, files vfs.FS, list []embedded.File, to string) {
	t.Helper()
	for _, f := range list {
		path := files.PathJoin(to, f.Name)
		mailtest.Must(t, files.MkdirAll(files.PathDir(path), 0o700))
		in, err := files.Open(f.Path)
		mailtest.Must(t, err)
		data := make([]byte, f.Size)
		_, err = io.ReadFull(in, data)
		mailtest.Must(t, errors.Join(err, in.Close()))
		out, err := files.Create(path, vfs.WriteCategoryUnspecified)
		mailtest.Must(t, err)
		_, err = out.Write(data)
		mailtest.Must(t, errors.Join(err, out.Close()))
	}
}

// wantStored opens a copy, and compares what it has.
func wantStored(t *testing.T, files vfs.FS, dir string, ids []mail.ID) {
	t.Helper()
	v, err := embedded.Verify(t.Context(), dir, snapshotOptions(files), func(queue.Progress) {})
	if err != nil || v.Flaws.Count > 0 || v.Entries != len(ids) {
		t.Fatalf("the copy: %+v, %v; want %d entries", v, err, len(ids))
	}
	s, err := embedded.Open(dir, snapshotOptions(files))
	mailtest.Must(t, err)
	defer closeStore(t, s)
	for _, id := range ids {
		if got, err := readBody(s, id); err != nil || !bytes.Equal(got, snapshotContent(id)) {
			t.Errorf("%s in the copy: %d octets, %v", id, len(got), err)
		}
	}
	facts, err := s.NextFacts(t.Context(), 0, 1000)
	if err != nil || len(facts) != len(ids) {
		t.Errorf("the copy has %d facts, %v; want %d", len(facts), err, len(ids))
	}
}

// TestSnapshot: what is in a snapshot stays, although all of it is delivered,
// moved or written over in the store meanwhile.
func TestSnapshot(t *testing.T) {
	files := vfs.NewMem()
	s := open(t, "queue", snapshotOptions(files))
	ids := fillTo(t, s, 0, 24)
	snapshot, err := s.Snapshot(t.Context())
	mailtest.Must(t, err)
	if _, err := s.Snapshot(t.Context()); !errors.Is(err, embedded.ErrSnapshot) {
		t.Errorf("a second snapshot: %v", err)
	}
	deliverAll(t, s)
	for i := range 10 { // segments come and go
		fillTo(t, s, 100+24*i, 24)
		deliverAll(t, s)
	}
	copyFiles(t, files, snapshot.Files, "copy")
	mailtest.Must(t, snapshot.Release())
	if _, err := files.Stat("queue/snapshot"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a snapshot that was released: %v", err)
	}
	wantStored(t, files, "copy", ids)

	_, err = s.Snapshot(t.Context()) // and is left behind
	mailtest.Must(t, err)
	closeStore(t, s)
	open(t, "queue", snapshotOptions(files))
	if _, err := files.Stat("queue/snapshot"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a snapshot after a start: %v", err)
	}
}

// TestSnapshotPausesFreeing: what is delivered between the checkpoint of the
// database and the linking of the contents is in the snapshot with its content.
func TestSnapshotPausesFreeing(t *testing.T) {
	var s *embedded.Store
	var once sync.Once
	files := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLink && (strings.HasSuffix(op.Path, ".seg") || strings.HasSuffix(op.Path, ".msg")) {
			once.Do(func() {
				deliverAll(t, s)
				for range 10_000 { // the reclaimer has its turns
					runtime.Gosched()
				}
			})
		}
		return nil
	}))
	s = open(t, "queue", snapshotOptions(files))
	ids := fillTo(t, s, 0, 24)
	snapshot, err := s.Snapshot(t.Context())
	mailtest.Must(t, err)
	copyFiles(t, files, snapshot.Files, "copy")
	mailtest.Must(t, snapshot.Release())
	wantStored(t, files, "copy", ids)
	if n := s.Entries(); n > 0 {
		t.Errorf("%d entries were not delivered meanwhile: the test shows nothing", n)
	}
}

// TestLinkedSegmentIsNotWrittenOver: a segment that has a name in a backup,
// which an earlier process gave it, does not become the next segment.
func TestLinkedSegmentIsNotWrittenOver(t *testing.T) {
	dir := t.TempDir()
	queueDir, backup := filepath.Join(dir, "queue"), filepath.Join(dir, "backup")
	o := snapshotOptions(nil)
	o.FS, o.Reserve = vfs.Default, -1
	s := open(t, queueDir, o)
	fillTo(t, s, 0, 24)
	closeStore(t, s)
	list, lock, err := embedded.Files(queueDir, o)
	mailtest.Must(t, err)
	if _, _, err := embedded.Files(queueDir, o); err == nil {
		t.Error("the files of a store that is locked are handed out")
	}
	mailtest.Must(t, os.Mkdir(backup, 0o700))
	before := map[string][]byte{}
	for _, f := range list {
		if strings.HasSuffix(f.Name, ".seg") && f.Fixed {
			name := filepath.Join(backup, filepath.Base(f.Name))
			mailtest.Must(t, os.Link(f.Path, name))
			before[name], err = os.ReadFile(name)
			mailtest.Must(t, err)
		}
	}
	mailtest.Must(t, lock.Close())
	s = open(t, queueDir, o)
	deliverAll(t, s)
	for i := range 10 {
		fillTo(t, s, 100+24*i, 24)
		deliverAll(t, s)
	}
	closeStore(t, s)
	if len(before) < 2 {
		t.Fatalf("%d segments: the test makes too few", len(before))
	}
	for name, want := range before {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what it was: %v", name, err)
		}
	}
}

// TestSnapshotFaults: whatever fails while a snapshot is made, the store goes
// on, and the next snapshot is good.
func TestSnapshotFaults(t *testing.T) {
	failed := 0
	for n := 1; ; n++ {
		disk := mailtest.NewFault(vfs.NewMem())
		s, err := embedded.Open("queue", snapshotOptions(disk))
		mailtest.Must(t, err)
		fillTo(t, s, 0, 4)
		disk.Arm(n, syscall.ENOSPC, false)
		snapshot, err := s.Snapshot(t.Context())
		hit := disk.Hit()
		disk.Arm(0, nil, false)
		if hit == nil {
			mailtest.Must(t, err)
			mailtest.Must(t, snapshot.Release())
			closeStore(t, s)
			break
		}
		if !strings.Contains(hit.Path, "snapshot") { // the store's own affair
			_ = s.Close()
			continue
		}
		if failed++; err == nil {
			mailtest.Must(t, snapshot.Release()) // it was nothing that matters
		}
		if err := submit(context.Background(), s, entryTo("0000000000000099", "two.example")); err != nil {
			t.Fatalf("operation %d (%s, kind %d): the store has failed: %v", n, hit.Path, hit.Kind, err)
		}
		again, err := s.Snapshot(t.Context())
		if err != nil {
			t.Fatalf("operation %d (%s, kind %d): the next snapshot: %v", n, hit.Path, hit.Kind, err)
		}
		mailtest.Must(t, again.Release())
		closeStore(t, s)
	}
	if failed < 10 {
		t.Errorf("only %d operations failed", failed)
	}
}
