package embedded_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
	"postern/internal/queue/queuetest"
)

// open opens a store that the test closes.
func open(t testing.TB, dir string, o embedded.Options) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // one that has failed says so
	return s
}

// TestConformance runs the suite in memory. Reopening is a power cut: what
// was not synced is lost, or part of it.
func TestConformance(t *testing.T) {
	queuetest.Run(t, func(t *testing.T, clock mail.Clock) *queuetest.Subject {
		disk := newDisk()
		store := open(t, "queue", embedded.Options{Clock: clock, FS: disk})
		return &queuetest.Subject{
			Store: store,
			Reopen: func() queue.Store {
				if disk.broken() {
					disk = disk.cut(rand.New(rand.NewPCG(1, 2)), 50)
				} else if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				store = open(t, "queue", embedded.Options{Clock: clock, FS: disk})
				return store
			},
			FailCommit: func(n int) { disk.failSync(int64(n)) },
			Seeds:      mailtest.Number(t, "SEEDS", 8),
		}
	})
}

// TestConformanceOnDisk runs it on the machine's file system, but for the
// failures, which that cannot make.
func TestConformanceOnDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("syncs to the disk thousands of times")
	}
	queuetest.Run(t, func(t *testing.T, clock mail.Clock) *queuetest.Subject {
		dir := filepath.Join(t.TempDir(), "queue")
		store := open(t, dir, embedded.Options{Clock: clock})
		return &queuetest.Subject{
			Store: store,
			Reopen: func() queue.Store {
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				store = open(t, dir, embedded.Options{Clock: clock})
				return store
			},
		}
	})
}

// disk is a file system in memory that knows what was synced, and whose log
// can be made to fail.
type disk struct {
	vfs.FS
	memory *vfs.MemFS
	// left is the number of syncs of the log until they fail; 0 is never.
	left atomic.Int64
	bad  atomic.Bool
}

func newDisk() *disk { return diskOn(vfs.NewCrashableMem()) }

func diskOn(memory *vfs.MemFS) *disk {
	d := &disk{memory: memory}
	d.FS = errorfs.Wrap(memory, errorfs.InjectorFunc(d.inject))
	return d
}

var errDisk = errors.New("the disk is gone")

func (d *disk) inject(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
	default:
		return nil
	}
	if d.bad.Load() {
		return errDisk
	}
	if strings.HasSuffix(op.Path, ".log") && d.left.Load() > 0 && d.left.Add(-1) == 0 {
		d.bad.Store(true)
		return errDisk
	}
	return nil
}

func (d *disk) failSync(n int64) { d.left.Store(n) }

func (d *disk) broken() bool { return d.bad.Load() }

// cut is the disk after a power cut: of what was not synced, percent of the
// blocks are there.
func (d *disk) cut(r *rand.Rand, percent int) *disk {
	return diskOn(d.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r}))
}
