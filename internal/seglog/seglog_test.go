package seglog

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
)

var noon = time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)

// contentOf is a content that its id and size decide.
func contentOf(id mail.ID, size int) []byte {
	b := make([]byte, size)
	seed := [32]byte{}
	copy(seed[:], id)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

func headOf(id mail.ID) []byte { return []byte("envelope of " + id) }

func record(id mail.ID, size int) Record {
	return Record{ID: id, Head: headOf(id), Content: bytes.NewReader(contentOf(id, size)), Size: int64(size)}
}

func newDir(t testing.TB, files vfs.FS) {
	t.Helper()
	if err := files.MkdirAll("log", 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := files.OpenDir("")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, files vfs.FS, o Options) *Log {
	t.Helper()
	o.FS = files
	l, err := Open("log", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func appendOne(t testing.TB, l *Log, id mail.ID, size int) Place {
	t.Helper()
	p, err := l.Append(t.Context(), record(id, size))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// adopt stores a content as a file of its own.
func adopt(l *Log, files vfs.FS, id mail.ID, size int) (Place, error) {
	f, err := files.Create("incoming", vfs.WriteCategoryUnspecified)
	if err != nil {
		return Place{}, err
	}
	if n, err := f.Write(contentOf(id, size)); err != nil || n < size {
		return Place{}, errors.Join(err, io.ErrShortWrite, f.Close())
	}
	return l.Adopt(record(id, size), "incoming", f)
}

// read returns a content and what goes with it.
func read(l *Log, id mail.ID, p Place) (content, head []byte, err error) {
	c, err := l.Content(id, p)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	content, err = io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	return content, c.Head(), err
}

func wantContent(t *testing.T, l *Log, id mail.ID, p Place) {
	t.Helper()
	content, head, err := read(l, id, p)
	if err != nil || !bytes.Equal(content, contentOf(id, int(p.Size))) || !bytes.Equal(head, headOf(id)) {
		t.Errorf("content %s at %+v: %d octets with %q, %v", id, p, len(content), head, err)
	}
}

// listed returns the names in the directory.
func listed(t *testing.T, files vfs.FS) string {
	t.Helper()
	names, err := files.List("log")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestContents(t *testing.T) {
	files := vfs.NewMem()
	newDir(t, files)
	l := open(t, files, Options{})
	var ids mail.IDs
	places := make(map[mail.ID]Place)
	for _, size := range []int{0, 1, 7, 8, FrameSize - 1, FrameSize, FrameSize + 1, 3*FrameSize + 5, 1 << 20} {
		id := ids.New(noon)
		places[id] = appendOne(t, l, id, size)
		id = ids.New(noon)
		p, err := adopt(l, files, id, size)
		if err != nil {
			t.Fatal(err)
		}
		places[id] = p
	}
	for id, p := range places {
		wantContent(t, l, id, p)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, files, Options{})
	for id, p := range places {
		if err := l.Keep(id, p); err != nil {
			t.Error(err)
		}
	}
	if err := l.ClearOrphans(); err != nil {
		t.Fatal(err)
	}
	for id, p := range places {
		wantContent(t, l, id, p)
		c, err := l.Content(id, p)
		if err != nil {
			t.Fatal(err)
		}
		part, want := make([]byte, 100), contentOf(id, int(p.Size))
		for _, off := range []int64{0, p.Size - 50, FrameSize - 10, p.Size, p.Size + 10} {
			n, err := c.ReadAt(part, max(0, off))
			expect := want[min(max(0, off), p.Size):]
			if !bytes.Equal(part[:n], expect[:min(len(expect), len(part))]) || (err == io.EOF) != (len(expect) < len(part)) {
				t.Errorf("%d octets at %d of %d, %v", n, off, p.Size, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefused(t *testing.T) {
	files := vfs.NewMem()
	newDir(t, files)
	l := open(t, files, Options{FileSize: 100})
	var ids mail.IDs
	id := ids.New(noon)
	for what, r := range map[string]Record{
		"too large": record(id, 101), "no id": record("", 1), "a path": record("../../../../../x", 1),
		"too short": {ID: id, Content: bytes.NewReader(nil), Size: 5}, "negative": {ID: id, Size: -1},
	} {
		if p, err := l.Append(t.Context(), r); err == nil {
			t.Errorf("%s was stored at %+v", what, p)
		}
	}
	p := appendOne(t, l, id, 100)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), record(id, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v, want ErrClosed", err)
	}
	wantContent(t, l, id, p) // what was open, or is opened, is read to its end
}

// TestSpace: segments and files go when nothing in them is needed, and not
// before; one file of a segment is used again unless somebody reads it.
func TestSpace(t *testing.T) {
	files := vfs.NewMem()
	newDir(t, files)
	l := open(t, files, Options{SegmentSize: 10_000})
	var ids mail.IDs
	var id [6]mail.ID
	var p [6]Place
	for i := range id {
		id[i] = ids.New(noon)
		p[i] = appendOne(t, l, id[i], 10_000) // each fills a segment
	}
	own, err := adopt(l, files, id[5], 5000)
	if err != nil {
		t.Fatal(err)
	}
	const one, two, three, four, five = "0000000000000001.seg ", "0000000000000002.seg ", "0000000000000003.seg ", "0000000000000004.seg ", "0000000000000005.seg "
	want := func(names string) {
		t.Helper()
		if got := listed(t, files) + " "; got != names {
			t.Errorf("files are %q, want %q", got, names)
		}
	}
	file := string(id[5]) + ".msg "
	want(one + two + three + four + five + "0000000000000006.seg " + file)
	open, err := l.Content(id[1], p[1])
	if err != nil {
		t.Fatal(err)
	}
	l.Free(id[1], p[1])
	want(one + three + four + five + "0000000000000006.seg " + file) // it is being read, and so not used again
	l.Free(id[0], p[0])
	want(three + four + five + "0000000000000006.seg " + file + "spare ")
	l.Free(id[2], p[2])
	want(four + five + "0000000000000006.seg " + file + "spare ")
	l.Free(id[5], own)
	want(four + five + "0000000000000006.seg " + "spare ")
	seventh := ids.New(noon)
	again := appendOne(t, l, seventh, 5000)
	want(four + five + "0000000000000006.seg " + "0000000000000007.seg ")
	wantContent(t, l, seventh, again)
	wantContent(t, l, id[3], p[3])
	content, err := io.ReadAll(io.NewSectionReader(open, 0, open.Size()))
	if err != nil || !bytes.Equal(content, contentOf(id[1], 10_000)) {
		t.Errorf("an open content whose segment is gone: %d octets, %v", len(content), err)
	}
	if _, _, err := read(l, id[0], p[0]); !errors.Is(err, ErrDamaged) {
		t.Errorf("a content that was freed: %v", err)
	}
	if err := errors.Join(open.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}

	found := 0 // what stood in the spare file before is not taken for its content
	if err := Walk(files, "log/0000000000000007.seg", func(f Found) error { found++; return f.Err }); err != nil || found != 1 {
		t.Errorf("a walk over a segment that was used again found %d, %v", found, err)
	}
	l, err = Open("log", Options{FS: files, SegmentSize: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := errors.Join(l.Keep(id[3], p[3]), l.ClearOrphans()); err != nil {
		t.Fatal(err)
	}
	want(four)
	if err := l.Keep(id[4], p[4]); !errors.Is(err, ErrDamaged) {
		t.Errorf("keep what is not there: %v, want ErrDamaged", err)
	}
	eighth := ids.New(noon)
	if p := appendOne(t, l, eighth, 10); p.Segment != 8 { // no number is used twice
		t.Errorf("after a start it goes on in segment %d", p.Segment)
	}
}

// TestSparse: nearly empty segments are named, the emptiest first.
func TestSparse(t *testing.T) {
	files := vfs.NewMem()
	newDir(t, files)
	l := open(t, files, Options{SegmentSize: 100_000})
	var ids mail.IDs
	type stored struct {
		id mail.ID
		p  Place
	}
	var all []stored
	for range 205 { // a hundred fill a segment
		id := ids.New(noon)
		all = append(all, stored{id, appendOne(t, l, id, 1000)})
	}
	if found := l.Sparse(); len(found) > 0 {
		t.Fatalf("segments %d are called sparse", found)
	}
	perSegment := 0
	for _, s := range all {
		if s.p.Segment == 1 {
			perSegment++
		}
	}
	freed := make(map[mail.ID]bool)
	free := func(segment uint64, keep int) {
		for _, s := range all {
			if s.p.Segment == segment {
				if keep--; keep < 0 && !freed[s.id] {
					freed[s.id] = true
					l.Free(s.id, s.p)
				}
			}
		}
	}
	free(1, perSegment/4+1)
	if found := l.Sparse(); len(found) > 0 {
		t.Errorf("segments %d are called sparse, though a quarter is needed", found)
	}
	free(2, 5)
	if found := l.Sparse(); !slices.Equal(found, []uint64{2}) {
		t.Errorf("sparse are %d, want 2", found)
	}
	free(1, 2)
	if found := l.Sparse(); !slices.Equal(found, []uint64{1, 2}) {
		t.Errorf("sparse are %d, want first 1, of which less is needed, then 2", found)
	}
	l.Stuck(1)
	if found := l.Sparse(); !slices.Equal(found, []uint64{2}) {
		t.Errorf("sparse are %d, want 2 alone, because 1 is stuck", found)
	}
}

// TestGroup: whoever comes while a sync is under way shares the next.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		syncs, asked, granted := 0, make(chan struct{}), make(chan struct{})
		slow := false
		files := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind != errorfs.OpFileSyncData {
				return nil
			}
			mu.Lock()
			wait := slow
			syncs++
			slow = false
			mu.Unlock()
			if wait {
				close(asked)
				<-granted
			}
			return nil
		}))
		newDir(t, files)
		l := open(t, files, Options{})
		defer l.Close()
		var ids mail.IDs
		appendOne(t, l, ids.New(noon), 10)
		mu.Lock()
		slow, syncs = true, 0
		mu.Unlock()
		errs := make(chan error, 51)
		send := func() {
			r := record(ids.New(noon), 100)
			go func() { _, err := l.Append(t.Context(), r); errs <- err }()
		}
		send()
		<-asked
		for range 50 {
			send()
		}
		synctest.Wait()
		if len(errs) != 0 {
			t.Error("acknowledged before the sync")
		}
		close(granted)
		for range 51 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if syncs != 2 {
			t.Errorf("%d syncs for 51 records, want 2", syncs)
		}
	})
}

// TestAppendAllocates: what one record costs does not grow with the log.
func TestAppendAllocates(t *testing.T) {
	files := vfs.NewMem()
	newDir(t, files)
	l := open(t, files, Options{SegmentSize: 64 << 10})
	var ids mail.IDs
	r := record(ids.New(noon), 4096)
	cost := func() float64 {
		return testing.AllocsPerRun(100, func() {
			p, err := l.Append(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			l.Free(r.ID, p)
		})
	}
	before := cost()
	for range 3000 {
		appendOne(t, l, ids.New(noon), 100)
	}
	if after := cost(); after > before+2 || after > 40 {
		t.Errorf("%v allocations a record with 3000 in the log, %v before", after, before)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
