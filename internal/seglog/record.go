package seglog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"postern/internal/mail"
)

// A segment begins with a header of headerSize octets: a magic, the number of
// the segment, its salt, and a CRC32C of these. Records follow, each aligned
// to 8 octets: a descriptor, the envelope, a table with a checksum for each
// frame of the content, and the content.
//
//	descriptor  0  magic
//	            4  octets of the envelope
//	            8  octets of the content
//	           16  salt of the segment; 0 in a file of its own
//	           24  id
//	           40  CRC32C of octets 0 to 40, envelope and table
//	           44  0
//
// The salt is drawn at random for each segment: whoever sends a content that
// looks like a record cannot know it.
//
// A file of a single content has the content first, and the rest behind it;
// its last 8 octets are a magic and the length of that rest. All numbers are
// big-endian.
const (
	headerMagic  = "PSTNSEG1"
	headerSize   = 32
	recordMagic  = "\xb0Rec"
	fixedSize    = 48
	trailerMagic = "\xb0End"
	trailerSize  = 8
	idSize       = 16
)

// FrameSize is the size of the pieces that are verified on their own.
const FrameSize = 64 << 10

// MaxHead is how many octets an envelope may have.
const MaxHead = 64 << 20

// maxContent bounds the size that is believed of a content.
const maxContent = 1 << 40

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// aligned rounds up to where a record may begin.
func aligned(n int64) int64 { return (n + 7) &^ 7 }

// frames is how many frames a content has.
func frames(size int64) int64 { return (size + FrameSize - 1) / FrameSize }

// frameSum is the checksum of a frame.
func frameSum(id mail.ID, number int64, content []byte) uint32 {
	var tail [idSize + 8]byte
	copy(tail[:], id)
	binary.BigEndian.PutUint64(tail[idSize:], uint64(number))
	return crc32.Update(crc32.Checksum(content, castagnoli), castagnoli, tail[:])
}

// blockSize is how many octets of a record are not content.
func blockSize(head int, size int64) int64 {
	return aligned(fixedSize + int64(head) + 4*frames(size))
}

// fill writes descriptor, envelope and table into block, which has blockSize
// octets, reading the content once. The content also goes to to, when that is
// not nil. The block is to be sealed.
func (r *Record) fill(block, to []byte) error {
	copy(block, recordMagic)
	binary.BigEndian.PutUint32(block[4:], uint32(len(r.Head)))
	binary.BigEndian.PutUint64(block[8:], uint64(r.Size))
	copy(block[24:], r.ID)
	table := block[fixedSize+copy(block[fixedSize:], r.Head):]
	var frame []byte
	for n := range frames(r.Size) {
		length := min(FrameSize, r.Size-n*FrameSize)
		if to != nil {
			frame = to[n*FrameSize:][:length]
		} else if frame == nil {
			frame = make([]byte, FrameSize)
		}
		frame = frame[:length]
		if got, err := r.Content.ReadAt(frame, n*FrameSize); got < len(frame) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("cannot read the content: %w", err)
		}
		binary.BigEndian.PutUint32(table[4*n:], frameSum(r.ID, n, frame))
	}
	return nil
}

// seal completes a block.
func seal(block []byte, salt uint64) {
	binary.BigEndian.PutUint64(block[16:], salt)
	binary.BigEndian.PutUint32(block[40:], blockSum(block))
}

func blockSum(block []byte) uint32 {
	sum := crc32.Checksum(block[:40], castagnoli)
	return crc32.Update(sum, castagnoli, block[44:])
}

// descriptor is what a block says.
type descriptor struct {
	id   mail.ID
	salt uint64
	size int64
	head []byte
	sums []byte // 4 octets a frame
}

// sum is the checksum of a frame.
func (d *descriptor) sum(number int64) uint32 { return binary.BigEndian.Uint32(d.sums[4*number:]) }

// blockLength returns the length of the block that begins with fixed, which
// has fixedSize octets; ok is false when that is no beginning of one.
func blockLength(fixed []byte) (n int64, ok bool) {
	head, size := binary.BigEndian.Uint32(fixed[4:]), binary.BigEndian.Uint64(fixed[8:])
	if string(fixed[:4]) != recordMagic || head > MaxHead || size > maxContent {
		return 0, false
	}
	return blockSize(int(head), int64(size)), true
}

// saltOf returns the salt in the beginning of a block.
func saltOf(fixed []byte) uint64 { return binary.BigEndian.Uint64(fixed[16:]) }

// parseBlock takes a block apart. The slices of what it returns are block's.
func parseBlock(block []byte) (descriptor, error) {
	if len(block) < fixedSize {
		return descriptor{}, fmt.Errorf("%d octets are no record", len(block))
	}
	n, ok := blockLength(block)
	if !ok || n != int64(len(block)) {
		return descriptor{}, fmt.Errorf("no record of that size begins here")
	}
	if binary.BigEndian.Uint32(block[40:]) != blockSum(block) {
		return descriptor{}, fmt.Errorf("the head of the record fails its checksum")
	}
	id, err := mail.ParseID(string(block[24:40]))
	if err != nil {
		return descriptor{}, err
	}
	d := descriptor{id: id, salt: saltOf(block), size: int64(binary.BigEndian.Uint64(block[8:]))}
	head := int64(binary.BigEndian.Uint32(block[4:]))
	d.head = block[fixedSize:][:head]
	d.sums = block[fixedSize+head:][:4*frames(d.size)]
	return d, nil
}

// header returns the beginning of a segment.
func header(number, salt uint64) []byte {
	b := make([]byte, headerSize)
	copy(b, headerMagic)
	binary.BigEndian.PutUint64(b[8:], number)
	binary.BigEndian.PutUint64(b[16:], salt)
	binary.BigEndian.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
	return b
}

// parseHeader returns the salt of a segment.
func parseHeader(b []byte, number uint64) (salt uint64, ok bool) {
	if len(b) < headerSize || string(b[:8]) != headerMagic || binary.BigEndian.Uint64(b[8:]) != number ||
		binary.BigEndian.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli) {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[16:]), true
}

// trailer returns the end of a file of a single content.
func trailer(block int64) []byte {
	return binary.BigEndian.AppendUint32([]byte(trailerMagic), uint32(block))
}

// parseTrailer returns the length of the block before it.
func parseTrailer(b []byte) (block int64, ok bool) {
	if len(b) != trailerSize || string(b[:4]) != trailerMagic {
		return 0, false
	}
	return int64(binary.BigEndian.Uint32(b[4:])), true
}

// The kinds of files in the directory.
type fileKind int

const (
	foreignFile fileKind = iota
	segmentFile
	spareFile
	ownFile
)

func segmentName(number uint64) string { return fmt.Sprintf("%016x.seg", number) }

// spareName is the name of the one file that waits to become a segment again.
const spareName = "spare"

func ownName(id mail.ID) string { return string(id) + ".msg" }

// parseName tells what a file is by its name.
func parseName(name string) (number uint64, id mail.ID, kind fileKind) {
	if digits, found := strings.CutSuffix(name, ".seg"); found {
		number, err := strconv.ParseUint(digits, 16, 64)
		if err == nil && number > 0 && segmentName(number) == name {
			return number, "", segmentFile
		}
	}
	if s, found := strings.CutSuffix(name, ".msg"); found {
		if id, err := mail.ParseID(s); err == nil {
			return 0, id, ownFile
		}
	}
	if name == spareName {
		return 0, "", spareFile
	}
	return 0, "", foreignFile
}
