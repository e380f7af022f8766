package embedded

import (
	"bytes"
	"encoding/binary"
	"math"

	"postern/internal/mail"
	"postern/internal/queue"
)

// The keys. ID is an entry's or a body's id, 0 a NUL, which ids, destinations
// and kinds of marks do not contain. Values are JSON where nothing else is
// said.
//
//	v                  format version, in decimal
//	e ID               header: the entry without its deliveries
//	d ID 0 destination delivery: a binary summary, then its recipients
//	a ID 0 destination attempts registered since the delivery was written
//	q ID 0 destination edits that wait for the end of the delivery's lease
//	b ID               place: where a body is, and its size; binary
//	c ID               content of a body that is kept here: CRC32C (4 octets), then content
//	u ID 0 ID          empty: the body is used by the entry
//	f number           fact without Source and N; the number, of 8 octets, is N
//	g                  the last fact that was forgotten, in decimal
//	m kind 0 key       mark
//	r                  the edit that is under way
//	x key              what was stored under key, set aside because it is damaged
//	y ID               why the entry was set aside
const (
	versionPrefix   = 'v'
	headerPrefix    = 'e'
	deliveryPrefix  = 'd'
	attemptsPrefix  = 'a'
	pendingPrefix   = 'q'
	placePrefix     = 'b'
	contentPrefix   = 'c'
	usePrefix       = 'u'
	factPrefix      = 'f'
	forgottenPrefix = 'g'
	markPrefix      = 'm'
	editPrefix      = 'r'
	asidePrefix     = 'x'
	damagePrefix    = 'y'
)

// formatVersion is the version of this layout. A store with a newer one is
// refused, one with an older one migrated.
const formatVersion = 2

func key(prefix byte, id mail.ID) []byte {
	return append(append(make([]byte, 0, 1+len(id)), prefix), id...)
}

// partKey is the key of a part of something; an empty part gives the prefix
// of the keys of all parts.
func partKey(prefix byte, id mail.ID, part string) []byte {
	k := make([]byte, 0, 2+len(id)+len(part))
	k = append(append(k, prefix), id...)
	return append(append(k, 0), part...)
}

func factKey(n uint64) []byte { return appendFactKey(make([]byte, 0, 9), n) }

func appendFactKey(dst []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, factPrefix), n)
}

func markKey(kind queue.MarkKind, name string) []byte {
	return partKey(markPrefix, mail.ID(kind), name)
}

func asideKey(key []byte) []byte { return append([]byte{asidePrefix}, key...) }

// splitKey takes the key of a part apart; ok is false when it is none.
func splitKey(k []byte) (id mail.ID, part string, ok bool) {
	if len(k) == 0 {
		return "", "", false
	}
	before, after, found := bytes.Cut(k[1:], []byte{0})
	return mail.ID(before), string(after), found
}

// parseFactKey returns the number in the key of a fact.
func parseFactKey(k []byte) (n uint64, ok bool) {
	if len(k) != 9 {
		return 0, false
	}
	return binary.BigEndian.Uint64(k[1:]), true
}

// after returns the first key behind all that begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < math.MaxUint8 {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}
