package submit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"postern/internal/smtp"
)

// keepInMemory is how much of a message is kept in memory; what is larger goes
// into a temporary file.
const keepInMemory = 1 << 20

// content is a message of which all is there. It can be read again, from its
// begin, and must be closed.
type content struct {
	io.ReaderAt
	size int64
	file *os.File // has it when memory is not enough; it has no name any more
}

// Close frees it.
func (c *content) Close() {
	if c.file != nil {
		c.file.Close()
	}
}

// raw returns a reader of all its octets.
func (c *content) raw() io.Reader { return io.NewSectionReader(c, 0, c.size) }

// reader returns a reader of the message in which the law of CR and LF holds:
// neither stands alone, each is made a line end. Its errors are *mail.Error.
func (c *content) reader() io.Reader {
	all := smtp.Chunk{Size: c.size, Last: true}
	most := 2*c.size + int64(len("\r\n")) // each octet may be a bare line end
	return smtp.NewChunkReader(bufio.NewReaderSize(c.raw(), 32<<10), smtp.NewlinesRepair, most, all, noMore)
}

func noMore() (smtp.Chunk, error) { return smtp.Chunk{}, io.ErrUnexpectedEOF }

// castagnoli is the polynomial of the checksums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readContent reads a message. limit is asked, once, how large it may be in
// octets when it turns out not to be small, so that nobody sends for an hour
// what is not wanted.
func readContent(r io.Reader, limit func() int64) (*content, error) {
	head, err := io.ReadAll(io.LimitReader(r, keepInMemory+1))
	if err != nil {
		return nil, err
	}
	c := &content{ReaderAt: bytes.NewReader(head), size: int64(len(head))}
	if c.size <= keepInMemory {
		return c, nil
	}
	most := limit()
	c.file, err = os.CreateTemp("", "postern-")
	if err != nil {
		return nil, failf(CantCreate, "no room for the message: %w", err)
	}
	// Without a name it goes with the process, whatever becomes of that.
	err = os.Remove(c.file.Name())
	if err == nil {
		c.size, err = io.Copy(c.file, io.MultiReader(bytes.NewReader(head), io.LimitReader(r, max(most-c.size, 0)+1)))
	}
	if err == nil && c.size > most {
		err = errTooLarge(most)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	c.ReaderAt = c.file
	return c, nil
}

func errTooLarge(limit int64) *Error {
	return failf(DataErr, "the message is larger than %d octets, and was not accepted", limit)
}

// input reads a message from a program that ends its lines as it likes, and
// gives it with CRLF. A line with a single dot ends it, unless dots is set.
// Lines that mailbox files put before a message ("From joe Mon Jan ...", also
// behind ">") are left out, as Postfix does.
//
// Of a line, the LF and all CR before it are its end. Any other CR stays: what
// comes next knows the CR/LF law.
type input struct {
	br   *bufio.Reader
	dots bool // a line with a dot is content

	body  bool   // the lines of mailbox files are over
	mid   bool   // the line goes on
	held  int    // CR that were not passed on: they may belong to a line end
	ready []byte // converted, and not read yet
	err   error
}

func newInput(r io.Reader, dots bool) *input {
	return &input{br: bufio.NewReaderSize(r, 64<<10), dots: dots}
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	for len(in.ready) == 0 {
		if in.err != nil {
			return 0, in.err
		}
		in.ready, in.err = in.line(in.ready[:0])
	}
	n := copy(p, in.ready)
	in.ready = in.ready[n:]
	return n, nil
}

// line appends the next line, or the next part of a very long one, to dst.
func (in *input) line(dst []byte) ([]byte, error) {
	part, err := in.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("reading standard input: %w", err)
	}
	begins := !in.mid
	text, ended := bytes.CutSuffix(part, []byte("\n"))
	trimmed := bytes.TrimRight(text, "\r")
	crs := len(text) - len(trimmed)
	if len(trimmed) > 0 { // CR of the part before were none of a line end
		dst = append(dst, bytes.Repeat([]byte("\r"), in.held)...)
		in.held = 0
	}
	in.held, in.mid = in.held+crs, !ended && (in.mid || len(part) > 0)
	if begins && ended && in.drops(trimmed) {
		in.held = 0
		return dst, err
	}
	if begins && !in.dots && string(trimmed) == "." && (ended || err == io.EOF) {
		return dst, io.EOF
	}
	dst = append(dst, trimmed...)
	if ended || err == io.EOF && in.mid {
		dst, in.held = append(dst, "\r\n"...), 0
	}
	return dst, err
}

// drops reports whether a line is one of those that a mailbox file puts before
// a message.
func (in *input) drops(line []byte) bool {
	if !in.body && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
		return true
	}
	in.body = true
	return false
}
