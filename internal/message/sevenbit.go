package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"

	"postern/internal/mail"
)

// SevenBit is content with 8-bit octets in a form that has none, for a server
// without 8BITMIME (RFC 6152 3): each body part that has such octets is
// encoded (RFC 2045 6) and says so in its Content-Transfer-Encoding, and a part
// that was labelled 8bit without need is labelled 7bit. All else stays octet
// for octet, and what was encoded decodes to what it was.
//
// It holds no content, only what is to be changed in it.
type SevenBit struct {
	src   io.ReaderAt
	end   int64 // of src
	edits []edit
	size  int64
}

// ToSevenBit finds out how content of so many octets becomes 7-bit. It reads
// all of it, twice.
//
// It fails with 554 5.6.3 when there is no such form: a header field has 8-bit
// octets, or they stand where nothing can be encoded, or under a signature,
// which a change would break; and when the message has too many parts, or too
// deep ones, to look at. All other errors are those of src.
func ToSevenBit(src io.ReaderAt, size int64) (*SevenBit, error) {
	var w walk
	w.begin(io.NewSectionReader(src, 0, size))
	if _, err := w.entity(place{message: true}); err != nil {
		return nil, err
	}
	s := &SevenBit{src: src, end: size, edits: w.edits}
	var err error
	s.size, err = io.Copy(io.Discard, s.Reader())
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Size returns how many octets Reader gives.
func (s *SevenBit) Size() int64 { return s.size }

// Reader returns a reader of the content in its 7-bit form, from its begin.
func (s *SevenBit) Reader() io.Reader { return &editReader{s: s} }

// edit is one place that is changed: text stands for the octets of the
// original from one offset to another, or their encoded form does.
type edit struct {
	from, to int64
	text     string
	encoding encoding
	// ended says that the encoded form must end its last line itself,
	// because nothing follows.
	ended bool
}

// encoding is a Content-Transfer-Encoding (RFC 2045 6.1); "" is none.
type encoding string

const (
	quotedPrintable encoding = "quoted-printable"
	base64Lines     encoding = "base64"
)

func (e edit) reader(src io.ReaderAt) io.Reader {
	switch section := io.NewSectionReader(src, e.from, e.to-e.from); e.encoding {
	case quotedPrintable:
		br := bufio.NewReader(section)
		return &encoder{encode: func(dst []byte) ([]byte, error) { return appendQuoted(dst, br) }}
	case base64Lines:
		b := &base64Encoder{src: section, ended: e.ended}
		return &encoder{encode: b.append}
	}
	return &encoder{encode: func(dst []byte) ([]byte, error) { return append(dst, e.text...), io.EOF }}
}

// editReader gives the edits and what is between them.
type editReader struct {
	s    *SevenBit
	next int       // edit
	at   int64     // offset in src
	part io.Reader // what is being read; nil at a seam
}

// Read implements io.Reader.
func (r *editReader) Read(p []byte) (int, error) {
	for {
		if r.part == nil && !r.step() {
			return 0, io.EOF
		}
		n, err := r.part.Read(p)
		if err == io.EOF {
			r.part, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// step takes up the next part. It returns false when there is none.
func (r *editReader) step() bool {
	to := r.s.end
	if r.next < len(r.s.edits) {
		e := r.s.edits[r.next]
		if r.at == e.from {
			r.part, r.at = e.reader(r.s.src), e.to
			r.next++
			return true
		}
		to = e.from
	}
	if r.at == to {
		return false
	}
	r.part, r.at = io.NewSectionReader(r.s.src, r.at, to-r.at), to
	return true
}

// encoder is a reader of what encode appends, piece by piece until io.EOF.
type encoder struct {
	encode func(dst []byte) ([]byte, error)
	buf    []byte
	rest   []byte // of buf, not yet read
	err    error
}

// Read implements io.Reader.
func (e *encoder) Read(p []byte) (int, error) {
	for len(e.rest) == 0 && e.err == nil {
		e.buf, e.err = e.encode(e.buf[:0])
		e.rest = e.buf
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	if n == 0 && len(p) > 0 {
		return 0, e.err
	}
	return n, nil
}

// base64Encoder encodes in lines of 76 characters (RFC 2045 6.8).
type base64Encoder struct {
	src   io.Reader
	ended bool
	begun bool
	raw   [64 * base64Raw]byte
}

// base64Raw is how many octets make a line.
const base64Raw = 57

func (b *base64Encoder) append(dst []byte) ([]byte, error) {
	n, err := io.ReadFull(b.src, b.raw[:])
	for raw := b.raw[:n]; len(raw) > 0; {
		line := raw[:min(len(raw), base64Raw)]
		raw = raw[len(line):]
		if b.begun {
			dst = append(dst, "\r\n"...)
		}
		b.begun = true
		dst = base64.StdEncoding.AppendEncode(dst, line)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		if b.ended {
			dst = append(dst, "\r\n"...)
		}
		return dst, io.EOF
	}
	return dst, err
}

// maxQuotedLine is the length of a line of quoted-printable without the "="
// of a soft line break (RFC 2045 6.7, rule 5).
const maxQuotedLine = 75

// appendQuoted encodes the next line, or a piece of one that is not longer
// than a line may be (RFC 2045 6.7).
func appendQuoted(dst []byte, br *bufio.Reader) ([]byte, error) {
	const hexDigits = "0123456789ABCDEF"
	for column := 0; ; {
		window, err := br.Peek(len("x\r\n"))
		if len(window) == 0 || err != nil && err != io.EOF {
			return dst, err
		}
		c, next := window[0], window[1:]
		if bytes.HasPrefix(window, []byte("\r\n")) {
			_, err := br.Discard(len("\r\n"))
			return append(dst, "\r\n"...), err
		}
		blank := c == ' ' || c == '\t'
		lineEnds := len(next) == 0 || string(next) == "\r\n" // rule 3
		literal := c > ' ' && c <= '~' && c != '=' || blank && !lineEnds
		width := 3
		if literal {
			width = 1
		}
		if column += width; column > maxQuotedLine {
			return append(dst, "=\r\n"...), nil
		}
		if literal {
			dst = append(dst, c)
		} else {
			dst = append(dst, '=', hexDigits[c>>4], hexDigits[c&15])
		}
		if _, err := br.Discard(1); err != nil {
			return dst, err
		}
	}
}

// errNotSevenBit is the refusal of a conversion (RFC 3463 3.7: X.6.3).
func errNotSevenBit(why string) error {
	return mail.Refuse(554, "5.6.3", "The next server takes no 8-bit content, and this message cannot be converted: %s", why)
}
