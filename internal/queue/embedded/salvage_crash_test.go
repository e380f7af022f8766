package embedded_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/pebblefile"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// cutting is a disk that remembers how it was before the nth operation that
// changes something, for whoever goes on from there: killed is all that was
// done by then, left what a power cut would have left of it.
type cutting struct {
	vfs.FS
	memory *vfs.MemFS
	random *rand.Rand

	mu           sync.Mutex
	n            int
	killed, left vfs.FS // nil when there were fewer operations
}

func newCutting(memory *vfs.MemFS, n int) *cutting {
	c := &cutting{memory: memory, n: n, random: rand.New(rand.NewPCG(21, uint64(n)))}
	c.FS = errorfs.Wrap(memory, errorfs.InjectorFunc(c.count))
	return c
}

func (c *cutting) count(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 {
		c.killed = vfs.NewMem()
		if _, err := vfs.Clone(c.memory, c.killed, "", ""); err != nil {
			return err
		}
		c.left = c.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.random.IntN(101), RNG: c.random})
	}
	return nil
}

// crashable is a copy of the files of a harmed store, all of it durable.
func (h *harmed) crashable(t *testing.T, harm func(vfs.FS)) *vfs.MemFS {
	t.Helper()
	files := h.copied(t)
	harm(files)
	other := vfs.NewCrashableMem()
	if _, err := vfs.Clone(files, other, "queue", "queue", vfs.CloneSync); err != nil {
		t.Fatal(err)
	}
	syncNames(t, other, "")
	return other
}

// syncNames makes all names below a directory durable.
func syncNames(t *testing.T, files vfs.FS, dir string) {
	t.Helper()
	d, err := files.OpenDir(dir)
	mailtest.Must(t, err)
	mailtest.Must(t, errors.Join(d.Sync(), d.Close()))
	names, err := files.List(dir)
	mailtest.Must(t, err)
	for _, name := range names {
		path := files.PathJoin(dir, name)
		if info, err := files.Stat(path); err == nil && info.IsDir() {
			syncNames(t, files, path)
		}
	}
}

// fileOf is the path of the last file of the database with that in its name.
func fileOf(t *testing.T, files vfs.FS, part string) string {
	t.Helper()
	found := ""
	for path := range paths(t, files, "queue/db-2") {
		if strings.Contains(path, part) && (found == "" || path > found) {
			found = path
		}
	}
	if found == "" {
		t.Fatalf("no file of the database is called %q", part)
	}
	return found
}

// TestSalvageCut kills a salvage, or cuts the power, before each of its
// operations. Whether the server is started then or the salvage called again:
// in the end there is what an undisturbed salvage would have left.
func TestSalvageCut(t *testing.T) {
	step := 4
	if mailtest.Long() {
		step = 1
	}
	h := newHarmed(t, false)
	for _, part := range []string{"MANIFEST", ".log"} {
		harm := func(files vfs.FS) { flipBit(t, files, fileOf(t, files, part), 8*20) }
		want := h.salvaged(t, h.crashable(t, harm), false)
		cuts := 0
		for n := 1; ; n += step {
			disk := newCutting(h.crashable(t, harm), n)
			o := h.options
			o.FS = disk
			if _, err := embedded.Salvage(t.Context(), "queue", o, nil, func(queue.Progress) {}); err != nil {
				t.Fatal(err)
			}
			if disk.left == nil {
				break
			}
			cuts++
			for how, left := range map[string]vfs.FS{"killed": disk.killed, "cut": disk.left} {
				for _, start := range []bool{true, false} {
					files := (&harmed{files: left}).copied(t)
					if got := h.salvaged(t, files, start); !maps.Equal(got, want) {
						t.Errorf("%s: %s before operation %d, started first %t: %d entries, want %d", part, how, n, start, len(got), len(want))
					}
				}
			}
			if t.Failed() {
				return
			}
		}
		if t.Logf("%s: %d cuts", part, cuts); cuts < 20 {
			t.Errorf("%s: %d cuts are too few to say anything", part, cuts)
		}
	}
}

// salvaged salvages a store, after a start when that comes first, and returns
// the states of its entries.
func (h *harmed) salvaged(t *testing.T, files vfs.FS, start bool) map[mail.ID]mail.State {
	t.Helper()
	o := h.options
	o.FS = files
	if start {
		s, err := embedded.Open("queue", o)
		if err == nil { // the salvage had come to its end
			return statesOf(t, s)
		}
		if !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("start: %v", err)
		}
	}
	if _, err := embedded.Salvage(t.Context(), "queue", o, nil, func(queue.Progress) {}); err != nil {
		t.Errorf("salvage: %v", err)
		return nil
	}
	return statesOf(t, open(t, "queue", o))
}

// statesOf returns the states of all entries, "" for what is set aside, and
// closes the store.
func statesOf(t *testing.T, s *embedded.Store) map[mail.ID]mail.State {
	t.Helper()
	states := make(map[mail.ID]mail.State)
	entries, err := s.List(t.Context(), queue.Filter{}, queue.Page{Limit: queue.MaxPage})
	mailtest.Must(t, err)
	for _, e := range entries {
		states[e.ID] = e.Deliveries[0].Recipients[0].State
	}
	damaged, err := s.Damaged(t.Context(), queue.Page{})
	mailtest.Must(t, err)
	for _, d := range damaged {
		states[d.ID] = ""
	}
	mailtest.Must(t, s.Close())
	return states
}

// TestSalvageOnFullDisk lets the disk become full at each operation of a
// salvage. It fails and comes to an end; with room on the disk the next one
// does all there is to do.
func TestSalvageOnFullDisk(t *testing.T) {
	step := 4
	if mailtest.Long() {
		step = 1
	}
	h := newHarmed(t, false)
	harm := func(files vfs.FS) { flipBit(t, files, fileOf(t, files, "MANIFEST"), 8*20) }
	want := h.salvaged(t, h.crashable(t, harm), false)
	failed := 0
	for n := int64(1); ; n += int64(step) {
		files := h.crashable(t, harm)
		var done atomic.Int64
		full := errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpCreate, errorfs.OpMkdirAll, errorfs.OpRename, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData:
				if done.Add(1) >= n {
					return syscall.ENOSPC
				}
			}
			return nil
		})
		o := h.options
		o.FS = errorfs.Wrap(files, full)
		_, err := embedded.Salvage(t.Context(), "queue", o, nil, func(queue.Progress) {})
		if done.Load() < n {
			break
		}
		if failed++; !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("full at operation %d: %v", n, err)
		}
		if got := h.salvaged(t, files, false); !maps.Equal(got, want) {
			t.Errorf("full at operation %d: %d entries, want %d", n, len(got), len(want))
		}
	}
	if failed < 20 {
		t.Errorf("%d failures are too few to say anything", failed)
	}
}

// TestSalvageBeforeMigration: when a salvage was killed between its last two
// steps, and the database of the older format had not gone yet, the salvaged
// one is what the store goes on with.
func TestSalvageBeforeMigration(t *testing.T) {
	h := newHarmed(t, true)
	o := h.options
	o.FS = h.copied(t)
	mailtest.Must(t, o.FS.Rename("queue/db-2", "queue/db-2.salvaged"))
	db, err := pebble.Open("queue/db", &pebble.Options{FS: o.FS, Logger: quiet{}}) // with nothing in it
	mailtest.Must(t, errors.Join(err, db.Close()))
	if states := statesOf(t, open(t, "queue", o)); !maps.Equal(states, h.stored) {
		t.Errorf("%d entries, want %d", len(states), len(h.stored))
	}
}

// TestSalvageWritesHeadersOnce: when an entry ends its header is removed by a
// deletion that is good for one version only; another would come back.
func TestSalvageWritesHeadersOnce(t *testing.T) {
	o := embedded.Options{FS: vfs.NewMem(), Clock: mail.NewManualClock(noon)}
	s := open(t, "queue", o)
	for i := range 40 { // more than Pebble has in one table in memory
		e := entryTo(mail.ID(fmt.Sprintf("%016d", i)), "one.example")
		e.Deliveries[0].Recipients[0].Original = strings.Repeat("x", 1<<20)
		mailtest.Must(t, submit(t.Context(), s, e))
	}
	mailtest.Must(t, s.Close())
	flipBit(t, o.FS, fileOf(t, o.FS, "MANIFEST"), 8*20)
	if r, err := embedded.Salvage(t.Context(), "queue", o, nil, func(queue.Progress) {}); err != nil || r.Held != 40 {
		t.Fatalf("%+v, %v", r, err)
	}
	d, err := pebblefile.Open(o.FS, "queue/db-2")
	mailtest.Must(t, err)
	versions := make(map[string]int)
	_, err = d.Read(func(r pebblefile.Row) error {
		if r.Key[0] == 'e' {
			versions[string(r.Key)]++
		}
		return nil
	}, func(pebblefile.File) {})
	mailtest.Must(t, err)
	for k, n := range versions {
		if n != 1 {
			t.Errorf("there are %d versions of %q", n, k)
		}
	}
	if len(versions) != 40 {
		t.Errorf("there are %d headers", len(versions))
	}
}

// TestSalvageKeepsContents: what of an entry that cannot be put together is
// its content stays, whether it was set aside before or by the salvage.
func TestSalvageKeepsContents(t *testing.T) {
	for _, before := range []string{"not", "before", "before, and its record is lost"} {
		o := embedded.Options{FS: vfs.NewMem(), Clock: mail.NewManualClock(noon)}
		s := open(t, "queue", o)
		mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
		mailtest.Must(t, s.Close())
		if before == "not" {
			tamper(t, o.FS, func(db *pebble.DB) { mailtest.Must(t, db.Set([]byte("e"+smallID), []byte("{"), pebble.Sync)) })
		} else {
			tamper(t, o.FS, func(db *pebble.DB) { mailtest.Must(t, db.Delete([]byte("e"+smallID), pebble.Sync)) })
			mailtest.Must(t, open(t, "queue", o).Close())
		}
		if strings.HasSuffix(before, "lost") {
			tamper(t, o.FS, func(db *pebble.DB) { mailtest.Must(t, db.Delete([]byte("y"+smallID), pebble.Sync)) })
		}
		flipBit(t, o.FS, fileOf(t, o.FS, "MANIFEST"), 8*20)
		if r, err := embedded.Salvage(t.Context(), "queue", o, nil, func(queue.Progress) {}); err != nil || r.Old == "" {
			t.Fatalf("%+v, %v", r, err)
		}
		s = open(t, "queue", o)
		content, err := readBody(s, smallID)
		damaged, failed := s.Damaged(t.Context(), queue.Page{})
		if err = errors.Join(err, failed); err != nil || string(content) != string(contentOf(smallID)) || len(damaged) != 1 {
			t.Errorf("set aside %s: %d octets of content, %+v, %v", before, len(content), damaged, err)
		}
		mailtest.Must(t, s.Close())
	}
}

// TestSalvageOfTheEnded: an entry whose header was removed has ended, whatever
// else damage has kept of it.
func TestSalvageOfTheEnded(t *testing.T) {
	o := embedded.Options{FS: vfs.NewMem(), Clock: mail.NewManualClock(noon), InlineSize: -1}
	s := open(t, "queue", o)
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	mailtest.Must(t, submit(t.Context(), s, entryTo(otherID, "two.example"))) // which keeps the segment
	mailtest.Must(t, s.Close())
	tamper(t, o.FS, func(db *pebble.DB) { mailtest.Must(t, db.Flush()) })
	s = open(t, "queue", o)
	leases, err := s.Claim(t.Context(), "one.example", 1, noon, noon.Add(time.Hour))
	mailtest.Must(t, err)
	mailtest.Must(t, settleAs(t.Context(), s, leases[0], mail.Delivered))
	embedded.Overwrite(t, s, "u"+string(smallID)+"\x00"+string(smallID), "") // as if its removal had been lost
	mailtest.Must(t, s.Close())
	h := &harmed{files: o.FS, options: o}
	flipBit(t, o.FS, fileOf(t, o.FS, "MANIFEST"), 8*20)
	if got := h.salvaged(t, o.FS, false); !maps.Equal(got, map[mail.ID]mail.State{otherID: mail.Held}) {
		t.Errorf("after the salvage: %v", got)
	}
}

// TestSalvageOfTheUnfinished: an entry of which one recipient is final has not
// ended, though a fact of an end is all that the database has of it.
func TestSalvageOfTheUnfinished(t *testing.T) {
	clock := mail.NewManualClock(noon)
	o := embedded.Options{FS: vfs.NewMem(), Clock: clock, InlineSize: -1}
	s := open(t, "queue", o)
	e := entryTo(smallID, "one.example")
	e.Deliveries = append(e.Deliveries, entryTo(smallID, "two.example").Deliveries...)
	mailtest.Must(t, submit(t.Context(), s, e))
	leases, err := s.Claim(t.Context(), "one.example", 2, noon, noon.Add(time.Minute))
	mailtest.Must(t, err)
	for i, l := range leases {
		mailtest.Must(t, s.Settle(t.Context(), []queue.Settlement{{
			Lease: l, Next: noon.Add(time.Duration(i) * time.Hour), Outcomes: []mail.Outcome{{State: mail.Deferred, Attempt: 1, At: noon}},
		}}))
	}
	mailtest.Must(t, s.Close())
	tamper(t, o.FS, func(db *pebble.DB) { mailtest.Must(t, db.Flush()) })
	clock.Advance(2 * time.Minute)
	s = open(t, "queue", o)
	leases, err = s.Claim(t.Context(), "one.example", 1, clock.Now(), clock.Now().Add(time.Minute))
	mailtest.Must(t, err)
	mailtest.Must(t, settleAs(t.Context(), s, leases[0], mail.Delivered))
	mailtest.Must(t, s.Close())
	mailtest.Must(t, o.FS.Remove(fileOf(t, o.FS, ".sst")))
	h := &harmed{files: o.FS, options: o}
	if got := h.salvaged(t, o.FS, false); got[smallID] != mail.Held {
		t.Errorf("after the salvage: %v", got)
	}
}
