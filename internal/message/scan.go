package message

import (
	"bytes"
	"encoding/binary"
)

// scanner finds what must be known of content to relay it.
type scanner struct {
	eightBit bool
	longest  int // octets of the longest line so far, with its CRLF
	line     int // octets of the line that has not ended
}

func (s *scanner) scan(p []byte) {
	if !s.eightBit {
		s.eightBit = HasEightBit(p)
	}
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.line += len(p)
			return
		}
		s.longest = max(s.longest, s.line+i+1)
		s.line = 0
		p = p[i+1:]
	}
}

// longestLine returns the octets of the longest line without its CRLF. The
// content must have ended in CRLF.
func (s *scanner) longestLine() int { return max(s.longest-len("\r\n"), 0) }

// HasEightBit reports whether an octet of p is not US-ASCII. It looks at 32
// octets at a time: every octet that is relayed goes through here.
func HasEightBit(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 32 {
		w := binary.NativeEndian.Uint64(p) | binary.NativeEndian.Uint64(p[8:]) |
			binary.NativeEndian.Uint64(p[16:]) | binary.NativeEndian.Uint64(p[24:])
		if w&high != 0 {
			return true
		}
		p = p[32:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
