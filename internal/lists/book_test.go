package lists

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/metrics"
	"postern/internal/stamp"
)

// shelf is a Book of one list, its file, and what was told.
type shelf struct {
	*Book
	t     *testing.T
	file  string
	clock *mail.ManualClock
	told  []Event
}

func newShelf(t *testing.T, kind Kind, text string) *shelf {
	t.Helper()
	s := &shelf{t: t, file: filepath.Join(t.TempDir(), "list"), clock: mail.NewManualClock(time.Now())}
	s.write(text)
	var err error
	s.Book, err = Open(s.lists(kind), s.options())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shelf) lists(kind Kind) []config.List {
	return []config.List{{Name: "it", Kind: kind, File: s.file, Placed: config.Placed{Place: mail.Place{File: "c", Line: 1}, Places: config.Places{"list.file": {File: "c", Line: 2, Column: 3}}}}}
}

func (s *shelf) options() Options {
	return Options{Clock: s.clock, Tell: func(e Event) { s.told = append(s.told, e) }}
}

// write replaces the file as programs should: by another one.
func (s *shelf) write(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.file+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.file+".new", s.file); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) has(text string) bool {
	_, found := s.List("it").List().Find(text)
	return found
}

func (s *shelf) wantTold(n int, parts ...string) {
	s.t.Helper()
	if len(s.told) != n {
		s.t.Fatalf("told %d times, want %d: %+v", len(s.told), n, s.told)
	}
	if last := fmt.Sprintf("%+v", s.told[max(0, n-1):]); slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(last, p) }) {
		s.t.Errorf("told %s, want %q", last, parts)
	}
}

func TestChanges(t *testing.T) {
	s := newShelf(t, Domains, "a.example\n")
	s.Look()
	s.wantTold(0)

	s.write("b.example\nc.example")
	s.Look()
	s.Look()
	s.wantTold(1, "Name:it", s.file, "Before:1 Entries:2 Err:<nil>")
	if s.has("a.example") || !s.has("b.example") {
		t.Error("what the file says is not in force")
	}
	if n := s.List("it").Changes(); n != 1 {
		t.Errorf("%d changes, want 1", n)
	}

	s.write("d.example\nnot a domain\n")
	s.Look()
	s.Look()
	s.wantTold(2, "Before:2 Entries:2", s.file+`:2:5: goes on behind "not"`)
	if !s.has("b.example") || s.has("d.example") || s.List("it").Changes() != 1 {
		t.Error("a wrong file has changed the list")
	}
	if stale := s.Stale(); len(stale) != 1 || stale[0].Name != "it" || stale[0].File != s.file || !stale[0].Since.Equal(s.clock.Now()) || stale[0].Err == nil {
		t.Errorf("stale: %+v", stale)
	}

	since := s.clock.Now()
	s.clock.Advance(time.Minute)
	s.write("d.example\nstill not\n")
	s.Look()
	s.wantTold(3, `goes on behind "still"`)
	if stale := s.Stale(); len(stale) != 1 || !stale[0].Since.Equal(since) {
		t.Errorf("wrong since then, not %+v", stale)
	}

	s.write("b.example\nc.example") // as it was before it was wrong
	s.Look()
	s.wantTold(4, "Before:2 Entries:2 Err:<nil>")
	if len(s.Stale()) != 0 {
		t.Errorf("stale: %+v", s.Stale())
	}
}

// TestGone: a file that is gone is told of once, keeps its list, and is seen when it
// is there again, or can be read again.
func TestGone(t *testing.T) {
	s := newShelf(t, Domains, "a.example\n")
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	s.Look()
	s.Look()
	s.wantTold(1)
	if !errors.Is(s.told[0].Err, fs.ErrNotExist) || !s.has("a.example") {
		t.Errorf("told %+v", s.told[0])
	}
	s.write("a.example\n")
	s.Look()
	s.wantTold(2, "Before:1 Entries:1 Err:<nil>")

	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(s.file, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Look() // does not wait for somebody to write
	s.wantTold(3, "is not a regular file")
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.file, 0o700); err != nil {
		t.Fatal(err)
	}
	s.Look()
	s.wantTold(3) // it is no file still
}

// TestUnseenChange: a change that leaves size and time as they were is found all the
// same if it came soon after the one before.
func TestUnseenChange(t *testing.T) {
	s := newShelf(t, Domains, "a.example\n")
	before, err := os.Stat(s.file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(text string) {
		if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil { // the same inode
			t.Fatal(err)
		}
		if err := os.Chtimes(s.file, before.ModTime(), before.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	change("b.example\n")
	s.Look()
	if !s.has("b.example") {
		t.Error("a change within the resolution of the time of files was not seen")
	}
	s.clock.Advance(time.Hour)
	s.Look() // read once more, and then believed
	change("c.example\n")
	s.Look()
	if s.has("c.example") {
		t.Error("the file is read although it is an hour old and has not changed for all that can be seen")
	}
}

func TestByName(t *testing.T) {
	s := newShelf(t, Patterns, "*@a.example\n")
	if s.Kind("it") != "patterns" || s.Kind("other") != "" || !slices.Equal(s.Names(), []string{"it"}) {
		t.Errorf("%q, %q, %v", s.Kind("it"), s.Kind("other"), s.Names())
	}
	if !s.Contains("it", "joe@A.example") || s.Contains("it", "joe@b.example") || s.Contains("other", "joe@a.example") {
		t.Error("Contains is not as Find")
	}
}

func TestTooLarge(t *testing.T) {
	s := newShelf(t, Domains, "a.example\n")
	s.write(strings.Repeat("# "+strings.Repeat("x", 1000)+"\n", MaxFile/1000))
	s.Look()
	s.wantTold(1, "is larger than 16 MiB")
}

// TestCheck: what a list must not hold is as wrong as a line that cannot be read.
func TestCheck(t *testing.T) {
	s := newShelf(t, Networks, "10.0.0.0/8\n")
	check := func(name string, l *List) error {
		for p, at := range l.Networks() {
			if p.Bits() == 0 {
				return fmt.Errorf("%s:%d of %s", at.File, at.Line, name)
			}
		}
		return nil
	}
	o := s.options()
	o.Check = check
	var err error
	if s.Book, err = Open(s.lists(Networks), o); err != nil {
		t.Fatal(err)
	}
	s.write("# all\n0.0.0.0/0\n")
	if _, err := Open(s.lists(Networks), o); err == nil || err.Error() != s.file+":2 of it" {
		t.Errorf("opened: %v", err)
	}
	s.Look()
	s.wantTold(1, s.file+":2 of it")
	if s.has("192.0.2.1") || !s.has("10.0.0.1") {
		t.Error("the list that is wrong is in force")
	}
	// Who follows and does not mind has it, and who did mind does not.
	o.Check = nil
	next, err := Open(s.lists(Networks), o)
	if err != nil {
		t.Fatal(err)
	}
	next.Follow(s.Book)
	if s.has("192.0.2.1") || !next.Contains("it", "192.0.2.1") {
		t.Error("what one may have on its list the other has")
	}
}

// TestNetworks: they come in the order of their lines, of a list of networks alone.
func TestNetworks(t *testing.T) {
	s := newShelf(t, Networks, "192.0.2.0/24\n\n10.0.0.1 255.0.0.0\n2001:db8::1\n192.0.2.0/24\n")
	var got []string
	for p, at := range s.List("it").List().Networks() {
		got = append(got, fmt.Sprintf("%d: %s", at.Line, p))
	}
	if want := []string{"1: 192.0.2.0/24", "3: 10.0.0.0/8", "4: 2001:db8::1/128"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for range s.List("it").List().Networks() {
		break
	}
	s = newShelf(t, Domains, "a.example\n")
	for p := range s.List("it").List().Networks() {
		t.Errorf("a list of domains has %s", p)
	}
}

func TestOpenFails(t *testing.T) {
	s := newShelf(t, Domains, "a.example\n")
	s.write("x y\n\nz z\n")
	wrong := append(s.lists(Domains), config.List{Name: "other", Kind: Networks, File: s.file + ".gone", Placed: config.Placed{Place: mail.Place{File: "c", Line: 7}}})
	b, err := Open(wrong, s.options())
	if err == nil {
		t.Fatal("wrong lists were opened")
	}
	if b.Kind("other") != string(Networks) {
		t.Error("it is not known which list there is")
	}
	want := s.file + ":1:3: goes on behind \"x\" (write one entry a line, and \"#\" before a comment)\n" +
		s.file + ":3:3: goes on behind \"z\" (write one entry a line, and \"#\" before a comment)\n" +
		"c:7: list.file: list other: open " + s.file + ".gone: no such file or directory"
	if err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
}

// TestFollow: who has the old Book sees what the new one sees.
func TestFollow(t *testing.T) {
	s := newShelf(t, Domains, "a.example\n")
	old := s.List("it")
	s.write("b.example\n")
	next, err := Open(s.lists(Domains), s.options())
	if err != nil {
		t.Fatal(err)
	}
	next.Follow(s.Book)
	s.wantTold(1, "Before:1 Entries:1")
	s.write("c.example\n")
	next.Look()
	s.wantTold(2)
	for _, l := range []*Live{old, next.List("it")} {
		if _, found := l.List().Find("c.example"); !found {
			t.Error("the two do not see the same")
		}
	}
	// Nothing has changed: nothing is told.
	again, err := Open(s.lists(Domains), s.options())
	if err != nil {
		t.Fatal(err)
	}
	again.Follow(next)
	s.wantTold(2)
	// A file that was mended at the very reload.
	s.write("x y\n")
	again.Look()
	s.wantTold(3)
	s.write("c.example\n")
	mended, err := Open(s.lists(Domains), s.options())
	if err != nil {
		t.Fatal(err)
	}
	mended.Follow(again)
	s.wantTold(4, "Err:<nil>")
	if len(again.Stale()) != 0 {
		t.Error("what was mended is stale")
	}
	// The same name for another kind is another list.
	other, err := Open(s.lists(Patterns), s.options())
	if err != nil {
		t.Fatal(err)
	}
	other.Follow(mended)
	if other.List("it").List().Kind() != Patterns || mended.List("it").List().Kind() != Domains {
		t.Error("a list of another kind was followed")
	}
}

// TestChangesUnderLoad: whoever looks up sees one of the files whole, never parts of
// two, while they change and the Book is replaced.
func TestChangesUnderLoad(t *testing.T) {
	s := newShelf(t, Domains, version(0))
	var told atomic.Int64
	o := Options{Tell: func(Event) { told.Add(1) }}
	book, err := Open(s.lists(Domains), o)
	if err != nil {
		t.Fatal(err)
	}
	current := atomic.Pointer[Book]{}
	current.Store(book)
	var stop atomic.Bool
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for !stop.Load() {
				l := current.Load().List("it").List()
				at, first := l.Find("first.example")
				_, second := l.Find(fmt.Sprintf("v%d.example", at.Line-1))
				if !first || !second || l.Len() != at.Line+1 {
					t.Errorf("parts of two files: %d entries, first in line %d", l.Len(), at.Line)
					return
				}
			}
		})
	}
	running.Go(func() {
		for !stop.Load() {
			current.Load().Look()
		}
	})
	for i := range 60 {
		if i%10 == 9 {
			s.write("wrong wrong\n")
			current.Load().Look()
		}
		s.write(version(i))
		if i%7 == 3 {
			next, err := Open(s.lists(Domains), o)
			if err != nil {
				t.Error(err)
				break
			}
			next.Follow(current.Load())
			current.Store(next)
		}
		current.Load().Look()
	}
	stop.Store(true)
	running.Wait()
	current.Load().Look()
	if _, found := current.Load().List("it").List().Find("v60.example"); !found || told.Load() == 0 {
		t.Errorf("the last file is in force: %v; told %d times", found, told.Load())
	}
}

// version is a file whose first line says in which line first.example is.
func version(i int) string {
	text := fmt.Sprintf("v%d.example\n", i+1)
	for j := range i {
		text += fmt.Sprintf("other%d.example\n", j)
	}
	return text + "first.example\nlast.example\n"
}

func TestMetrics(t *testing.T) {
	set := metrics.NewSet()
	m := NewMetrics(set)
	m.read(nil)
	m.read(stamp.ErrNotRegular)
	m.read(stamp.ErrNotRegular)
	families, err := set.Gatherer().Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%v, %v", families, err)
	}
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	if diff := cmp.Diff(map[string]float64{"in-force": 1, "wrong": 2}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
