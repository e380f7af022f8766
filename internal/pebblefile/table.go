package pebblefile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/sstable/colblk"
	"github.com/cockroachdb/pebble/v2/sstable/valblk"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A table is a sequence of blocks, each followed by a trailer: how it is
// compressed, and a masked CRC32C of it and of that. First come the blocks of
// rows, in order of their keys, then those that say where these are.
//
//	block  0  octets, perhaps compressed
//	       n  how
//	     n+1  checksum of octets 0 to n+1
const trailer = block.TrailerLen

// maxBlock is how large a block of a table is believed to be, when nothing
// says where it ends.
const maxBlock = 1 << 20

// maxRows is how large a block of rows is believed to be behind damage, and
// maxGap how far it is looked for: the search takes time in proportion to
// both.
const (
	maxRows = 64 << 10
	maxGap  = 256 << 10
)

// ReadTable visits the rows of a table, in order. Where the part is damaged
// that says where blocks are, they are found by their checksums.
func ReadTable(files vfs.FS, f File, visit func(Row) error) ([]Damage, error) {
	data, err := contents(files, f.Path)
	if err != nil {
		return nil, err
	}
	t := newTable(f.Path, data, visit)
	places, values, broken := layout(data)
	if broken != nil {
		places = findBlocks(data)
	}
	t.readValues(values)
	behind := 0
	for _, p := range places {
		if broken != nil && p.at > behind {
			t.damaged(behind, "no block can be found here")
		}
		if err := t.read(p); err != nil {
			return t.damage, err
		}
		behind = p.at + p.length + trailer
	}
	if broken != nil {
		t.damaged(behind, "what says where the rows are cannot be read: "+broken.Error())
	}
	return t.damage, nil
}

// place is where a block is, without its trailer.
type place struct{ at, length int }

// inMemory is a table that has been read. Its file may be gone by now: of one
// that is compacted away meanwhile nothing is damaged.
type inMemory []byte

func (m inMemory) Size() int64  { return int64(len(m)) }
func (m inMemory) Close() error { return nil }

func (m inMemory) ReadAt(_ context.Context, p []byte, off int64) error {
	if off < 0 || off > m.Size() || copy(p, m[off:]) < len(p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (m inMemory) NewReadHandle(objstorage.ReadBeforeSize) objstorage.ReadHandle {
	h := objstorage.MakeNoopReadHandle(m)
	return &h
}

// layout returns the places of the blocks of rows, and of those of values, as
// the table says. It checks all other blocks.
func layout(data inMemory) (rows, values []place, err error) {
	defer func() {
		if p := recover(); p != nil { // Pebble panics over some of what it does not understand
			err = fmt.Errorf("%v", p)
		}
	}()
	schema := colblk.DefaultKeySchema(pebble.DefaultComparer, bundleSize)
	reader, err := sstable.NewReader(context.Background(), data, sstable.ReaderOptions{
		Comparer: pebble.DefaultComparer, Merger: pebble.DefaultMerger, KeySchemas: sstable.MakeKeySchemas(&schema),
	})
	if err != nil {
		return nil, nil, err
	}
	defer reader.Close()
	l, err := reader.Layout()
	if err != nil {
		return nil, nil, err
	}
	for _, h := range l.Data {
		rows = append(rows, place{int(h.Offset), int(h.Length)})
	}
	for _, h := range l.ValueBlock {
		values = append(values, place{int(h.Offset), int(h.Length)})
	}
	return rows, values, nil
}

// findBlocks returns the places of all blocks whose checksums are right.
func findBlocks(data []byte) []place {
	var places []place
	behind, most := 0, maxBlock
	for at := 0; at+trailer < len(data) && at < behind+maxGap; {
		n := blockAt(data[at:min(len(data), at+most)])
		if n < 0 {
			at, most = at+1, maxRows
			continue
		}
		places = append(places, place{at, n})
		behind, most = at+n+trailer, maxBlock
		at = behind
	}
	return places
}

// blockAt returns the length of the block that begins here, or -1.
func blockAt(data []byte) int {
	sum := ^uint32(0)
	for n := 0; n+trailer <= len(data); n++ {
		sum = castagnoli[byte(sum)^data[n]] ^ sum>>8
		if masked(^sum) == binary.LittleEndian.Uint32(data[n+1:]) && n > 0 {
			return n
		}
	}
	return -1
}

// bundleSize is how many keys share a prefix in Pebble's default schema.
const bundleSize = 16

// rowColumns is how many columns a block of rows has: those of the key, and
// those that Pebble adds.
const rowColumns = 2 + 5

// rowHeader is what stands before the columns of a block of rows.
const rowHeader = 4

// table is a table that is being read.
type table struct {
	path   string
	data   []byte
	visit  func(Row) error
	schema colblk.KeySchema
	rows   colblk.DataBlockIter
	plain  []uint64 // for what is decompressed, aligned
	values [][]byte // blocks of values; nil for one that is damaged

	lastKey []byte // of the blocks so far
	open    []int  // damage whose upper key is not known yet
	damage  []Damage
}

func newTable(path string, data []byte, visit func(Row) error) *table {
	t := &table{path: path, data: data, visit: visit, schema: colblk.DefaultKeySchema(pebble.DefaultComparer, bundleSize)}
	t.rows.InitOnce(&t.schema, pebble.DefaultComparer, &valblk.Reader{})
	return t
}

// read visits the rows of one block.
func (t *table) read(p place) error {
	plain, err := t.block(p)
	if err != nil {
		t.damaged(p.at, err.Error())
		return nil
	}
	rows, err := t.decode(plain)
	if err != nil {
		t.damaged(p.at, err.Error())
		return nil
	}
	for _, r := range rows {
		if t.lastKey == nil || string(r.Key) > string(t.lastKey) {
			t.close(r.Key)
		}
		if err := t.visit(r); err != nil {
			return err
		}
	}
	if n := len(rows); n > 0 {
		t.lastKey = append(t.lastKey[:0:0], rows[n-1].Key...)
	}
	return nil
}

// readValues reads the blocks in which values stand apart from their rows: of
// versions that were not the newest when the table was written, and that a
// snapshot wanted. So no row is in doubt when one is damaged.
func (t *table) readValues(places []place) {
	for _, p := range places {
		plain, err := t.block(p)
		if err != nil {
			t.damage = append(t.damage, Damage{Path: t.path, Offset: int64(p.at), Lower: []byte{}, Upper: []byte{}, Cause: "older versions: " + err.Error()})
		}
		t.values = append(t.values, plain)
	}
}

// value returns the value of a row; false when it stands in a block of values
// that cannot be read.
func (t *table) value(v pebble.LazyValue) ([]byte, bool) {
	if v.Fetcher == nil {
		return v.ValueOrHandle, true
	}
	h := valblk.DecodeRemainingHandle(v.ValueOrHandle)
	if int64(h.BlockNum) >= int64(len(t.values)) {
		return nil, false
	}
	from, values := int64(h.OffsetInBlock), t.values[h.BlockNum]
	to := from + int64(v.Fetcher.Attribute.ValueLen)
	if to > int64(len(values)) {
		return nil, false
	}
	return values[from:to], true
}

// block returns a block that passes its check, aligned as the decoder wants it.
func (t *table) block(p place) ([]byte, error) {
	if p.at < 0 || p.length < 0 || p.at+p.length+trailer > len(t.data) {
		return nil, errors.New("the file ends before")
	}
	stored := t.data[p.at : p.at+p.length+trailer]
	if masked(crc32.Checksum(stored[:p.length+1], castagnoli)) != binary.LittleEndian.Uint32(stored[p.length+1:]) {
		return nil, errors.New("a block fails its checksum")
	}
	return t.decompress(stored[:p.length], stored[p.length])
}

// damaged notes that what stands at an offset cannot be read. While no key
// follows, it may concern every key behind the last.
func (t *table) damaged(at int, cause string) {
	t.open = append(t.open, len(t.damage))
	t.damage = append(t.damage, Damage{Path: t.path, Offset: int64(at), Lower: t.lastKey, Cause: cause})
}

// close says which key follows the damage before it.
func (t *table) close(key []byte) {
	for _, i := range t.open {
		t.damage[i].Upper = append([]byte{}, key...)
	}
	t.open = t.open[:0]
}

// decompress returns the octets of a block, aligned.
func (t *table) decompress(stored []byte, how byte) (plain []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a block is compressed in an unknown way: %v", p)
		}
	}()
	ci := block.CompressionIndicator(how)
	n := len(stored)
	if ci != block.NoCompressionIndicator {
		if n, err = block.DecompressedLen(ci, stored); err != nil {
			return nil, fmt.Errorf("a block cannot be decompressed: %w", err)
		}
	}
	if n > 64*maxBlock {
		return nil, fmt.Errorf("a block says that it has %d octets", n)
	}
	t.plain = make([]uint64, n/8+1)
	plain = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(t.plain))), n)
	if ci == block.NoCompressionIndicator {
		copy(plain, stored)
		return plain, nil
	}
	return plain, block.DecompressInto(ci, stored, plain)
}

// decode returns the rows of a block; none when it is one of another kind.
func (t *table) decode(plain []byte) (rows []Row, err error) {
	defer func() {
		if p := recover(); p != nil { // the decoder has no other way to complain
			rows, err = nil, fmt.Errorf("a block cannot be decoded: %v", p)
		}
	}()
	if len(plain) < rowHeader+7 || colblk.DecodeHeader(plain[rowHeader:]).Columns != rowColumns {
		return nil, nil
	}
	var d colblk.DataBlockDecoder
	d.Init(&t.schema, plain)
	if err := t.rows.Init(&d, block.NoTransforms); err != nil {
		return nil, err
	}
	for kv := t.rows.First(); kv != nil; kv = t.rows.Next() {
		value, found := t.value(kv.LazyValue())
		if !found {
			continue
		}
		row := Row{Key: append([]byte{}, kv.K.UserKey...), Seq: uint64(kv.SeqNum())}
		switch kv.Kind() {
		case pebble.InternalKeyKindSet, pebble.InternalKeyKindSetWithDelete:
			row.Value = value
		case pebble.InternalKeyKindDelete, pebble.InternalKeyKindSingleDelete, pebble.InternalKeyKindDeleteSized:
			row.Gone = true
		default:
			return nil, fmt.Errorf("a row of kind %s", kv.Kind())
		}
		rows = append(rows, row)
	}
	return rows, nil
}
