package directory

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// table is a map from texts to records, both as octets, made for a million of them: they
// lie one behind the other in large chunks, and no pointer leads to any of them, so that
// the garbage collector has nothing to follow. Keys are found by open addressing; the
// hash has a seed, so that nobody can choose keys that collide.
type table struct {
	seed maphash.Seed
	// slots have the upper bits of the hash of a key, and the place of its record.
	slots  []uint64
	chunks [][]byte
	live   int // records
	buried int // slots of records that are gone
	bytes  int // of all chunks, as far as they are used
	dead   int // octets of them that belong to records that are gone
}

const (
	slotEmpty  = 0
	slotBuried = 1
	// placeBits are those of a slot that are the place of a record: of the first octet
	// of all chunks, counted from 2.
	placeBits = 40
	chunkBits = 20
	chunkSize = 1 << chunkBits
	// maxRecord bounds a record with its key, in octets.
	maxRecord = chunkSize - 2*binary.MaxVarintLen64
)

func newTable(expected int) *table {
	t := &table{seed: maphash.MakeSeed()}
	size := 64
	for size*3 < expected*4 {
		size *= 2
	}
	t.slots = make([]uint64, size)
	return t
}

func (t *table) len() int { return t.live }

// get returns the record of a key, nil for none, and adds to probes how many records
// it looked at. What it returns is valid until the table is changed.
func (t *table) get(key []byte, probes *int) []byte {
	at := t.find(key, probes)
	if at < 0 {
		return nil
	}
	_, value := t.record(t.slots[at])
	return value
}

// find returns the slot of a key, -1 for none.
func (t *table) find(key []byte, probes *int) int {
	hash := maphash.Bytes(t.seed, key)
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := t.slots[i]
		if slot == slotEmpty {
			return -1
		}
		if slot == slotBuried || slot>>placeBits != hash>>placeBits {
			continue
		}
		*probes++
		if found, _ := t.record(slot); bytes.Equal(found, key) {
			return int(i)
		}
	}
}

// record returns the key and the value at the place of a slot.
func (t *table) record(slot uint64) (key, value []byte) {
	place := slot&(1<<placeBits-1) - 2
	b := t.chunks[place>>chunkBits][place&(chunkSize-1):]
	key, b = cut(b)
	value, _ = cut(b)
	return key, value
}

// cut takes a text with its length off b.
func cut(b []byte) (text, rest []byte) {
	n, size := binary.Uvarint(b)
	b = b[size:]
	return b[:n:n], b[n:]
}

// put sets the record of a key. Both together are no longer than maxRecord.
func (t *table) put(key, value []byte) {
	var probes int
	if at := t.find(key, &probes); at >= 0 {
		_, old := t.record(t.slots[at])
		t.dead += recordSize(len(key), len(old))
		t.slots[at] = t.slots[at]>>placeBits<<placeBits | t.append(key, value)
		t.compact()
		return
	}
	if (t.live+t.buried+1)*4 > len(t.slots)*3 {
		t.rebuild(t.live + 1)
	}
	t.insert(key, t.append(key, value))
	t.live++
}

// insert takes a free slot for the record of a new key.
func (t *table) insert(key []byte, place uint64) {
	hash := maphash.Bytes(t.seed, key)
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i] != slotEmpty {
		i = (i + 1) & mask
	}
	t.slots[i] = hash>>placeBits<<placeBits | place
}

// append adds a record to the chunks, and returns its place.
func (t *table) append(key, value []byte) uint64 {
	size := recordSize(len(key), len(value))
	last := len(t.chunks) - 1
	if last < 0 || len(t.chunks[last])+size > chunkSize {
		t.chunks = append(t.chunks, make([]byte, 0, chunkSize))
		last++
	}
	b := t.chunks[last]
	place := uint64(last)<<chunkBits + uint64(len(b)) + 2
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	t.chunks[last] = append(binary.AppendUvarint(b, uint64(len(value))), value...)
	t.bytes += size
	return place
}

func recordSize(key, value int) int {
	return uvarintSize(key) + key + uvarintSize(value) + value
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// remove takes a key out, if it is there.
func (t *table) remove(key []byte) {
	var probes int
	at := t.find(key, &probes)
	if at < 0 {
		return
	}
	_, value := t.record(t.slots[at])
	t.dead += recordSize(len(key), len(value))
	t.slots[at] = slotBuried
	t.live--
	t.buried++
	t.compact()
}

// compact makes the table anew when most of it belongs to nobody.
func (t *table) compact() {
	if t.dead > chunkSize && t.dead*2 > t.bytes {
		t.rebuild(t.live)
	}
}

// rebuild makes the table anew, with room for so many records at least.
func (t *table) rebuild(expected int) {
	fresh := newTable(expected * 3 / 2)
	fresh.seed = t.seed
	for key, value := range t.all {
		fresh.insert(key, fresh.append(key, value))
	}
	fresh.live = t.live
	*t = *fresh
}

// all is an iterator over all keys and records, in no order.
func (t *table) all(yield func(key, value []byte) bool) {
	for _, slot := range t.slots {
		if slot == slotEmpty || slot == slotBuried {
			continue
		}
		if !yield(t.record(slot)) {
			return
		}
	}
}

// clone returns a copy that shares nothing with t.
func (t *table) clone() *table {
	c := *t
	c.slots = append([]uint64(nil), t.slots...)
	c.chunks = make([][]byte, len(t.chunks))
	for i, chunk := range t.chunks {
		c.chunks[i] = append(make([]byte, 0, chunkSize), chunk...)
	}
	return &c
}
