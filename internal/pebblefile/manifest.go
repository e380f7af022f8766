package pebblefile

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// manifest is what a manifest says of the logs.
type manifest struct {
	oldest uint64 // the oldest log that is needed; older ones are left over
	// last is the last sequence number that was given out when that was
	// written. The log named begins at or before it.
	last uint64
	end  int // offset behind the last record that can be read
}

// readManifest reads a manifest. Damage in the middle of it is returned; its
// last record may be torn, which is to be judged by lost.
func readManifest(files vfs.FS, f File) (manifest, *Damage, error) {
	data, err := contents(files, f.Path)
	if err != nil {
		return manifest{}, nil, err
	}
	p := parseChunks(data, 0)
	if len(p.chunks) == 0 {
		return manifest{}, &Damage{Path: f.Path, Cause: "it has no record that can be read"}, nil
	}
	for _, g := range p.gaps {
		if p.begins(g.then) {
			return manifest{}, &Damage{Path: f.Path, Offset: int64(g.at), Cause: "a record of the manifest fails its checksum"}, nil
		}
	}
	m := manifest{end: len(data)}
	if len(p.gaps) > 0 {
		m.end = p.gaps[0].at
	}
	for _, r := range p.records() {
		m.apply(r.data)
	}
	return m, nil, nil
}

// torn reports whether something stands behind the last record.
func (m *manifest) torn(f File) bool { return int64(m.end) < f.Size }

// lost tells of a last record that cannot be read and was in force. The power
// may have gone while it was written, and then nothing relies on it. But a log
// is removed only when the record by which it is not needed any more is
// durable: so when the oldest log that is needed has gone, and what is left
// begins later, that record was there. first is the first sequence number in
// the logs that are left; 0 when they are empty.
func (m *manifest) lost(f File, logs []File, first uint64) *Damage {
	if !m.torn(f) || len(logs) == 0 || logs[0].Number == m.oldest || first != 0 && first <= m.last+1 {
		return nil
	}
	return m.inForce(f, fmt.Sprintf("log %06d has gone", m.oldest))
}

// inForce tells of a last record that cannot be read and was in force, as
// something shows.
func (m *manifest) inForce(f File, shows string) *Damage {
	return &Damage{Path: f.Path, Offset: int64(m.end), Cause: "its last record cannot be read, and was in force: " + shows}
}

// The fields that stand at the beginning of a record of a manifest, before
// those about tables, and how many numbers each has. The first has a text.
const (
	tagComparator = 1
	tagLog        = 2
	tagLast       = 4
)

var leadingFields = map[uint64]int{tagComparator: 1, tagLog: 1, 3: 1, tagLast: 1, 9: 1, 105: 2, 106: 1}

// apply takes in what a record says of the logs.
func (m *manifest) apply(record []byte) {
	names := false
	for len(record) > 0 {
		tag, n := binary.Uvarint(record)
		numbers, known := leadingFields[tag]
		if n <= 0 || !known {
			return
		}
		record = record[n:]
		var value uint64
		for range numbers {
			if value, n = binary.Uvarint(record); n <= 0 {
				return
			}
			record = record[n:]
		}
		switch tag {
		case tagComparator:
			record = record[min(value, uint64(len(record))):]
		case tagLog:
			m.oldest, names = value, true
		case tagLast:
			if names {
				m.last = value
			}
		}
	}
}
