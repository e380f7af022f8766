package pebblefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	pebblerecord "github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// version is one version of a key, to be compared.
type version struct {
	key, value string
	seq        uint64
	gone       bool
}

// database makes a database with several tables and a log that was not
// flushed. closed says that it ends in good order.
func database(t testing.TB, closed bool) vfs.FS {
	t.Helper()
	memory := vfs.NewCrashableMem()
	db, err := pebble.Open("db", &pebble.Options{FS: memory, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{}, DisableAutomaticCompactions: true})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	promise := uint64(0)
	for part := range 4 {
		fill(t, db, random, part, &promise)
		if part == 3 {
			break
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if !closed {
		left := memory.CrashClone(vfs.CrashCloneCfg{})
		t.Cleanup(func() { db.Close() })
		return left
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return memory
}

// fill sets and deletes keys: some values fit a chunk, some do not.
func fill(t testing.TB, db *pebble.DB, random *rand.Rand, part int, promise *uint64) {
	t.Helper()
	for i := range 120 {
		b := db.NewBatch()
		value := make([]byte, random.IntN(2000))
		if i%50 == 49 {
			value = make([]byte, 70_000)
		}
		for j := range value {
			value[j] = byte(random.IntN(256))
		}
		if err := b.Set(fmt.Appendf(nil, "k%04d", random.IntN(500)), value, nil); err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(fmt.Appendf(nil, "k%04d", random.IntN(500)), nil); err != nil {
			t.Fatal(err)
		}
		if err := b.Set(fmt.Appendf(nil, "x%d.%d", part, i), []byte("small"), nil); err != nil {
			t.Fatal(err)
		}
		if err := b.LogData(Promise(*promise), nil); err != nil {
			t.Fatal(err)
		}
		if err := db.Apply(b, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		*promise = uint64(b.SeqNum()) + uint64(b.Count())
	}
}

// read reads all that holds data.
func read(t *testing.T, files vfs.FS) (map[version]bool, []Damage) {
	t.Helper()
	d, err := Open(files, "db")
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, d)
}

// ever is every row that was written and still lies somewhere.
func ever(t *testing.T, files vfs.FS) map[version]bool {
	t.Helper()
	all, err := list(files, "db")
	if err != nil {
		t.Fatal(err)
	}
	d := &Database{files: files, Damage: []Damage{{}}}
	if err := d.choose("db", all); err != nil {
		t.Fatal(err)
	}
	rows, _ := readAll(t, d)
	return rows
}

func readAll(t *testing.T, d *Database) (map[version]bool, []Damage) {
	t.Helper()
	rows := make(map[version]bool)
	damage, err := d.Read(func(r Row) error {
		rows[version{string(r.Key), string(r.Value), r.Seq, r.Gone}] = true
		return nil
	}, func(File) {})
	if err != nil {
		t.Fatal(err)
	}
	return rows, damage
}

// current is what a reader of the database would see.
func current(rows map[version]bool) map[string]string {
	newest := make(map[string]version)
	for v := range rows {
		if known, ok := newest[v.key]; !ok || v.seq > known.seq {
			newest[v.key] = v
		}
	}
	seen := make(map[string]string)
	for k, v := range newest {
		if !v.gone {
			seen[k] = v.value
		}
	}
	return seen
}

// TestWhole reads a database in which nothing is damaged.
func TestWhole(t *testing.T) {
	for _, closed := range []bool{true, false} {
		files := database(t, closed)
		rows, damage := read(t, files)
		if len(damage) > 0 {
			t.Errorf("closed %t: %v", closed, damage)
		}
		db, err := pebble.Open("db", &pebble.Options{FS: files, ReadOnly: true, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{}})
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string]string)
		it, err := db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for it.First(); it.Valid(); it.Next() {
			want[string(it.Key())] = string(it.Value())
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if got := current(rows); !maps.Equal(got, want) || len(want) < 480 {
			t.Errorf("closed %t: read %d keys, the database has %d", closed, len(got), len(want))
		}
	}
}

// flipped is files with one bit of one file flipped.
func flipped(t *testing.T, files vfs.FS, f File, bit int64) vfs.FS {
	t.Helper()
	other := vfs.NewMem()
	if _, err := vfs.Clone(files, other, "db", "db"); err != nil {
		t.Fatal(err)
	}
	data, err := contents(other, f.Path)
	if err != nil {
		t.Fatal(err)
	}
	data[bit/8] ^= 1 << (bit % 8)
	w, err := other.Create(f.Path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return other
}

// TestFlippedBit flips bits all over the files, one at a time. No row is
// returned that never was; every row that is missing is covered by damage with
// its place; and what is missing is no more than a block or a few records.
func TestFlippedBit(t *testing.T) {
	const samples = 400
	for _, closed := range []bool{true, false} {
		files := database(t, closed)
		rows, _ := read(t, files)
		written := ever(t, files)
		all, err := list(files, "db")
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(5, 6))
		for _, f := range all {
			for range samples / len(all) {
				bit := random.Int64N(f.Size * 8)
				checkFlipped(t, flip{f, bit, closed, written}, rows, flipped(t, files, f, bit))
				if t.Failed() {
					return
				}
			}
		}
	}
}

type flip struct {
	file   File
	bit    int64
	closed bool
	ever   map[version]bool
}

func checkFlipped(t *testing.T, f flip, rows map[version]bool, files vfs.FS) {
	t.Helper()
	got, damage := read(t, files)
	var missing []version
	for v := range got {
		if !f.ever[v] {
			t.Errorf("%s, bit %d: row %q (%d octets) was never written", f.file.Path, f.bit, v.key, len(v.value))
		}
	}
	for v := range rows {
		if !got[v] {
			missing = append(missing, v)
		}
	}
	slices.SortFunc(missing, func(a, b version) int { return int(a.seq) - int(b.seq) })
	for _, v := range missing {
		covered := slices.ContainsFunc(damage, func(d Damage) bool {
			return d.Path == f.file.Path && d.Touches([]byte(v.key), []byte(v.key+"\x00"))
		})
		tail := f.file.Kind == Log && !f.closed && v.seq+3 > missing[len(missing)-1].seq // the last record of one that was not closed
		if !covered && !tail {
			t.Errorf("%s, bit %d: row %q, %d is missing, and nothing says so: %v", f.file.Path, f.bit, v.key, v.seq, damage)
			return
		}
	}
	most := 160 // rows in a block
	if f.file.Kind == Manifest {
		most = 0
	}
	if len(missing) > most {
		t.Errorf("%s of %d octets, bit %d: %d rows are missing: %v", f.file.Path, f.file.Size, f.bit, len(missing), damage)
	}
}

// TestPowerCut cuts the power while batches are written, some synced and some
// not. That is no damage, and what was synced is there.
func TestPowerCut(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	torn := 0
	for range 150 {
		memory := vfs.NewCrashableMem()
		db, err := pebble.Open("db", &pebble.Options{FS: memory, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{}, MemTableSize: 256 << 10})
		if err != nil {
			t.Fatal(err)
		}
		synced, promise := 0, uint64(0)
		n := 5 + random.IntN(150)
		for i := range n {
			b := db.NewBatch()
			if err := errors.Join(b.Set(fmt.Appendf(nil, "k%05d", i), make([]byte, 2000+random.IntN(6000)), nil), b.LogData(Promise(promise), nil)); err != nil {
				t.Fatal(err)
			}
			how := pebble.NoSync
			if random.IntN(3) == 0 {
				how = pebble.Sync
			}
			if err := db.Apply(b, how); err != nil {
				t.Fatal(err)
			}
			if how.Sync {
				synced, promise = i+1, uint64(b.SeqNum())+1
			}
		}
		left := memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: random})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		rows, damage := read(t, left)
		if len(damage) > 0 {
			t.Fatalf("a power cut is taken for damage: %v", damage)
		}
		seen := current(rows)
		for i := range synced {
			if _, ok := seen[fmt.Sprintf("k%05d", i)]; !ok {
				t.Fatalf("key %d of %d that were synced is missing", i, synced)
			}
		}
		if len(seen) < n {
			torn++
		}
	}
	if torn < 20 {
		t.Errorf("only %d cuts took something away", torn)
	}
}

// FuzzFiles reads anything as if it were a file of a database.
func FuzzFiles(f *testing.F) {
	files := database(f, false)
	all, err := list(files, "db")
	if err != nil {
		f.Fatal(err)
	}
	for _, one := range all {
		data, err := contents(files, one.Path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 40_000)], one.Number)
	}
	f.Fuzz(func(t *testing.T, data []byte, number uint64) {
		if len(data) > 4000 {
			data = data[:4000] // more of it finds nothing else, but takes long
		}
		memory := vfs.NewMem()
		w, err := memory.Create("file", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		file := File{Path: "file", Number: number, Size: int64(len(data))}
		visit := func(Row) error { return nil }
		if _, err := ReadTable(memory, file, visit); err != nil {
			t.Error(err)
		}
		if _, err := readLogs(memory, []File{file, file}, visit); err != nil {
			t.Error(err)
		}
		if _, _, err := readManifest(memory, file); err != nil {
			t.Error(err)
		}
	})
}

// TestTableThatGoes: a database at work removes tables when it likes. What
// was open by then is read to its end, and nothing in it is damaged.
func TestTableThatGoes(t *testing.T) {
	memory := database(t, true)
	all, err := list(memory, "db")
	if err != nil {
		t.Fatal(err)
	}
	removing := errorfs.Wrap(memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			if err := memory.Remove(op.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
		return nil
	}))
	tables := 0
	for _, f := range all {
		if f.Kind != Table {
			continue
		}
		tables++
		rows := 0
		damage, err := ReadTable(removing, f, func(Row) error { rows++; return nil })
		if err != nil || len(damage) > 0 || rows == 0 {
			t.Errorf("%s: %d rows, %v, %v", f.Path, rows, damage, err)
		}
		if _, err := ReadTable(removing, f, func(Row) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, which has gone: %v", f.Path, err)
		}
	}
	if tables == 0 {
		t.Error("there is no table")
	}
}

// versions makes a table with two versions of a key, each in a block of its
// own, of which a snapshot wanted the older.
func versions(t *testing.T) (vfs.FS, File) {
	t.Helper()
	memory := vfs.NewMem()
	db, err := pebble.Open("db", &pebble.Options{FS: memory, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 6))
	set := func(key string) {
		value := make([]byte, 5000) // more than a block has
		for i := range value {
			value[i] = byte(random.IntN(256))
		}
		if err := db.Set([]byte(key), value, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	set("a")
	set("k")
	older := db.NewSnapshot()
	set("k")
	if err := errors.Join(db.Flush(), older.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	all, err := list(memory, "db")
	if err != nil {
		t.Fatal(err)
	}
	return memory, all[slices.IndexFunc(all, func(f File) bool { return f.Kind == Table })]
}

// TestOlderVersions: Pebble lays the values of older versions apart.
func TestOlderVersions(t *testing.T) {
	files, table := versions(t)
	var rows []string
	damage, err := ReadTable(files, table, func(r Row) error {
		rows = append(rows, fmt.Sprintf("%s %d", r.Key, len(r.Value)))
		return nil
	})
	if err != nil || len(damage) > 0 || !slices.Equal(rows, []string{"a 5000", "k 5000", "k 5000"}) {
		t.Errorf("%q, %v, %v", rows, damage, err)
	}
}

// TestVersionsDamaged: what harms a newer version touches its key, though that
// is also the key behind; what harms the value of an older one touches nothing.
func TestVersionsDamaged(t *testing.T) {
	files, table := versions(t)
	data, err := contents(files, table.Path)
	if err != nil {
		t.Fatal(err)
	}
	places, values, err := layout(data)
	if err != nil || len(places) != 3 || len(values) != 1 {
		t.Fatalf("blocks of rows: %v, of values: %v, %v", places, values, err)
	}
	for at, want := range map[int]bool{places[1].at: true, values[0].at: false} {
		harmed := bytes.Clone(data)
		harmed[at+100] ^= 1
		f, err := files.Create(table.Path, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write(harmed)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		rows := 0
		damage, err := ReadTable(files, table, func(Row) error { rows++; return nil })
		if err != nil || len(damage) != 1 || rows != 2 || damage[0].Touches([]byte("k"), []byte("k\x00")) != want {
			t.Errorf("offset %d: %d rows, %+v, %v; touched: want %t", at, rows, damage, err, want)
		}
	}
}

// TestTornManifest: a power cut may keep the end of the last record and not its
// beginning. That is no damage; a record that is lost before another one is.
func TestTornManifest(t *testing.T) {
	for _, behind := range []bool{false, true} {
		var written bytes.Buffer
		w := pebblerecord.NewWriter(&written)
		records := [][]byte{{tagLog, 2}, make([]byte, 40_000)}
		if behind {
			records = append(records, []byte{tagLog, 3})
		}
		for _, r := range records {
			if _, err := w.WriteRecord(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data := written.Bytes()
		torn := legacyHeader + len(records[0]) // where the second begins
		clear(data[torn:blockSize])
		files := vfs.NewMem()
		f, err := files.Create("MANIFEST-000001", vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write(data)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		file := File{Path: "MANIFEST-000001", Kind: Manifest, Number: 1, Size: int64(len(data))}
		m, damage, err := readManifest(files, file)
		if err != nil || (damage != nil) != behind {
			t.Errorf("with another record behind it %t: %v, %v", behind, damage, err)
		}
		if !behind && (!m.torn(file) || m.end != torn || m.oldest != 2) {
			t.Errorf("%+v; want one that is torn at %d", m, torn)
		}
	}
}
