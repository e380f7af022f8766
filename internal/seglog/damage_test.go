package seglog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// TestPowerCut cuts the power at random moments: what was acknowledged is
// there, whole, and nothing else is taken for it.
func TestPowerCut(t *testing.T) {
	s := storm{random: rand.New(rand.NewPCG(3, 4)), files: vfs.NewCrashableMem(), known: make(map[mail.ID]Place)}
	newDir(t, s.files)
	for cut := range 60 {
		l := open(t, s.files, Options{SegmentSize: 30_000, FileSize: 20_000, Logger: quiet()})
		for id, p := range s.known {
			if err := l.Keep(id, p); err != nil {
				t.Fatalf("cut %d: %v", cut, err)
			}
		}
		if err := l.ClearOrphans(); err != nil {
			t.Fatal(err)
		}
		for id, p := range s.known {
			wantContent(t, l, id, p)
		}
		wantWalk(t, s.files, s.known)
		s.load(t, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.known) < 50 {
		t.Errorf("only %d contents", len(s.known))
	}
}

// storm is a log that loses its power again and again.
type storm struct {
	random *rand.Rand
	files  *vfs.MemFS
	ids    mail.IDs
	known  map[mail.ID]Place // what was acknowledged, and is needed
}

// load appends from several goroutines, frees some, and cuts the power in the
// middle of it.
func (s *storm) load(t *testing.T, l *Log) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	acks := make(chan struct{})
	for w := range 3 {
		random := rand.New(rand.NewPCG(s.random.Uint64(), 0))
		workers.Go(func() {
			for ctx.Err() == nil {
				id, p, err := s.store(ctx, l, random.IntN(20_000), w == 0)
				if errors.Is(err, context.Canceled) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				s.known[id] = p
				mu.Unlock()
				select {
				case acks <- struct{}{}:
				case <-ctx.Done():
				}
			}
		})
	}
	for range 1 + s.random.IntN(25) {
		<-acks
		mu.Lock()
		for id, p := range s.known {
			if s.random.IntN(3) > 0 {
				delete(s.known, id) // its removal is durable
				l.Free(id, p)
			}
			break
		}
		mu.Unlock()
	}
	mu.Lock()
	left := s.files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: s.random.IntN(101), RNG: s.random})
	promised := maps.Clone(s.known)
	mu.Unlock()
	cancel()
	workers.Wait()
	s.files, s.known = left, promised
}

func (s *storm) store(ctx context.Context, l *Log, size int, own bool) (mail.ID, Place, error) {
	id := s.ids.New(noon)
	if own {
		p, err := adopt(l, s.files, id, size)
		return id, p, err
	}
	p, err := l.Append(ctx, record(id, size))
	return id, p, err
}

// wantWalk walks over everything and wants each of known to be found whole.
func wantWalk(t *testing.T, files vfs.FS, known map[mail.ID]Place) {
	t.Helper()
	paths, err := Files(files, "log")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[mail.ID]Place)
	for _, path := range paths {
		err := Walk(files, path, func(f Found) error {
			if _, needed := known[f.ID]; needed && f.Err == nil && bytes.Equal(f.Head, headOf(f.ID)) {
				found[f.ID] = f.Place
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for id, p := range known {
		if found[id] != p {
			t.Errorf("a walk found content %s at %+v, not at %+v", id, found[id], p)
		}
	}
}

// TestFaults lets every single operation fail once: whoever is told that a
// content is stored finds it, after a power cut too, and the log goes on.
func TestFaults(t *testing.T) {
	for _, how := range []struct {
		name  string
		err   error
		short bool
	}{{"EIO", syscall.EIO, false}, {"ENOSPC half way", syscall.ENOSPC, true}, {"short write", nil, true}} {
		hits := make(map[errorfs.OpKind]int)
		for n := 1; ; n++ {
			memory := vfs.NewCrashableMem()
			newDir(t, memory)
			f := mailtest.NewFault(memory)
			l := open(t, f, Options{SegmentSize: 5000, FileSize: 3000, Logger: quiet()})
			f.Arm(n, how.err, how.short)
			failed := faultRun(t, l, f, memory, how.err)
			hit := f.Hit()
			if hit == nil {
				break
			}
			hits[hit.Kind]++
			if isWrite := hit.Kind == errorfs.OpFileWriteAt || hit.Kind == errorfs.OpFileWrite; isWrite && failed != 1 && how.err != nil {
				t.Errorf("%s: %v of %s failed, and %d contents were refused", how.name, hit.Kind, hit.Path, failed)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if hits[errorfs.OpFileWriteAt] == 0 || hits[errorfs.OpFileSyncData] == 0 || hits[errorfs.OpRename] == 0 || hits[errorfs.OpFileSync] == 0 {
			t.Errorf("%s: operations that failed: %v", how.name, hits)
		}
	}
}

func faultRun(t *testing.T, l *Log, files vfs.FS, memory *vfs.MemFS, cause error) (failed int) {
	var ids mail.IDs
	known := make(map[mail.ID]Place)
	step := func(id mail.ID, p Place, err error) {
		if err == nil {
			known[id] = p
			return
		}
		failed++
		if cause != nil && !errors.Is(err, cause) {
			t.Errorf("the error hides its cause: %v", err)
		}
	}
	var first mail.ID
	for i := range 12 {
		id := ids.New(noon)
		if i == 0 {
			first = id
		}
		if i%5 == 4 {
			p, err := adopt(l, files, id, 2000)
			step(id, p, err)
			continue
		}
		p, err := l.Append(t.Context(), record(id, 1500))
		step(id, p, err)
		if i == 8 && known[first] != (Place{}) {
			l.Free(first, known[first])
			delete(known, first)
		}
	}
	if failed > 1 {
		t.Errorf("one failure refused %d contents", failed)
	}
	left := memory.CrashClone(vfs.CrashCloneCfg{})
	after := open(t, left, Options{Logger: quiet()})
	for id, p := range known {
		if err := after.Keep(id, p); err != nil {
			t.Errorf("acknowledged and lost: %v", err)
			continue
		}
		wantContent(t, after, id, p)
	}
	return failed
}

// TestFlippedBits: a bit that has changed never becomes content, and harms
// the record it stands in alone.
func TestFlippedBits(t *testing.T) {
	files := vfs.NewMem()
	newDir(t, files)
	l := open(t, files, Options{Logger: quiet()})
	var ids mail.IDs
	known := make(map[mail.ID]Place)
	for i := range 12 {
		id := ids.New(noon)
		known[id] = appendOne(t, l, id, i*i*1000)
	}
	big := ids.New(noon)
	p, err := adopt(l, files, big, 150_000)
	if err != nil {
		t.Fatal(err)
	}
	known[big] = p
	random := rand.New(rand.NewPCG(5, 6))
	for _, path := range []string{"log/0000000000000001.seg", "log/" + ownName(big)} {
		info, err := files.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		end := info.Size() - trailerSize // without what a walk alone needs
		at := []int64{0, 9, 20, 30, end - 1}
		for range 300 {
			at = append(at, random.Int64N(end))
		}
		for _, p := range known { // the heads are few octets among many
			if p.Segment != 0 && path != "log/"+ownName(big) {
				at = append(at, p.Offset, p.Offset+5, p.Offset+17, p.Offset+30, p.Offset+41, p.Offset+50)
			}
		}
		for _, off := range at {
			flip(t, files, path, off, 1<<random.IntN(8))
			harmed := checkFlipped(t, l, files, known)
			if harmed > 1 {
				t.Errorf("%s, offset %d: %d contents are harmed", path, off, harmed)
			}
			flipBack(t, files)
		}
	}
	// Without its end a file of its own can be read by whoever knows its place.
	info, err := files.Stat("log/" + ownName(big))
	if err != nil {
		t.Fatal(err)
	}
	flip(t, files, "log/"+ownName(big), info.Size()-3, 1)
	wantContent(t, l, big, p)
	err = Walk(files, "log/"+ownName(big), func(f Found) error {
		if f.ID != big || !errors.Is(f.Err, ErrDamaged) {
			t.Errorf("the walk found %+v", f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var flipped struct {
	path string
	off  int64
	bit  byte
}

func flip(t *testing.T, files vfs.FS, path string, off int64, bit byte) {
	t.Helper()
	f, err := files.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	octet := make([]byte, 1)
	if _, err := f.ReadAt(octet, off); err != nil {
		t.Fatal(err)
	}
	octet[0] ^= bit
	if _, err := f.WriteAt(octet, off); err != nil {
		t.Fatal(err)
	}
	flipped.path, flipped.off, flipped.bit = path, off, bit
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func flipBack(t *testing.T, files vfs.FS) { flip(t, files, flipped.path, flipped.off, flipped.bit) }

// checkFlipped returns how many contents cannot be read, and wants a walk to
// find all others.
func checkFlipped(t *testing.T, l *Log, files vfs.FS, known map[mail.ID]Place) (harmed int) {
	t.Helper()
	good := make(map[mail.ID]Place)
	for id, p := range known {
		content, _, err := read(l, id, p)
		if !bytes.Equal(content, contentOf(id, int(p.Size))[:len(content)]) {
			t.Errorf("%+v: wrong octets of %s", flipped, id)
		}
		if err == nil {
			good[id] = p
			continue
		}
		harmed++
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: %v, want ErrDamaged", flipped, err)
		}
	}
	wantWalk(t, files, good)
	return harmed
}

// TestForgedRecord: a content that looks like a record is not taken for one,
// even when the record before it is damaged and the next must be searched.
func TestForgedRecord(t *testing.T) {
	files := vfs.NewMem()
	newDir(t, files)
	l := open(t, files, Options{Logger: quiet()})
	var ids mail.IDs
	forged := ids.New(noon)
	inner := record(forged, 100)
	block := make([]byte, blockSize(len(inner.Head), inner.Size))
	content := make([]byte, 104)
	if err := inner.fill(block, content); err != nil {
		t.Fatal(err)
	}
	seal(block, rand.Uint64())
	outer := append(block, content...)
	p, err := l.Append(t.Context(), Record{ID: ids.New(noon), Content: bytes.NewReader(outer), Size: int64(len(outer))})
	if err != nil {
		t.Fatal(err)
	}
	next := ids.New(noon)
	after := appendOne(t, l, next, 100)
	flip(t, files, "log/0000000000000001.seg", p.Offset+40, 1)
	var seen []string
	if err := Walk(files, "log/0000000000000001.seg", func(f Found) error {
		seen = append(seen, fmt.Sprint(f.ID, f.Place.Offset, f.Err != nil))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprint("", p.Offset, true), fmt.Sprint(next, after.Offset, false)}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("the walk saw %v, want %v", seen, want)
	}
}

// FuzzWalk: whatever lies on the disk, a walk ends, in bounded memory.
func FuzzWalk(f *testing.F) {
	files := vfs.NewMem()
	newDir(f, files)
	l := open(f, files, Options{Logger: quiet()})
	var ids mail.IDs
	for i := range 4 {
		appendOne(f, l, ids.New(noon), i*10)
	}
	good, err := files.UnsafeGetFileDataBuffer("log/0000000000000001.seg")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-30])
	f.Add(append(header(1, 7), recordMagic...))
	huge := append([]byte(recordMagic), make([]byte, fixedSize)...)
	binary.BigEndian.PutUint64(huge[8:], 1<<39)
	f.Add(huge)
	f.Fuzz(func(t *testing.T, data []byte) {
		files := vfs.NewMem()
		newDir(t, files)
		for _, name := range []string{"log/0000000000000001.seg", "log/" + ownName("0000000000000001")} {
			file, err := files.Create(name, vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			err = Walk(files, name, func(f Found) error {
				if f.Err == nil && (f.Place.Size > int64(len(data)) || int64(len(f.Head)) > int64(len(data))) {
					t.Errorf("found %+v in %d octets", f.Place, len(data))
				}
				return nil
			})
			if err != nil {
				t.Errorf("walk: %v", err)
			}
		}
		if d, err := parseBlock(data); err == nil && d.size > 0 {
			_ = d.sum(frames(d.size) - 1)
		}
	})
}

// TestFailedFileIsNotUsedAgain: a spare file on a bad place of the disk would
// otherwise fail every segment to come.
func TestFailedFileIsNotUsedAgain(t *testing.T) {
	memory := vfs.NewMem()
	newDir(t, memory)
	files := errorfs.Wrap(memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && op.Path == "log/0000000000000002.seg" {
			return syscall.EIO
		}
		return nil
	}))
	l := open(t, files, Options{SegmentSize: 10_000, Logger: quiet()})
	var ids mail.IDs
	first, second := ids.New(noon), ids.New(noon)
	p := appendOne(t, l, first, 10_000)
	l.Free(first, p)
	if _, err := l.Append(t.Context(), record(second, 10_000)); err == nil { // in the file of the first
		t.Fatal("the second segment does not fail")
	}
	if got := listed(t, files); got != "" || l.Stat().Spare {
		t.Errorf("files are %q, want none", got)
	}
	wantContent(t, l, second, appendOne(t, l, second, 10_000))
}
