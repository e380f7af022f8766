package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"

	"postern/internal/mail"
)

// Newlines says what becomes of a CR or LF that stands alone in content, and of
// NUL.
type Newlines int

// The two ways. Neither ever takes a CR or LF for a line end that counts: the
// dot after it is content.
const (
	NewlinesRepair Newlines = iota // each becomes CRLF, and NUL a space
	NewlinesRefuse                 // the message is refused with 550 5.6.0
)

// Content is a message's content as a server hands it to its handler.
type Content interface {
	// Read returns content whose lines all end with CRLF, and io.EOF after
	// the end-of-data mark. Its other errors are *mail.Error.
	io.Reader
	// ClientGone reports whether the client has closed or reset the
	// connection with no input pending. A message whose client has gone
	// must not be accepted: the client will send it again.
	ClientGone() bool
}

// dataState is where in a line the DataReader stands.
type dataState uint8

const (
	lineStart dataState = iota // at the beginning, or after CRLF
	lineDot                    // after a dot at lineStart, not yet passed on
	lineDotCR                  // after that dot and a CR
	inLine                     // anywhere else in a line
	inLineCR                   // after a CR in a line, not yet passed on
)

// DataReader reads the content that follows DATA from a stream: up to
// CRLF "." CRLF and no octet further. It takes off the dots of RFC 5321 4.5.2
// and keeps the CR/LF law: what it returns has no CR or LF but in CRLF, and no
// NUL. Or it
// reads that of BDAT, for which the same law holds, also where a CRLF is cut
// in two by the border of two chunks; dots mean nothing there (RFC 3030 2).
//
// The content begins at the start of a line, so "." CRLF at once is an empty
// message. A dot is taken off only at the start of a line that the law calls
// one: after a real CRLF.
//
// Errors are *mail.Error and stay: 552 5.3.4 when the content is larger than
// the limit, 550 5.6.0 for a bare newline or NUL that is to be refused, 421
// 4.4.2 when the stream fails or ends. After the first two, Drain brings the stream
// to the end of data.
type DataReader struct {
	br       *bufio.Reader
	chunks   func() (Chunk, error) // of BDAT; nil for DATA
	chunk    Chunk                 // what is left of the chunk at hand
	newlines Newlines
	limit    int64
	size     int64  // octets of content so far
	owed     string // content that had no room in the last read
	state    dataState
	ended    bool    // the end-of-data mark was read
	repaired bool    // something was, that the law forbids
	err      error   // the first error; nil while all is well
	broken   error   // the stream's error, after which nothing can be read
	tail     [3]byte // the last octets read, for BareDot
}

// NewDataReader returns a reader of the content that is next in br, of at
// most limit octets.
func NewDataReader(br *bufio.Reader, newlines Newlines, limit int64) *DataReader {
	return &DataReader{br: br, newlines: newlines, limit: limit, tail: [3]byte{0, 0, '\n'}}
}

// NewChunkReader returns a reader of content in chunks, of at most limit octets
// together. The first is next in br. More reads a BDAT command from br; it is
// called whenever a chunk is used up that was not the last, and its error is
// one of the stream.
func NewChunkReader(br *bufio.Reader, newlines Newlines, limit int64, first Chunk, more func() (Chunk, error)) *DataReader {
	d := NewDataReader(br, newlines, limit)
	d.chunk, d.chunks = first, more
	return d
}

// Read implements io.Reader.
func (d *DataReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch {
		case d.err != nil:
			return 0, d.err
		case d.owed == "" && d.ended:
			return 0, io.EOF
		}
		n := d.fill(p)
		if d.err != nil {
			continue
		}
		if n > 0 {
			return n, nil
		}
	}
}

// Size returns how many octets of content were read, those lost to an error
// included.
func (d *DataReader) Size() int64 { return d.size }

// Ended reports whether the end-of-data mark was read, so that the stream
// stands at the next command.
func (d *DataReader) Ended() bool { return d.ended }

// Repaired reports whether there was a bare newline or NUL in what was read.
func (d *DataReader) Repaired() bool { return d.repaired }

// Err returns the error that Read returns, or nil while there is none.
func (d *DataReader) Err() error { return d.err }

// Broken returns the error of the stream, which may have come after that of
// Err, while the content was drained. It is nil while the stream is well.
func (d *DataReader) Broken() error { return d.broken }

// Drain reads and drops what is left of the content. It stops when it has
// dropped more than limit octets, or when the stream fails; Ended tells. What
// is wrong with the dropped content is found as Read finds it.
func (d *DataReader) Drain(limit int64) {
	var scratch [4096]byte
	for stop := d.size + limit; !d.ended && d.broken == nil && d.size <= stop; {
		d.fill(scratch[:])
	}
}

// BareDot reports whether the last that was read is LF "." LF, the end of
// data of a client that does not know CRLF and now waits for a reply.
func (d *DataReader) BareDot() bool { return d.tail == [3]byte{'\n', '.', '\n'} }

// fill scans what is buffered, waiting for the stream when nothing is, and
// puts content into p. It may put none. It does not mind d.err, unless that
// is the stream's.
func (d *DataReader) fill(p []byte) int {
	n := copy(p, d.owed)
	if d.owed = d.owed[n:]; n == 0 && !d.ended {
		if err := d.await(); err != nil {
			d.broken = err
			d.fail(err)
			return 0
		}
	}
	if src := d.ahead(); !d.ended {
		put, used := d.scan(p[n:], src)
		n += put
		d.keepTail(src[:used])
		d.br.Discard(used) // never fails: it is buffered
		d.chunk.Size -= int64(used)
	}
	d.size += int64(n)
	if d.size > d.limit {
		d.fail(mail.Refuse(552, "5.3.4", "The message is larger than %d octets", d.limit))
	}
	return n
}

// await waits until there is content to scan, or the last chunk has ended.
func (d *DataReader) await() *mail.Error {
	for d.chunks != nil && d.chunk.Size == 0 {
		if d.chunk.Last {
			d.ended = true
			if d.state == inLineCR { // which stays alone
				d.bareNewline(nil)
			}
			return nil
		}
		chunk, err := d.chunks()
		if err != nil {
			return d.streamError(err)
		}
		d.chunk = chunk
	}
	if _, err := d.br.Peek(1); err != nil {
		return d.streamError(err)
	}
	return nil
}

// ahead returns the content that is buffered.
func (d *DataReader) ahead() []byte {
	src, _ := d.br.Peek(d.br.Buffered())
	if d.chunks != nil {
		src = src[:min(int64(len(src)), d.chunk.Size)]
	}
	return src
}

// ChunkLeft returns how many octets of the chunk at hand were not read. They
// are what stands in the stream before the next command.
func (d *DataReader) ChunkLeft() int64 { return d.chunk.Size }

// scan moves content from src to dst until one of them is used up, d.owed
// has something that did not fit, or the data ends.
func (d *DataReader) scan(dst, src []byte) (put, used int) {
	for used < len(src) && d.owed == "" && !d.ended {
		c := src[used]
		switch d.state {
		case lineStart:
			d.state = inLine
			if c == '.' && d.chunks == nil {
				d.state = lineDot
				used++
			}
		case lineDot:
			d.state = inLine
			if c == '\r' {
				d.state = lineDotCR
				used++
			}
		case lineDotCR:
			if c == '\n' {
				d.ended = true
				used++
				break
			}
			put += d.bareNewline(dst[put:])
		case inLineCR:
			if c == '\n' {
				put += d.emit(dst[put:], "\r\n")
				d.state = lineStart
				used++
				break
			}
			put += d.bareNewline(dst[put:])
		case inLine:
			if put == len(dst) {
				return put, used
			}
			n := d.scanLines(dst[put:], src[used:])
			put += n
			used += n
			if d.state == inLine && used < len(src) && put < len(dst) {
				put += d.newline(dst[put:], src[used])
				used++
			}
		}
	}
	return put, used
}

// scanLines copies as many whole octets as go out unchanged, over as many
// lines as it can, and sets the state to lineStart if they end with a line.
func (d *DataReader) scanLines(dst, src []byte) int {
	n, atStart := plain(src[:min(len(src), len(dst))])
	if atStart {
		d.state = lineStart
	}
	copied := dst[:copy(dst, src[:n])]
	if hasNUL(copied) {
		d.nul(copied)
	}
	return len(copied)
}

// hasNUL reports whether there is a NUL in content. Content that is text has
// none (RFC 5322 2.2, RFC 2045 2.8), and a server that drops NUL before it looks
// for the end of data takes CRLF NUL "." CRLF for that.
func hasNUL(content []byte) bool { return bytes.IndexByte(content, 0) >= 0 }

// space puts a space for each NUL of content. To drop them instead could make
// something new of what stands around them.
func space(content []byte) {
	for i := bytes.IndexByte(content, 0); i >= 0; i = bytes.IndexByte(content, 0) {
		content[i] = ' '
		content = content[i+1:]
	}
}

// nul deals with content in which there is NUL.
//
// QUIRK: it is not passed on, although RFC 5321 4.1.1.4 would let it.
func (d *DataReader) nul(content []byte) {
	if d.newlines == NewlinesRefuse {
		d.fail(mail.Refuse(550, "5.6.0", "NUL in the message: what is not text must be encoded, as with Base64"))
	}
	d.repaired = true
	space(content)
}

// plain returns the length of the longest front of b, which begins within a
// line, that holds neither a bare newline, a CR whose LF is not in sight, nor
// a dot at the start of a line. atStart says that it ends with CRLF.
func plain(b []byte) (n int, atStart bool) {
	for {
		line := b[n:]
		lf := bytes.IndexByte(line, '\n')
		if lf < 0 {
			if cr := bytes.IndexByte(line, '\r'); cr >= 0 {
				return n + cr, false
			}
			return len(b), false
		}
		cr := bytes.IndexByte(line[:lf], '\r')
		switch {
		case cr < 0:
			return n + lf, false
		case cr < lf-1:
			return n + cr, false
		}
		n += lf + 1
		if n == len(b) || b[n] == '.' {
			return n, true
		}
	}
}

// newline takes the CR or LF at which plain stopped.
func (d *DataReader) newline(dst []byte, c byte) int {
	if c == '\r' {
		d.state = inLineCR
		return 0
	}
	return d.bareNewline(dst)
}

// bareNewline passes on a CR or LF that stood alone. What follows is in a
// line still: no dot counts there.
func (d *DataReader) bareNewline(dst []byte) int {
	d.state = inLine
	if d.newlines == NewlinesRefuse {
		d.fail(mail.Refuse(550, "5.6.0", "Bare CR or LF in the message: lines must end with CRLF"))
	}
	d.repaired = true
	return d.emit(dst, "\r\n")
}

// emit puts as much of s into dst as fits and owes the rest.
func (d *DataReader) emit(dst []byte, s string) int {
	n := copy(dst, s)
	d.owed = s[n:]
	return n
}

func (d *DataReader) fail(err *mail.Error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *DataReader) keepTail(read []byte) {
	if len(read) >= len(d.tail) {
		copy(d.tail[:], read[len(read)-len(d.tail):])
		return
	}
	keep := copy(d.tail[:], d.tail[len(read):])
	copy(d.tail[keep:], read)
}

// streamError gives an error of the stream its reply: the transmission
// channel closes (RFC 5321 3.8, RFC 3463 3.5).
func (d *DataReader) streamError(err error) *mail.Error {
	if stated, ok := errors.AsType[*mail.Error](err); ok {
		return stated
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	what, end := "Connection lost", "the end of data"
	if errors.Is(err, os.ErrDeadlineExceeded) {
		what, end = "Timeout", "the end of data, which is CRLF . CRLF"
	}
	if d.chunks != nil {
		end = "the last BDAT"
	}
	return mail.Refuse(421, "4.4.2", "%s before %s", what, end).Because(err)
}
