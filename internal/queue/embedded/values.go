package embedded

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// place says where a body is: in the database, under a key of its own, or in
// the body log.
type place struct {
	inline bool
	seglog.Place
}

// The first octet of a stored place.
const (
	placeInline = 'i'
	placeLog    = 'l'
)

func (p place) encode() []byte {
	if p.inline {
		return binary.AppendUvarint([]byte{placeInline}, uint64(p.Size))
	}
	b := []byte{placeLog}
	for _, n := range []uint64{uint64(p.Size), p.Segment, uint64(p.Offset), uint64(p.Head)} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func decodePlace(key, value []byte) (place, error) {
	if len(value) == 0 || value[0] != placeInline && value[0] != placeLog {
		return place{}, damaged(key, "not a place")
	}
	p := place{inline: value[0] == placeInline}
	r := reader{rest: value[1:]}
	p.Size = r.size()
	if !p.inline {
		p.Segment, p.Offset, p.Head = r.uvarint(), r.size(), r.size()
	}
	if r.failed || len(r.rest) > 0 {
		return place{}, damaged(key, "not a place")
	}
	return p, nil
}

// reader reads the parts of a binary value. Once something is missing, failed
// is set.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) uvarint() uint64 {
	n, length := binary.Uvarint(r.rest)
	return n * uint64(r.took(length))
}

func (r *reader) varint() int64 {
	n, length := binary.Varint(r.rest)
	return n * int64(r.took(length))
}

// took passes over what was read. It returns 1, or 0 when that failed.
func (r *reader) took(length int) int {
	if length <= 0 {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[length:]
	return 1
}

// size reads a number that fits an int64.
func (r *reader) size() int64 {
	n := r.uvarint()
	r.failed = r.failed || int64(n) < 0
	return int64(n)
}

// count reads a number that fits an int32.
func (r *reader) count() int32 {
	n := r.uvarint()
	r.failed = r.failed || n > 1<<31-1
	return int32(n)
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.failed = true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// damaged says that the value of a key cannot be what was stored.
func damaged(key []byte, why any) error {
	return fmt.Errorf("%w: value of key %q: %v", queue.ErrDamaged, key, why)
}

func decode[T any](key, value []byte) (T, error) {
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		return v, damaged(key, err)
	}
	return v, nil
}

func decodeHeader(key, value []byte) (queue.Entry, error) {
	e, err := decode[queue.Entry](key, value)
	if err != nil {
		return e, err
	}
	if len(key) == 0 || string(e.ID) != string(key[1:]) || e.Body == "" || len(e.Deliveries) > 0 {
		return e, damaged(key, "not the header of that entry")
	}
	return e, nil
}

// summary is what opening the store needs to know of a delivery. It stands
// before the recipients, so that these need not be decoded then.
type summary struct {
	body  mail.ID
	class mail.Class
	queue.Summary
}

// encodeDelivery returns what is stored of a delivery of an entry with that
// body and class.
func encodeDelivery(body mail.ID, class mail.Class, d *queue.Delivery) ([]byte, error) {
	if y := d.Next.Year(); y < 0 || y > 9999 { // what JSON refuses, and operators could not read
		return nil, fmt.Errorf("%w: next attempt in the year %d", queue.ErrInvalid, y)
	}
	recipients, err := json.Marshal(d.Recipients)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", queue.ErrInvalid, err)
	}
	s := d.Summary()
	b := make([]byte, 0, len(recipients)+48)
	b = binary.AppendUvarint(b, uint64(len(body)))
	b = append(b, body...)
	b = binary.AppendVarint(b, int64(class))
	b = binary.AppendVarint(b, s.Next.Unix())
	b = binary.AppendUvarint(b, uint64(s.Next.Nanosecond()))
	b = binary.AppendUvarint(b, uint64(s.Attempts))
	for _, n := range []int32{s.Queued, s.Deferred, s.Held} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return append(b, recipients...), nil
}

// decodeSummary returns the summary of a delivery, and the encoded recipients.
func decodeSummary(key, value []byte) (summary, []byte, error) {
	r := reader{rest: value}
	var s summary
	s.body = mail.ID(r.text())
	class := r.varint()
	s.class = mail.Class(class)
	seconds, nanoseconds := r.varint(), r.count()
	s.Next = time.Unix(seconds, int64(nanoseconds)).UTC()
	s.Attempts = int(r.count())
	s.Queued, s.Deferred, s.Held = r.count(), r.count(), r.count()
	switch {
	case r.failed, s.body == "", int64(s.class) != class, nanoseconds >= 1e9, s.Tally == queue.Tally{}:
		return summary{}, nil, damaged(key, "not a delivery")
	}
	return s, r.rest, nil
}

func decodeDelivery(key, value []byte) (queue.Delivery, error) {
	s, recipients, err := decodeSummary(key, value)
	if err != nil {
		return queue.Delivery{}, err
	}
	_, destination, ok := splitKey(key)
	if !ok {
		return queue.Delivery{}, damaged(key, "not the key of a delivery")
	}
	d := queue.Delivery{Destination: mail.Destination(destination), Attempts: s.Attempts, Next: s.Next}
	if d.Recipients, err = decode[[]queue.Recipient](key, recipients); err != nil {
		return d, err
	}
	if i := slices.IndexFunc(d.Recipients, func(r queue.Recipient) bool { return !r.State.Stored() }); i >= 0 {
		return d, damaged(key, fmt.Sprintf("a recipient in state %q", d.Recipients[i].State))
	}
	if d.Summary().Tally != s.Tally {
		return d, damaged(key, "recipients that do not fit their summary")
	}
	return d, nil
}

// decodeFact names the fact by its key.
func decodeFact(key, value []byte) (mail.Fact, error) {
	f, err := decode[mail.Fact](key, value)
	if err != nil {
		return f, err
	}
	n, ok := parseFactKey(key)
	if !ok {
		return f, damaged(key, "not the key of a fact")
	}
	f.Source, f.N = queue.FactSource, n
	return f, nil
}

func decodeNumber(key, value []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0, damaged(key, err)
	}
	return n, nil
}

// decodeAttempts reads a number that is small enough for an int.
func decodeAttempts(key, value []byte) (int, error) {
	n, err := strconv.ParseUint(string(value), 10, 31)
	if err != nil {
		return 0, damaged(key, err)
	}
	return int(n), nil
}

func encodeNumber(n uint64) []byte { return strconv.AppendUint(nil, n, 10) }

// castagnoli is the polynomial of CRC32C, which processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumSize is the octets before the content of a body in the database.
const checksumSize = 4

// checksum covers the body's id too, so that a content in the wrong place is
// not taken for the right one.
func checksum(body mail.ID, content []byte) uint32 {
	return crc32.Update(crc32.Checksum(content, castagnoli), castagnoli, []byte(body))
}

// sealContent fills in the checksum of a content that is in place.
func sealContent(value []byte, body mail.ID) {
	binary.BigEndian.PutUint32(value, checksum(body, value[checksumSize:]))
}

// openContent checks a content of size octets and returns it.
func openContent(value []byte, body mail.ID, size int64) ([]byte, error) {
	if len(value) < checksumSize || int64(len(value)) != checksumSize+size {
		return nil, fmt.Errorf("%w: body %s has %d octets, want %d", queue.ErrDamaged, body, len(value), checksumSize+size)
	}
	content := value[checksumSize:]
	if binary.BigEndian.Uint32(value) != checksum(body, content) {
		return nil, fmt.Errorf("%w: body %s fails its checksum", queue.ErrDamaged, body)
	}
	return content, nil
}
