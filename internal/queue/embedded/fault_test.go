package embedded_test

import (
	"errors"
	"fmt"
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

// faultyOptions make a small store that uses all its parts.
func faultyOptions(files vfs.FS) embedded.Options {
	return embedded.Options{FS: files, Clock: mail.NewManualClock(noon), InlineSize: 1000, SegmentSize: 2000}
}

// TestFaults lets every single operation on the disk fail once, in several
// ways. Whoever was told that something is stored finds it after a power cut;
// whoever was told that it is not does not; and a store whose commit failed
// says nothing but that from then on.
func TestFaults(t *testing.T) {
	step := 5
	if mailtest.Long() {
		step = 1
	}
	for _, how := range []struct {
		name  string
		err   error
		short bool
	}{{"EIO", syscall.EIO, false}, {"ENOSPC", syscall.ENOSPC, false}, {"ENOSPC half way", syscall.ENOSPC, true}} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel() // a run waits most of the time for settlements to be synced together
			kinds := make(map[errorfs.OpKind]int)
			for n := 1; ; n += step {
				hit := faultRun(t, n, how.err, how.short)
				if hit == nil {
					t.Logf("%d operations failed: %v", n-1, kinds)
					break
				}
				if kinds[hit.Kind]++; t.Failed() {
					t.Fatalf("at operation %d: kind %d, %s", n, hit.Kind, hit.Path)
				}
			}
			for _, k := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSyncData, errorfs.OpFileSync, errorfs.OpRename, errorfs.OpFileClose, errorfs.OpCreate} {
				if kinds[k] == 0 && step == 1 {
					t.Fatalf("no operation of kind %d has failed", k)
				}
			}
		})
	}
}

// faulting is one run: what was promised in it.
type faulting struct {
	t        *testing.T
	store    *embedded.Store
	stored   map[mail.ID]bool // acknowledged
	refused  map[mail.ID]bool // told that they are not stored
	settled  map[mail.ID]bool // delivered, and told so
	attempts map[mail.ID]bool // whose settlement failed: nobody knows
	unknown  bool
}

// faultRun works on a store whose nth operation fails, and checks what is
// left after a power cut. It returns what failed; nil when there were fewer.
func faultRun(t *testing.T, n int, cause error, short bool) *errorfs.Op {
	memory := vfs.NewCrashableMem()
	disk := mailtest.NewFault(memory)
	store, err := embedded.Open("queue", faultyOptions(disk))
	if err != nil {
		t.Fatal(err)
	}
	f := &faulting{t: t, store: store, stored: map[mail.ID]bool{}, refused: map[mail.ID]bool{}, settled: map[mail.ID]bool{}, attempts: map[mail.ID]bool{}}
	disk.Arm(n, cause, short)
	f.work()
	left := memory.CrashClone(vfs.CrashCloneCfg{})
	_ = store.Close() // may fail: it was told already
	hit := disk.Hit()
	f.check(left)
	return hit
}

// work accepts contents of all kinds, delivers some and defers others.
func (f *faulting) work() {
	for i := range 4 {
		id := fmt.Sprintf("%014d", i)
		f.accept(mail.ID(id + "01")) // 1.1 KB
		f.accept(mail.ID(id + "00")) // 600 KB
		f.accept(mail.ID(id + "h1")) // 1.2 MB
		f.accept(mail.ID(id + "02")) // 1.1 KB, among the others
		f.deliver()
	}
}

// accept submits an entry and notes what it was told.
func (f *faulting) accept(id mail.ID) {
	err := submit(f.t.Context(), f.store, entryTo(id, "one.example"))
	f.told(err)
	switch {
	case err == nil:
		f.stored[id] = true
	case !errors.Is(err, queue.ErrUnknown):
		f.refused[id] = true
	}
}

// told checks what an error says, and what came before it.
func (f *faulting) told(err error) {
	f.t.Helper()
	unknown := errors.Is(err, queue.ErrUnknown)
	if f.unknown && !unknown {
		f.t.Errorf("after a commit that failed: %v, want ErrUnknown", err)
	}
	f.unknown = f.unknown || unknown
	if errors.Is(err, syscall.ENOSPC) && !unknown && !errors.Is(err, queue.ErrFull) {
		f.t.Errorf("a full disk is told as %v", err)
	}
}

func (f *faulting) deliver() {
	leases, err := f.store.Claim(f.t.Context(), "one.example", 3, noon, noon.Add(time.Hour))
	f.told(err)
	for i, l := range leases {
		id := l.Entry.ID
		if content, err := readBody(f.store, l.Entry.Body); err == nil && string(content) != string(contentOf(id)) {
			f.t.Errorf("content of %s is %d octets of something else", id, len(content))
		}
		state := mail.Delivered
		if i == 2 {
			state = mail.Deferred
		}
		err := settleAs(f.t.Context(), f.store, l, state)
		f.told(err)
		switch {
		case state == mail.Deferred:
		case err == nil:
			f.settled[id] = true
			delete(f.stored, id)
		case errors.Is(err, queue.ErrUnknown):
			f.attempts[id] = true
		}
	}
}

// check opens what is left of the disk.
func (f *faulting) check(left vfs.FS) {
	f.t.Helper()
	store, err := embedded.Open("queue", faultyOptions(left))
	if err != nil {
		f.t.Errorf("open after the power cut: %v", err)
		return
	}
	defer store.Close()
	for id := range f.stored {
		content, err := readBody(store, id)
		if f.attempts[id] && errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil || string(content) != string(contentOf(id)) {
			f.t.Errorf("acknowledged %s: %d octets, %v", id, len(content), err)
		}
	}
	for id := range f.refused {
		if _, err := store.Get(f.t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
			f.t.Errorf("refused %s: %v, want ErrNotFound", id, err)
		}
	}
	for id := range f.settled {
		if _, err := store.Get(f.t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
			f.t.Errorf("settled %s: %v, want ErrNotFound", id, err)
		}
	}
}
