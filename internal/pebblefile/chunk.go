package pebblefile

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// A log, or a manifest, is a file of blocks of blockSize octets. Each holds
// chunks: a header, then a part of a record. No chunk crosses from one block
// into the next.
//
//	header  0  CRC32C of all behind it, masked
//	        4  octets of the part
//	        6  encoding: which part of a record it is, and which form of header
//	        7  number of the log          (not in the legacy form)
//	       11  offset up to which the log was synced (in the form with sync)
const (
	blockSize        = 32 << 10
	legacyHeader     = 7
	recyclableHeader = 11
	syncHeader       = 19
)

// part is which part of a record a chunk is.
type part int

const (
	whole part = iota
	first
	middle
	last
)

// chunk is a chunk that passes its check.
type chunk struct {
	at      int // its offset in the file
	size    int // with its header
	part    part
	payload []byte
	synced  uint64
	sync    bool // it has synced
}

// parseChunk returns the chunk that begins at an offset of a file, if one of
// that log does.
func parseChunk(data []byte, at int, number uint64) (chunk, bool) {
	end := min(len(data), (at/blockSize+1)*blockSize)
	if at+legacyHeader > end {
		return chunk{}, false
	}
	b := data[at:end]
	encoding := int(b[6])
	if encoding < 1 || encoding > 12 {
		return chunk{}, false
	}
	c := chunk{at: at, part: part((encoding - 1) % 4)}
	header := []int{legacyHeader, recyclableHeader, syncHeader}[(encoding-1)/4]
	c.size = header + int(binary.LittleEndian.Uint16(b[4:]))
	if c.size > len(b) {
		return chunk{}, false
	}
	if header > legacyHeader && binary.LittleEndian.Uint32(b[7:]) != uint32(number) {
		return chunk{}, false
	}
	if masked(crc32.Checksum(b[6:c.size], castagnoli)) != binary.LittleEndian.Uint32(b) {
		return chunk{}, false
	}
	if c.sync = header == syncHeader; c.sync {
		c.synced = binary.LittleEndian.Uint64(b[11:])
	}
	c.payload = b[header:c.size]
	return c, true
}

// isTrailer reports whether the log ends in good order at an offset: its
// writer closed it.
func isTrailer(data []byte, at int, number uint64) bool {
	return at+recyclableHeader <= len(data) && binary.LittleEndian.Uint32(data[at:]) == 0 &&
		binary.LittleEndian.Uint16(data[at+4:]) == 0 && data[at+6] == 5 && binary.LittleEndian.Uint32(data[at+7:]) == uint32(number)+1
}

// gap is a place in a log where a chunk should begin and none does.
type gap struct {
	at   int
	then int // how many chunks stand before it
}

// parsed is a log or manifest, taken apart.
type parsed struct {
	chunks []chunk
	gaps   []gap
	closed bool // it ends in a trailer
}

// parseChunks takes a log or manifest apart. Behind a gap it goes on with the
// next chunk that can be found.
func parseChunks(data []byte, number uint64) parsed {
	var p parsed
	for at := 0; at < len(data); {
		c, ok := parseChunk(data, at, number)
		switch {
		case ok:
			p.chunks = append(p.chunks, c)
			at += c.size
		case isTrailer(data, at, number):
			p.closed = true
			return p
		case isPadding(data, at):
			at = blockEnd(data, at)
		default:
			p.gaps = append(p.gaps, gap{at, len(p.chunks)})
			at = resync(data, at, number)
		}
	}
	return p
}

func blockEnd(data []byte, at int) int { return min(len(data), (at/blockSize+1)*blockSize) }

// isPadding reports whether the rest of a block is too short for a chunk, and
// was left empty.
func isPadding(data []byte, at int) bool {
	rest := data[at:blockEnd(data, at)]
	return len(rest) < syncHeader && isZero(rest)
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// resync returns where the next chunk begins behind something that is none;
// the end of the data when there is none.
//
// A mail may hold what looks like a chunk, and must not be taken for one. So
// the next chunk is looked for where the header of the damaged one says, and
// at the beginnings of blocks, where no content ever is; and elsewhere only if
// the chunks from there on lead to a proper end, which no sender can arrange.
func resync(data []byte, at int, number uint64) int {
	end := blockEnd(data, at)
	if at+legacyHeader <= end {
		for _, header := range []int{legacyHeader, recyclableHeader, syncHeader} {
			said := at + header + int(binary.LittleEndian.Uint16(data[at+4:]))
			if _, ok := parseChunk(data, said, number); said < end && (ok || isTrailer(data, said, number)) {
				return said
			}
		}
	}
	for next := at + 1; next < end; next++ {
		if leadsOn(data, next, number) {
			return next
		}
	}
	for ; end < len(data); end = blockEnd(data, end) {
		if _, ok := parseChunk(data, end, number); ok || isTrailer(data, end, number) {
			return end
		}
	}
	return len(data)
}

// leadsOn reports whether chunks follow each other from here to the end of
// the block, of the log, or of what was written of it.
func leadsOn(data []byte, at int, number uint64) bool {
	end := blockEnd(data, at)
	found := false
	for at < end {
		if c, ok := parseChunk(data, at, number); ok {
			at, found = at+c.size, true
			continue
		}
		if isTrailer(data, at, number) {
			at, found = at+recyclableHeader, true
		}
		return found && isZero(data[at:min(end, at+syncHeader)])
	}
	return found
}

// record is a record of a log.
type record struct {
	at   int // its offset
	gaps int // how many gaps stand before its end
	data []byte
}

// records puts together the records of which all chunks are there.
func (p *parsed) records() []record {
	var all []record
	var partial *record
	passed := 0
	for i := range p.chunks {
		for passed < len(p.gaps) && p.gaps[passed].then == i {
			passed++
			partial = nil
		}
		c := &p.chunks[i]
		if c.part == whole || c.part == first {
			partial = &record{at: c.at, gaps: passed}
		}
		if partial == nil {
			continue // its beginning is lost
		}
		partial.data = append(partial.data, c.payload...)
		if c.part == whole || c.part == last {
			all = append(all, *partial)
			partial = nil
		}
	}
	return all
}

// begins reports whether a record begins at the nth chunk or behind it. What
// stands there else is the end of one that was torn.
func (p *parsed) begins(n int) bool {
	return slices.ContainsFunc(p.chunks[n:], func(c chunk) bool { return c.part == whole || c.part == first })
}
