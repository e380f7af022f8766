package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// harmed is a store as a crash or a stop has left it, and what was in it.
type harmed struct {
	files   vfs.FS
	stored  map[mail.ID]mail.State // what became of each entry: queued, deferred or held
	ended   map[mail.ID]bool
	options embedded.Options
}

// newHarmed fills a store so that all its parts hold something: tables of an
// earlier life, a log, segments, a file of its own, held and deferred mail.
func newHarmed(t *testing.T, stopped bool) *harmed {
	t.Helper()
	memory := vfs.NewCrashableMem()
	h := &harmed{files: memory, stored: make(map[mail.ID]mail.State), ended: make(map[mail.ID]bool)}
	h.options = embedded.Options{Clock: mail.NewManualClock(noon), InlineSize: 1000, SegmentSize: 100_000}
	for life := range 3 {
		o := h.options
		o.FS = memory
		s := open(t, "queue", o)
		for i := range 40 {
			h.fill(t, s, mail.ID(fmt.Sprintf("%012d%04d", life, i)))
		}
		h.deliver(t, s)
		if life == 2 && !stopped {
			h.files = memory.CrashClone(vfs.CrashCloneCfg{})
		}
		mailtest.Must(t, s.Close())
	}
	return h
}

// harmedContent is the content of an entry, in the database, in a segment, or
// in a file of its own.
func harmedContent(id mail.ID) []byte {
	n, _ := strconv.Atoi(string(id[12:]))
	size := []int{100, 900, 1500, 9000}[n%4]
	if n == 7 {
		size = 1_100_000
	}
	return bytes.Repeat([]byte(id), size/len(id)+1)
}

func (h *harmed) fill(t *testing.T, s *embedded.Store, id mail.ID) {
	t.Helper()
	mailtest.Must(t, submitContent(t.Context(), s, entryTo(id, "one.example"), harmedContent(id)))
	h.stored[id] = mail.Queued
}

// deliver ends some entries, defers some, and has an operator hold some.
func (h *harmed) deliver(t *testing.T, s *embedded.Store) {
	t.Helper()
	leases, err := s.Claim(t.Context(), "one.example", 200, noon, noon.Add(time.Hour))
	mailtest.Must(t, err)
	var settlements []queue.Settlement
	for i, l := range leases {
		state := mail.Delivered
		if i%2 == 0 {
			state = mail.Deferred
		}
		id := l.Entry.ID
		settlements = append(settlements, queue.Settlement{
			Lease: l, Next: noon.Add(time.Hour), Outcomes: []mail.Outcome{{State: state, Attempt: l.Attempt(), At: noon}},
			Facts: []mail.Fact{{Time: noon, Reason: mail.ReasonFor(state), Message: id, To: []string{"<joe@one.example>"}}},
		})
		if h.stored[id] = state; state.Final() {
			delete(h.stored, id)
			h.ended[id] = true
		}
	}
	mailtest.Must(t, s.Settle(t.Context(), settlements))
	held := 0
	for id := range h.stored {
		if held++; held > 5 {
			return
		}
		_, err := s.Edit(t.Context(), queue.Filter{IDs: []mail.ID{id}}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}, "operator")
		mailtest.Must(t, err)
		h.stored[id] = mail.Held
	}
}

// copied is the files of the store in a file system of their own.
func (h *harmed) copied(t *testing.T) vfs.FS {
	t.Helper()
	other := vfs.NewMem()
	if _, err := vfs.Clone(h.files, other, "queue", "queue"); err != nil {
		t.Fatal(err)
	}
	return other
}

// paths are all files below a directory that have octets.
func paths(t *testing.T, files vfs.FS, dir string) map[string]int64 {
	t.Helper()
	found := make(map[string]int64)
	names, err := files.List(dir)
	mailtest.Must(t, err)
	for _, name := range names {
		path := files.PathJoin(dir, name)
		info, err := files.Stat(path)
		mailtest.Must(t, err)
		if info.IsDir() {
			maps.Copy(found, paths(t, files, path))
		} else if info.Size() > 0 {
			found[path] = info.Size()
		}
	}
	return found
}

// flipBit flips one bit of a file.
func flipBit(t *testing.T, files vfs.FS, path string, bit int64) {
	t.Helper()
	f, err := files.Open(path)
	mailtest.Must(t, err)
	data, err := io.ReadAll(f)
	mailtest.Must(t, errors.Join(err, f.Close()))
	data[bit/8] ^= 1 << (bit % 8)
	w, err := files.Create(path, vfs.WriteCategoryUnspecified)
	mailtest.Must(t, err)
	_, err = w.Write(data)
	mailtest.Must(t, errors.Join(err, w.Close()))
}

// TestFlippedBit flips bits all over the files of a store, one at a time.
// Either the store opens, or it says where the damage is and opens after a
// salvage. No content is wrong, every entry is there or listed as damaged, and
// what was ended is not sent again.
func TestFlippedBit(t *testing.T) {
	samples := mailtest.Number(t, "FLIPS", 150)
	random := rand.New(rand.NewPCG(9, 10))
	refused, salvaged := 0, 0
	for _, stopped := range []bool{true, false} {
		h := newHarmed(t, stopped)
		all := paths(t, h.files, "queue")
		for path, size := range all {
			for range max(2, samples/len(all)/2) {
				bit := random.Int64N(size * 8)
				files := h.copied(t)
				flipBit(t, files, path, bit)
				f := flippedStore{harmed: h, files: files, path: path, stopped: stopped}
				f.check(t)
				refused += f.refused
				salvaged += f.salvaged
				if t.Failed() {
					t.Fatalf("stopped %t, %s of %d octets, bit %d (octet %d)", stopped, path, size, bit, bit/8)
				}
			}
		}
	}
	t.Logf("%d starts refused, %d salvaged", refused, salvaged)
	if salvaged < 10 {
		t.Error("hardly any damage needed a salvage")
	}
}

// TestTwoFlippedBits does the same with two bits in different files.
func TestTwoFlippedBits(t *testing.T) {
	samples := mailtest.Number(t, "FLIPS", 150)
	random := rand.New(rand.NewPCG(13, 14))
	salvaged := 0
	for _, stopped := range []bool{true, false} {
		h := newHarmed(t, stopped)
		all := paths(t, h.files, "queue")
		names := slices.Sorted(maps.Keys(all))
		for range samples / 2 {
			files := h.copied(t)
			two := random.Perm(len(names))[:2]
			f := flippedStore{harmed: h, files: files, stopped: stopped}
			what := ""
			for _, i := range two {
				bit := random.Int64N(all[names[i]] * 8)
				flipBit(t, files, names[i], bit)
				what += fmt.Sprintf("%s of %d octets, octet %d; ", names[i], all[names[i]], bit/8)
				if f.path == "" || strings.HasSuffix(names[i], ".log") {
					f.path = names[i]
				}
			}
			f.check(t)
			salvaged += f.salvaged
			if t.Failed() {
				t.Fatalf("stopped %t, %s", stopped, what)
			}
		}
	}
	t.Logf("%d salvaged", salvaged)
}

// flippedStore is a store with a bit flipped.
type flippedStore struct {
	*harmed
	files             vfs.FS
	path              string
	stopped           bool
	refused, salvaged int
}

// check opens it, salvages it if it does not open, and compares.
func (f *flippedStore) check(t *testing.T) {
	t.Helper()
	o := f.options
	o.FS = f.files
	s, err := embedded.Open("queue", o)
	held := false
	if err != nil {
		f.refused++
		if !strings.Contains(err.Error(), "queue/") {
			t.Errorf("it does not open, and no place is told: %v", err)
		}
		result, err := embedded.Salvage(t.Context(), "queue", o, nil, func(queue.Progress) {})
		if err != nil {
			t.Errorf("salvage: %v", err)
			return
		}
		if result.Old != "" {
			f.salvaged++
		}
		held = result.Held > 0
		if s, err = embedded.Open("queue", o); err != nil {
			t.Errorf("after the salvage: %v", err)
			return
		}
	}
	defer s.Close()
	f.compare(t, s, held)
}

func (f *flippedStore) compare(t *testing.T, s *embedded.Store, salvaged bool) {
	t.Helper()
	found := f.readAll(t, s)
	damaged := make(map[mail.ID]bool)
	list, err := s.Damaged(t.Context(), queue.Page{})
	mailtest.Must(t, err)
	for _, d := range list {
		damaged[d.ID] = true
	}
	lost, other := 0, 0
	for id, state := range f.stored {
		switch got, ok := found[id]; {
		case ok && got != state && !(salvaged && got == mail.Held):
			other++ // what the last record of the log said
		case !ok && !damaged[id]:
			lost++
		}
	}
	for id := range found {
		if _, known := f.stored[id]; !known && !f.ended[id] {
			t.Errorf("entry %s never was", id)
		}
		if f.ended[id] && found[id] != mail.Held {
			other++
		}
	}
	// Of a log that was not closed the last record is what nobody can tell
	// from a torn write: here it is an edit of one entry.
	most := 0
	if !f.stopped && strings.HasSuffix(f.path, ".log") {
		most = 1
	}
	if lost > 0 || other > most {
		t.Errorf("%d entries are lost, %d in a state they were not in; %d are damaged, %d there", lost, other, len(damaged), len(found))
	}
}

// readAll claims and reads everything, and returns the states of what can be
// read. A content is right, or said to be damaged.
func (f *flippedStore) readAll(t *testing.T, s *embedded.Store) map[mail.ID]mail.State {
	t.Helper()
	found := make(map[mail.ID]mail.State)
	ids := make(map[mail.ID]bool)
	maps.Copy(ids, f.ended)
	for id := range f.stored {
		ids[id] = true
	}
	for id := range ids {
		e, err := s.Get(t.Context(), id)
		if err != nil {
			continue
		}
		content, err := readBody(s, e.Body)
		if err != nil && !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("content of %s: %v", id, err)
		}
		if err == nil && !bytes.Equal(content, harmedContent(id)) {
			t.Errorf("content of %s: %d octets of something else", id, len(content))
		}
		found[id] = e.Deliveries[0].Recipients[0].State
	}
	// A claim sets aside what was found damaged.
	leases, err := s.Claim(t.Context(), "one.example", 1000, noon.Add(2*time.Hour), noon.Add(3*time.Hour))
	if err != nil {
		t.Errorf("claim: %v", err)
	}
	for _, l := range leases {
		found[l.Entry.ID] = l.Entry.Deliveries[0].Recipients[0].State
	}
	return found
}

// TestVerify finds the damage that was done, and no other.
func TestVerify(t *testing.T) {
	h := newHarmed(t, true)
	o := h.options
	o.FS = h.copied(t)
	told := 0
	v, err := embedded.Verify(t.Context(), "queue", o, func(p queue.Progress) {
		if told++; p.Done > p.Total {
			t.Errorf("%d of %d octets are read", p.Done, p.Total)
		}
	})
	if err != nil || v.Flaws.Count != 0 || v.Entries != len(h.stored) || v.Bodies != len(h.stored) || told < 10 {
		t.Errorf("of an intact store with %d entries: %+v, %v; progress was told %d times", len(h.stored), v, err, told)
	}
	for path, size := range paths(t, o.FS, "queue/bodies") {
		o.FS = h.copied(t)
		flipBit(t, o.FS, path, size*8/2)
		v, err := embedded.Verify(t.Context(), "queue", o, func(queue.Progress) {})
		if err != nil || v.Flaws.Count > 1 {
			t.Errorf("%s: %+v, %v", path, v, err)
		}
	}
}

// TestSalvageWithoutDatabase brings back what the body log knows, whether the
// files with data are gone, or all files, or the directory. No start takes
// that for a new store.
func TestSalvageWithoutDatabase(t *testing.T) {
	for gone, remove := range map[string]func(files vfs.FS) error{
		"tables and logs": func(files vfs.FS) error {
			var errs []error
			for path := range paths(t, files, "queue/db-2") {
				if strings.HasSuffix(path, ".sst") || strings.HasSuffix(path, ".log") {
					errs = append(errs, files.Remove(path))
				}
			}
			return errors.Join(errs...)
		},
		"files": func(files vfs.FS) error {
			return errors.Join(files.RemoveAll("queue/db-2"), files.MkdirAll("queue/db-2", 0o700))
		},
		"directory": func(files vfs.FS) error { return files.RemoveAll("queue/db-2") },
	} {
		t.Run(gone, func(t *testing.T) { testSalvageWithoutDatabase(t, remove) })
	}
}

func testSalvageWithoutDatabase(t *testing.T, remove func(vfs.FS) error) {
	h := newHarmed(t, true)
	o := h.options
	o.FS = h.copied(t)
	mailtest.Must(t, remove(o.FS))
	if _, err := embedded.Open("queue", o); !errors.Is(err, queue.ErrDamaged) {
		t.Fatalf("a store without its tables: %v", err)
	}
	if v, err := embedded.Verify(t.Context(), "queue", o, func(queue.Progress) {}); err != nil || v.Flaws.Count != 1 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	const copied = 5000 // facts that the journal has
	past := func(embedded.Question) (embedded.History, error) {
		var open []mail.Fact
		for id := range h.stored {
			open = append(open, mail.Fact{Reason: mail.ReasonAccepted, Message: id, From: "<ann@source.example>", To: []string{"<joe@one.example>"}})
		}
		return embedded.History{Ended: h.ended, Open: open, Last: copied}, nil
	}
	result, err := embedded.Salvage(t.Context(), "queue", o, past, func(queue.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, "queue", o)
	inLog := 0
	for id := range h.stored {
		e, err := s.Get(context.Background(), id)
		if len(harmedContent(id)) <= 1000 {
			if !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("%s, which was in the database alone: %v", id, err)
			}
			continue
		}
		inLog++
		if err != nil || e.Deliveries[0].Recipients[0].State != mail.Held || e.Deliveries[0].Recipients[0].Hold != mail.HoldDamage {
			t.Errorf("%s is not held: %+v, %v", id, e, err)
		}
	}
	facts, err := s.NextFacts(t.Context(), copied, 10_000)
	if err != nil || len(facts) != len(h.stored) || facts[0].N != copied+1 || result.Facts != 0 {
		t.Errorf("%d facts behind those of the journal, %d lost, %v; want one for each that is held or set aside", len(facts), result.Facts, err)
	}
	if result.Held != inLog || result.Entries != inLog || result.Lost.Count != len(h.stored)-inLog {
		t.Errorf("of %d entries, %d in the body log: %+v", len(h.stored), inLog, result)
	}
	for id := range h.ended {
		if _, err := s.Get(context.Background(), id); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("%s, which the journal knows to have ended: %v", id, err)
		}
	}
	mailtest.Must(t, s.ForgetFacts(t.Context(), copied)) // as the journal has it done when the server starts
	if facts, err := s.NextFacts(t.Context(), 0, 1000); err != nil || len(facts) != len(h.stored) || facts[0].N != copied+1 {
		t.Errorf("of %d entries that were held or set aside there are %d facts: %+v, %v", len(h.stored), len(facts), facts, err)
	}
}

// TestNoStore: where there is none, that is told.
func TestNoStore(t *testing.T) {
	for _, name := range []string{"", "queue", "queue/db", "queue/db-2.salvaged"} {
		files := vfs.NewMem()
		mailtest.Must(t, files.MkdirAll(name, 0o700))
		_, err := embedded.Verify(t.Context(), "queue", embedded.Options{FS: files}, func(queue.Progress) {})
		if name != "queue/db-2.salvaged" && err != nil { // which a salvage ends itself
			_, err = embedded.Salvage(t.Context(), "queue", embedded.Options{FS: files}, nil, func(queue.Progress) {})
		}
		if err == nil || !strings.Contains(err.Error(), "there is no store here, or one that a start of the server must finish") {
			t.Errorf("with %q: %v", name, err)
		}
	}
}

// TestSalvageOfNothing changes nothing where nothing is damaged.
func TestSalvageOfNothing(t *testing.T) {
	h := newHarmed(t, false)
	o := h.options
	o.FS = h.copied(t)
	before := paths(t, o.FS, "queue/db-2")
	result, err := embedded.Salvage(t.Context(), "queue", o, nil, func(queue.Progress) {})
	if err != nil || result.Old != "" || result.Found.Count != 0 || !maps.Equal(before, paths(t, o.FS, "queue/db-2")) {
		t.Errorf("%+v, %v", result, err)
	}
}
