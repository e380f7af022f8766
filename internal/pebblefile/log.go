package pebblefile

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Promise is what a writer puts into the log data of each batch: that all
// rows with a lower sequence number are on stable storage. By it a record that
// is damaged can be told from one that a power cut tore.
//
// QUIRK: Pebble writes the offset up to which the log is synced into each
// record for the same purpose, but counts too little behind batches of more
// than 32 KiB, and does not look within the last 32 KiB.
func Promise(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte(promiseMagic), seq) }

const promiseMagic = "synced<"

func parsePromise(b []byte) (uint64, bool) {
	if len(b) != len(promiseMagic)+8 || string(b[:len(promiseMagic)]) != promiseMagic {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[len(promiseMagic):]), true
}

// readLogs visits the rows of all logs of a database, in the order of their
// numbers. What was not written whole at the end of the newest is passed over,
// as Pebble does: the power went. So is the last record of all, if that is
// damaged: nothing tells it from one that was torn. Damage anywhere else is
// told.
func readLogs(files vfs.FS, logs []File, visit func(Row) error) ([]Damage, error) {
	var damage []Damage
	expected := uint64(0) // sequence number of the next batch; 0 when unknown
	for i, f := range logs {
		data, err := contents(files, f.Path)
		if err != nil {
			return damage, err
		}
		l := logFile{path: f.Path, parsed: parseChunks(data, f.Number)}
		if newest := i == len(logs)-1; !newest {
			l.endsWell(len(data))
		}
		l.readBatches()
		l.confirm(expected)
		damage = append(damage, l.damage...)
		for _, b := range l.batches {
			for _, r := range b.rows {
				if err := visit(r); err != nil {
					return damage, err
				}
			}
			expected = b.next
		}
	}
	return damage, nil
}

// logFile is a log that is being read.
type logFile struct {
	path string
	parsed
	batches []batch
	damage  []Damage
}

// batch is a record of a log, taken apart.
type batch struct {
	gaps      int // that stand before it
	seq, next uint64
	promise   uint64 // 0 for none
	rows      []Row
}

// endsWell says that a log was closed before the next was begun, though its
// trailer may be damaged.
func (l *logFile) endsWell(size int) {
	if !l.closed && len(l.gaps) == 0 {
		l.gaps = append(l.gaps, gap{size, len(l.chunks)}) // cut off
	}
	l.closed = true
}

func (l *logFile) readBatches() {
	for _, r := range l.records() {
		b, err := readBatch(r.data)
		if err != nil {
			l.damage = append(l.damage, Damage{Path: l.path, Offset: int64(r.at), Cause: err.Error()})
			continue
		}
		b.gaps = r.gaps
		l.batches = append(l.batches, b)
	}
}

// confirm tells which gaps are damage. The first that is not is the end of
// the log.
func (l *logFile) confirm(expected uint64) {
	for n, g := range l.gaps {
		before, behind := l.split(n)
		if len(before) > 0 {
			expected = before[len(before)-1].next
		}
		if !l.closed && !l.synced(g) && !promised(behind, expected) {
			l.batches = before
			return
		}
		l.damage = append(l.damage, Damage{Path: l.path, Offset: int64(g.at), Cause: "a record of the log fails its checksum, or is missing"})
	}
}

// split returns the batches before and behind a gap.
func (l *logFile) split(n int) (before, behind []batch) {
	for i := range l.batches {
		if l.batches[i].gaps > n {
			return l.batches[:i], l.batches[i:]
		}
	}
	return l.batches, nil
}

// synced reports whether Pebble says, behind a gap, that it was synced.
func (l *logFile) synced(g gap) bool {
	for _, c := range l.chunks[g.then:] {
		if c.sync && c.synced > uint64(g.at) {
			return true
		}
	}
	return false
}

// promised reports whether a batch behind a gap promises what was in it.
// expected is the first sequence number that is missing; 0 when it is not
// known.
func promised(behind []batch, expected uint64) bool {
	if len(behind) == 0 {
		return false
	}
	if expected == 0 {
		expected = behind[0].seq - 1
	}
	for i := range behind {
		if behind[i].promise > expected {
			return true
		}
	}
	return false
}

// badBatch says that a record that passes its check is no batch.
type badBatch string

func (b badBatch) Error() string { return "a record of the log is no batch: " + string(b) }

func readBatch(data []byte) (batch, error) {
	h, ok := batchrepr.ReadHeader(data)
	if !ok {
		return batch{}, badBatch("it is too short")
	}
	b := batch{seq: uint64(h.SeqNum), next: uint64(h.SeqNum)}
	reader := batchrepr.Read(data)
	for {
		kind, key, value, more, err := reader.Next()
		switch {
		case err != nil:
			return b, badBatch(err.Error())
		case !more:
			return b, nil
		}
		switch kind {
		case pebble.InternalKeyKindLogData:
			if p, ok := parsePromise(key); ok {
				b.promise = p
			}
			continue
		case pebble.InternalKeyKindSet:
			b.rows = append(b.rows, Row{Key: key, Value: value, Seq: b.next})
		case pebble.InternalKeyKindDelete, pebble.InternalKeyKindSingleDelete, pebble.InternalKeyKindDeleteSized:
			b.rows = append(b.rows, Row{Key: key, Seq: b.next, Gone: true})
		default:
			return b, badBatch(fmt.Sprintf("it has an operation of kind %s", kind))
		}
		b.next++
	}
}
