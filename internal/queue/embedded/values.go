package embedded

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"

	"postern/internal/mail"
	"postern/internal/queue"
)

// place says where a body is.
type place struct {
	Size int64 `json:"size"`
	// Chunk is the size of its chunks but for the last.
	Chunk int64 `json:"chunk"`
}

// chunkSize is the size of the chunks that are written. Those of this size
// and less are held in memory as a whole while they are read.
const chunkSize = 256 << 10

// maxChunkSize bounds what a place may say.
const maxChunkSize = 16 << 20

// chunks is the number of chunks of the body.
func (p place) chunks() int {
	n := p.Size / p.Chunk
	if p.Size%p.Chunk > 0 {
		n++
	}
	return int(n)
}

// sizeOf is the size of one chunk.
func (p place) sizeOf(number int) int64 { return min(p.Chunk, p.Size-int64(number)*p.Chunk) }

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

func decodeDelivery(key, value []byte) (queue.Delivery, error) {
	d, err := decode[queue.Delivery](key, value)
	if err != nil {
		return d, err
	}
	if _, part, ok := splitKey(key); !ok || string(d.Destination) != part || len(d.Recipients) == 0 || d.Attempts < 0 {
		return d, damaged(key, "not the delivery to that destination")
	}
	if i := slices.IndexFunc(d.Recipients, func(r queue.Recipient) bool { return !r.State.Stored() }); i >= 0 {
		return d, damaged(key, fmt.Sprintf("a recipient in state %q", d.Recipients[i].State))
	}
	return d, nil
}

func decodePlace(key, value []byte) (place, error) {
	p, err := decode[place](key, value)
	if err == nil && (p.Size < 0 || p.Chunk <= 0 || p.Chunk > maxChunkSize) {
		err = damaged(key, "sizes that cannot be")
	}
	return p, err
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

// checksumSize is the octets of a chunk before its content.
const checksumSize = 4

// checksum covers the body's id and the chunk's number too, so that a chunk
// in the wrong place is not taken for the right one.
func checksum(body mail.ID, number int, content []byte) uint32 {
	sum := crc32.Update(0, castagnoli, chunkKey(body, number))
	return crc32.Update(sum, castagnoli, content)
}

// sealChunk fills in the checksum of a chunk whose content is in place.
func sealChunk(value []byte, body mail.ID, number int) {
	binary.BigEndian.PutUint32(value, checksum(body, number, value[checksumSize:]))
}

// openChunk checks a chunk of size octets and returns its content.
func openChunk(value []byte, body mail.ID, number int, size int64) ([]byte, error) {
	if len(value) < checksumSize || int64(len(value)) != checksumSize+size {
		return nil, fmt.Errorf("%w: chunk %d of body %s has %d octets, want %d", queue.ErrDamaged, number, body, len(value), checksumSize+size)
	}
	content := value[checksumSize:]
	if binary.BigEndian.Uint32(value) != checksum(body, number, content) {
		return nil, fmt.Errorf("%w: chunk %d of body %s fails its checksum", queue.ErrDamaged, number, body)
	}
	return content, nil
}
