package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// tamper changes the database of a closed store.
func tamper(t *testing.T, files vfs.FS, change func(db *pebble.DB)) {
	t.Helper()
	db, err := pebble.Open("queue/db-2", &pebble.Options{FS: files, FormatMajorVersion: pebble.FormatValueSeparation, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	change(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, _ ...any) { panic(format) }

// keys lists all keys of a closed store, its version left out.
func keys(t *testing.T, files vfs.FS) []string {
	t.Helper()
	var all []string
	tamper(t, files, func(db *pebble.DB) {
		it, err := db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for it.First(); it.Valid(); it.Next() {
			if k := string(it.Key()); k != "v" {
				all = append(all, k)
			}
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return all
}

func closeStore(t *testing.T, s *embedded.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryInUse(t *testing.T) {
	for who, files := range map[string]vfs.FS{"another process": newDisk(), "this process": nil} { // files in memory cannot tell
		dir := t.TempDir() + "/queue"
		s := open(t, dir, embedded.Options{FS: files})
		_, err := embedded.Open(dir, embedded.Options{FS: files})
		if inUse, ok := errors.AsType[*embedded.InUseError](err); !ok || inUse.By != who || !strings.Contains(err.Error(), dir) {
			t.Errorf("second open: %v, want an error that says that %s uses %s", err, who, dir)
		}
		closeStore(t, s)
		open(t, dir, embedded.Options{FS: files})
	}
}

// TestRefusalKeepsTheLock: to find out who has a store must not take it away
// from him.
func TestRefusalKeepsTheLock(t *testing.T) {
	dir := t.TempDir() + "/queue"
	open(t, dir, embedded.Options{})
	if _, err := embedded.Open(dir, embedded.Options{}); err == nil {
		t.Error("it can be opened twice")
	}
	var st syscall.Stat_t
	mailtest.Must(t, syscall.Stat(dir+"/lock", &st))
	locks, err := os.ReadFile("/proc/locks")
	mailtest.Must(t, err)
	if want := regexp.MustCompile(fmt.Sprintf(`POSIX +\S+ +WRITE +%d +\S+:%d `, os.Getpid(), st.Ino)); !want.Match(locks) {
		t.Errorf("%s is not locked any more", dir)
	}
}

func TestNewerFormat(t *testing.T) {
	files := newDisk()
	closeStore(t, open(t, "queue", embedded.Options{FS: files}))
	mailtest.Must(t, files.MkdirAll("queue/db-3", 0o700))
	_, err := embedded.Open("queue", embedded.Options{FS: files})
	if err == nil || !strings.Contains(err.Error(), "format 3") || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("open: %v, want an error about format 3 and a newer version", err)
	}
}

func TestNotAQueue(t *testing.T) {
	files := newDisk()
	closeStore(t, open(t, "queue", embedded.Options{FS: files}))
	tamper(t, files, func(db *pebble.DB) {
		mailtest.Must(t, db.Delete([]byte("v"), pebble.Sync))
		mailtest.Must(t, db.Set([]byte("other"), []byte("x"), pebble.Sync))
	})
	if _, err := embedded.Open("queue", embedded.Options{FS: files}); !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("open: %v, want ErrDamaged", err)
	}
}

// ids whose contentOf is small, and large.
const (
	smallID = mail.ID("0000000000000001")
	otherID = mail.ID("0000000000000003")
	largeID = mail.ID("0000000000000000")
)

func TestDamagedContent(t *testing.T) {
	files := newDisk()
	s := open(t, "queue", embedded.Options{FS: files})
	for _, id := range []mail.ID{smallID, otherID, largeID} {
		mailtest.Must(t, submit(t.Context(), s, entryTo(id, "one.example")))
	}
	closeStore(t, s)
	tamper(t, files, func(db *pebble.DB) { flip(t, db, "c"+string(smallID)) })
	overwrite(t, files, "queue/bodies/0000000000000001.seg", 100_000)
	s = open(t, "queue", embedded.Options{FS: files, Clock: mail.NewManualClock(noon)})
	if _, err := s.Body(t.Context(), smallID); !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("body in the database: %v, want ErrDamaged", err)
	}
	if content, err := readBody(s, otherID); err != nil || !bytes.Equal(content, contentOf(otherID)) {
		t.Errorf("the other body: %d octets, %v", len(content), err)
	}
	content, err := readBody(s, largeID)
	if !errors.Is(err, queue.ErrDamaged) || !bytes.Equal(content, contentOf(largeID)[:len(content)]) || len(content) == 0 {
		t.Errorf("body in the log: %d octets, %v; want what comes before the damage, and ErrDamaged", len(content), err)
	}
	// What is known to be damaged is set aside, and listed, when it is claimed.
	leases, err := s.Claim(t.Context(), "one.example", 10, noon, noon.Add(time.Hour))
	if err != nil || len(leases) != 1 || leases[0].Entry.ID != otherID {
		t.Errorf("claimed %v, %v; want the one whose content can be read", leases, err)
	}
	damaged, err := s.Damaged(t.Context(), queue.Page{})
	if err != nil || len(damaged) != 2 || damaged[0].ID != largeID || damaged[1].ID != smallID ||
		damaged[1].Body != smallID || !strings.Contains(damaged[1].Cause, "content") || !damaged[1].At.Equal(noon) ||
		!strings.HasPrefix(damaged[0].Cause, "its content cannot be read: queue/bodies/0000000000000001.seg, offset ") {
		t.Errorf("damaged are %+v, %v", damaged, err)
	}
	facts, err := s.NextFacts(t.Context(), 3, 10)
	if err != nil || len(facts) != 2 || facts[1].From != "<ann@source.example>" || !slices.Equal(facts[1].To, []string{"joe@one.example"}) {
		t.Errorf("the facts are %+v, %v; want from whom and to whom", facts, err)
	}
}

// overwrite changes one octet of a file.
func overwrite(t *testing.T, files vfs.FS, path string, at int64) {
	t.Helper()
	f, err := files.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	mailtest.Must(t, err)
	octet := make([]byte, 1)
	_, err = f.ReadAt(octet, at)
	mailtest.Must(t, err)
	octet[0] ^= 4
	_, err = f.WriteAt(octet, at)
	mailtest.Must(t, errors.Join(err, f.Sync(), f.Close()))
}

// flip changes the last octet of a value.
func flip(t *testing.T, db *pebble.DB, key string) {
	t.Helper()
	value, closer, err := db.Get([]byte(key))
	mailtest.Must(t, err)
	changed := bytes.Clone(value)
	mailtest.Must(t, closer.Close())
	changed[len(changed)-1] ^= 1
	mailtest.Must(t, db.Set([]byte(key), changed, pebble.Sync))
}

// TestDamagedEntry: what cannot be read is set aside, once, with a fact; its
// body stays, and all else goes on.
func TestDamagedEntry(t *testing.T) {
	files := newDisk()
	clock := mail.NewManualClock(noon)
	s := open(t, "queue", embedded.Options{FS: files, Clock: clock})
	for _, id := range []mail.ID{smallID, otherID, largeID} {
		mailtest.Must(t, submit(t.Context(), s, entryTo(id, "one.example")))
	}
	mailtest.Must(t, s.ForgetFacts(t.Context(), 3))
	closeStore(t, s)
	tamper(t, files, func(db *pebble.DB) {
		mailtest.Must(t, db.Set([]byte("e"+string(smallID)), []byte(`{"id":`), pebble.Sync))
		mailtest.Must(t, db.Delete([]byte("e"+string(largeID)), pebble.Sync))
	})
	for range 2 {
		s = open(t, "queue", embedded.Options{FS: files, Clock: clock})
		_, err := s.Claim(t.Context(), "one.example", 10, clock.Now(), clock.Now().Add(time.Minute))
		mailtest.Must(t, err)
		entries, err := s.List(t.Context(), queue.Filter{}, queue.Page{})
		if err != nil || len(entries) != 1 || entries[0].ID != otherID {
			t.Errorf("entries are %v, %v; want the one that is not damaged", entries, err)
		}
		facts, err := s.NextFacts(t.Context(), 0, 10)
		mailtest.Must(t, err)
		var about []mail.ID
		for _, f := range facts {
			if f.Reason == mail.ReasonDamaged && f.Text != "" {
				about = append(about, f.Message)
			}
		}
		slices.Sort(about)
		if !slices.Equal(about, []mail.ID{largeID, smallID}) {
			t.Errorf("facts of damage are about %v", about)
		}
		if content, err := readBody(s, smallID); err != nil || !bytes.Equal(content, contentOf(smallID)) {
			t.Errorf("body of the damaged entry: %d octets, %v", len(content), err)
		}
		closeStore(t, s)
	}
	if all := strings.Join(keys(t, files), " "); !strings.Contains(all, "xe"+string(smallID)) || !strings.Contains(all, "xd"+string(largeID)) {
		t.Errorf("what was set aside is not among the keys: %q", all)
	}
}

// TestDamagedWhileOpen: an entry that turns out damaged when it is claimed,
// or edited, does not stop the others.
func TestDamagedWhileOpen(t *testing.T) {
	for _, byEdit := range []bool{false, true} {
		files := newDisk()
		s := open(t, "queue", embedded.Options{FS: files, Clock: mail.NewManualClock(noon)})
		mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
		mailtest.Must(t, submit(t.Context(), s, entryTo(otherID, "one.example")))
		closeStore(t, s) // so that it is read from the disk
		s = open(t, "queue", embedded.Options{FS: files, Clock: mail.NewManualClock(noon)})
		embedded.Overwrite(t, s, "d"+string(smallID)+"\x00one.example", "{}")
		if byEdit {
			f := queue.Filter{IDs: []mail.ID{smallID, otherID}}
			done, err := s.Edit(t.Context(), f, queue.Change{Kind: queue.ChangeRetry}, "operator")
			if err != nil || done.Changed != 1 {
				t.Errorf("edit: %v, %v", done, err)
			}
		}
		leases, err := s.Claim(t.Context(), "one.example", 10, noon, noon.Add(time.Hour))
		if err != nil || len(leases) != 1 || leases[0].Entry.ID != otherID {
			t.Errorf("claimed %v, %v; want the entry that is not damaged", leases, err)
		}
		if _, err = s.Get(t.Context(), smallID); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("get: %v, want ErrNotFound: it is set aside", err)
		}
	}
}

// TestDamagedPendingEdit: it is found when the lease ends, and keeps the
// delivery from being taken for settled.
func TestDamagedPendingEdit(t *testing.T) {
	clock := mail.NewManualClock(noon)
	s := open(t, "queue", embedded.Options{FS: newDisk(), Clock: clock})
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	mailtest.Must(t, submit(t.Context(), s, entryTo(otherID, "two.example")))
	leases, err := s.Claim(t.Context(), "one.example", 1, noon, noon.Add(time.Minute))
	mailtest.Must(t, err)
	_, err = s.Edit(t.Context(), queue.Filter{}, queue.Change{Kind: queue.ChangeRemove}, "operator")
	mailtest.Must(t, err)
	embedded.Overwrite(t, s, "q"+string(smallID)+"\x00one.example", "{")
	if err := settleAs(t.Context(), s, leases[0], mail.Deferred); !errors.Is(err, queue.ErrDamaged) || s.Leased() != 1 {
		t.Errorf("settle: %v, and %d leases; want ErrDamaged and nothing done", err, s.Leased())
	}
	clock.Advance(time.Minute)
	if _, err := s.Due(t.Context(), clock.Now(), 1); err != nil {
		t.Errorf("due: %v", err)
	}
	if _, err := s.Get(t.Context(), smallID); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("get: %v, want ErrNotFound: it is set aside", err)
	}
}

// TestNothingIsLeft: when all mail has gone, so has all that was stored for it.
func TestNothingIsLeft(t *testing.T) {
	files := newDisk()
	clock := mail.NewManualClock(noon)
	s := open(t, "queue", embedded.Options{FS: files, Clock: clock})
	ctx := t.Context()
	for _, id := range []mail.ID{smallID, otherID, largeID} {
		mailtest.Must(t, submit(ctx, s, entryTo(id, "one.example")))
	}
	for attempt := range 4 { // later attempts are registered, lost, released, deferred
		leases, err := s.Claim(ctx, "one.example", 10, clock.Now(), clock.Now().Add(time.Minute))
		mailtest.Must(t, err)
		_, err = s.Edit(ctx, queue.Filter{}, queue.Change{Kind: queue.ChangeRetry}, "operator")
		mailtest.Must(t, err)
		switch attempt {
		case 0, 1:
			clock.Advance(time.Minute)
		case 2:
			mailtest.Must(t, s.Release(ctx, leases, clock.Now()))
		case 3:
			mailtest.Must(t, settleAs(ctx, s, leases[0], mail.Delivered))
			mailtest.Must(t, settleAs(ctx, s, leases[1], mail.Deferred))
			mailtest.Must(t, settleAs(ctx, s, leases[2], mail.Deferred))
		}
	}
	_, err := s.Edit(ctx, queue.Filter{}, queue.Change{Kind: queue.ChangeReroute, Destination: "two.example"}, "operator")
	mailtest.Must(t, err)
	_, err = s.Edit(ctx, queue.Filter{}, queue.Change{Kind: queue.ChangeRemove}, "operator")
	mailtest.Must(t, err)
	mailtest.Must(t, s.ForgetFacts(ctx, 1000))
	closeStore(t, s)
	if all := keys(t, files); !slices.Equal(all, []string{"g"}) {
		t.Errorf("keys left: %q, want none but the last forgotten fact", all)
	}
}

// TestUnreferencedBody: a large body is written ahead of its commit. When
// that never comes, it goes: at once when the caller lives, else at opening.
func TestUnreferencedBody(t *testing.T) {
	files := newDisk()
	s := open(t, "queue", embedded.Options{FS: files})
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	d, err := s.Create(t.Context())
	mailtest.Must(t, err)
	_, err = d.Write(contentOf(largeID))
	mailtest.Must(t, err)
	refused := queue.Group{Submissions: []queue.Submission{{Entry: entryTo(largeID, "one.example"), Draft: d}, {Entry: entryTo(otherID, "one.example")}}}
	refused.Submissions[1].Entry.Body = "0000000000000005" // is not there
	if err := s.Accept(t.Context(), refused); !errors.Is(err, queue.ErrNotFound) {
		t.Fatalf("accept: %v, want ErrNotFound", err)
	}
	closeStore(t, s)
	if all := strings.Join(keys(t, files), " "); strings.Contains(all, string(largeID)) {
		t.Errorf("keys of a body that was refused: %q", all)
	}

	s = open(t, "queue", embedded.Options{FS: files, Failed: func(error) {}})
	files.failSync(1)
	if err := submit(t.Context(), s, entryTo(largeID, "one.example")); !errors.Is(err, queue.ErrUnknown) {
		t.Fatalf("accept: %v, want ErrUnknown", err)
	}
	after := diskOn(files.memory.CrashClone(vfs.CrashCloneCfg{}))
	closeStore(t, open(t, "queue", embedded.Options{FS: after}))
	for _, k := range keys(t, after) {
		if strings.Contains(k, string(largeID)) {
			t.Errorf("key of a body whose commit failed: %q", k)
		}
	}
}

func TestIncomingIsCleared(t *testing.T) {
	files := newDisk()
	s := open(t, "queue", embedded.Options{FS: files})
	d, err := s.Create(t.Context())
	mailtest.Must(t, err)
	_, err = d.Write(contentOf(largeID))
	mailtest.Must(t, err)
	if names, _ := files.List("queue/incoming"); len(names) != 1 {
		t.Fatalf("files of a large draft: %q", names)
	}
	closeStore(t, s) // with the draft left behind
	s = open(t, "queue", embedded.Options{FS: files})
	if names, _ := files.List("queue/incoming"); len(names) != 0 {
		t.Errorf("files after opening: %q", names)
	}
	mailtest.Must(t, submit(t.Context(), s, entryTo(largeID, "one.example")))
	if names, _ := files.List("queue/incoming"); len(names) != 0 {
		t.Errorf("files after a draft was taken: %q", names)
	}
}

// TestFullDisk: told before anything is stored, and nothing is lost by it.
func TestFullDisk(t *testing.T) {
	files := newDisk()
	s := open(t, "queue", embedded.Options{FS: files, Reserve: 1000, Clock: mail.NewManualClock(noon)})
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	files.memory.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 999, TotalBytes: 10000})
	if err := submit(t.Context(), s, entryTo(otherID, "one.example")); !errors.Is(err, queue.ErrFull) {
		t.Errorf("accept: %v, want ErrFull", err)
	}
	s.Reserve(999)
	mailtest.Must(t, submit(t.Context(), s, entryTo(largeID, "two.example")))
	s.Reserve(1000)
	leases, err := s.Claim(t.Context(), "one.example", 1, noon, noon.Add(time.Hour))
	mailtest.Must(t, err)
	mailtest.Must(t, settleAs(t.Context(), s, leases[0], mail.Delivered)) // what makes room goes on
	files.memory.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1000, TotalBytes: 10000})
	mailtest.Must(t, submit(t.Context(), s, entryTo(otherID, "one.example")))

	mailtest.Must(t, s.Close())
	files.memory.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 499, TotalBytes: 10000})
	if _, err := embedded.Open("queue", embedded.Options{FS: files, Reserve: 1000}); !errors.Is(err, queue.ErrFull) {
		t.Errorf("open: %v, want ErrFull", err)
	}
	files.memory.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 500, TotalBytes: 10000})
	s = open(t, "queue", embedded.Options{FS: files, Reserve: 1000})
	if _, err := s.Get(t.Context(), otherID); err != nil {
		t.Errorf("after the disk was full: %v", err)
	}
}

func TestFullDiskForDraft(t *testing.T) {
	full := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "incoming") {
			return syscall.ENOSPC
		}
		return nil
	})
	s := open(t, "queue", embedded.Options{FS: errorfs.Wrap(vfs.NewMem(), full)})
	d, err := s.Create(t.Context())
	mailtest.Must(t, err)
	if _, err := d.Write(contentOf(largeID)); !errors.Is(err, queue.ErrFull) {
		t.Errorf("write: %v, want ErrFull", err)
	}
	d.Discard()
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
}

// TestBodyOpenAtClose: reading goes on until the store is closed, not longer.
func TestBodyOpenAtClose(t *testing.T) {
	s := open(t, "queue", embedded.Options{FS: newDisk()})
	mailtest.Must(t, submit(t.Context(), s, entryTo(largeID, "one.example")))
	b, err := s.Body(context.Background(), largeID)
	mailtest.Must(t, err)
	closeStore(t, s)
	if _, err := b.ReadAt(make([]byte, 10), 300_000); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("read: %v, want ErrClosed", err)
	}
	mailtest.Must(t, b.Close())
}

// TestRefusedAndAcceptedAgain: what was written for an entry that was refused
// has gone when the refusal is told. Else it would go later, under the same
// name, and take along what the second try has stored.
func TestRefusedAndAcceptedAgain(t *testing.T) {
	const ownID = mail.ID("00000000000000h1")
	files := newDisk()
	s := open(t, "queue", embedded.Options{FS: files})
	d, err := s.Create(t.Context())
	mailtest.Must(t, err)
	_, err = d.Write(contentOf(ownID))
	mailtest.Must(t, err)
	refused := queue.Group{Submissions: []queue.Submission{{Entry: entryTo(ownID, "one.example"), Draft: d}, {Entry: entryTo(otherID, "one.example")}}}
	refused.Submissions[1].Entry.Body = "0000000000000005" // is not there
	for range 20 {
		if err := s.Accept(t.Context(), refused); !errors.Is(err, queue.ErrNotFound) {
			t.Fatalf("accept: %v, want ErrNotFound", err)
		}
		if names, err := files.List("queue/bodies"); err != nil || len(names) > 0 {
			t.Fatalf("left of an entry that was refused: %q, %v", names, err)
		}
	}
	mailtest.Must(t, s.Accept(t.Context(), queue.Group{Submissions: refused.Submissions[:1]}))
	if content, err := readBody(s, ownID); err != nil || !bytes.Equal(content, contentOf(ownID)) {
		t.Errorf("%d octets, %v", len(content), err)
	}
}

// TestDatabaseGone: a store whose database has gone is damaged, also when all
// its mail was in there; it is not taken for a new one.
func TestDatabaseGone(t *testing.T) {
	files := newDisk()
	s := open(t, "queue", embedded.Options{FS: files, Clock: mail.NewManualClock(noon)})
	mailtest.Must(t, submitContent(t.Context(), s, entryTo(smallID, "one.example"), []byte("small")))
	closeStore(t, s)
	mailtest.Must(t, files.RemoveAll("queue/db-2"))
	if _, err := embedded.Open("queue", embedded.Options{FS: files}); !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("open: %v, want ErrDamaged", err)
	}
}
