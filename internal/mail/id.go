package mail

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ID names a message, a session or a task. It is 16 characters of
// lower-case base32hex, so it can be read aloud, sorts by time of creation,
// and is never used twice.
type ID string

// idLength is the length of an ID in characters: 80 bits, 5 a character.
const idLength = 16

const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// IDs makes IDs. One process needs one. The zero value is ready for use,
// and safe for use by several goroutines.
//
// An ID is 44 bits of milliseconds since 1970 and 36 random bits; within a
// process each is larger than the one before, also when the clock steps
// back, so that a restart in the same millisecond is the only chance of a
// clash, one in 2^36.
type IDs struct {
	mu   sync.Mutex
	time uint64 // milliseconds of the last ID
	low  uint64 // its low 36 bits
}

const lowBits = 36

// New returns an ID that was never returned before.
func (s *IDs) New(now time.Time) ID {
	s.mu.Lock()
	ms := uint64(now.UnixMilli())
	if ms > s.time {
		s.time, s.low = ms, random36()
	} else if s.low++; s.low >= 1<<lowBits {
		s.time, s.low = s.time+1, random36()
	}
	ms, low := s.time, s.low
	s.mu.Unlock()

	var raw [10]byte
	binary.BigEndian.PutUint64(raw[:8], ms<<20|low>>16)
	binary.BigEndian.PutUint16(raw[8:], uint16(low))
	return ID(idEncoding.EncodeToString(raw[:]))
}

// random36 leaves the top bit clear, so that the IDs of one millisecond
// have room to count upwards.
func random36() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:]) >> (64 - lowBits + 1)
}

// ParseID checks that s has the form of an ID. It fails with a text that
// names s and the form.
func ParseID(s string) (ID, error) {
	// The decoder of encoding/base32 skips line breaks, so it cannot check.
	if len(s) != idLength || strings.Trim(s, idAlphabet) != "" {
		return "", fmt.Errorf("%q is not an id: an id is %d characters of 0-9 and a-v", s, idLength)
	}
	return ID(s), nil
}
