package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
)

// encoding is a Content-Transfer-Encoding (RFC 2045 6.1); "" is none.
type encoding string

const (
	quotedPrintable encoding = "quoted-printable"
	base64Lines     encoding = "base64"
)

// encoded returns a reader of what src gives, in an encoding. ended says that the encoded form must
// end its last line itself, because nothing follows.
func encoded(src io.Reader, e encoding, ended bool) io.Reader {
	switch e {
	case quotedPrintable:
		q := &quotedEncoder{br: bufio.NewReader(src), ended: ended}
		return &encoder{encode: q.append}
	case base64Lines:
		b := &base64Encoder{src: src, ended: ended}
		return &encoder{encode: b.append}
	}
	return src
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

// quotedEncoder encodes as quoted-printable (RFC 2045 6.7).
type quotedEncoder struct {
	br    *bufio.Reader
	ended bool
	// open says that the last line has no end.
	open bool
}

// append encodes the next line, or a piece of one that is not longer than a line may be.
func (q *quotedEncoder) append(dst []byte) ([]byte, error) {
	for column := 0; ; {
		window, err := q.br.Peek(len("x\r\n"))
		if len(window) == 0 && err == io.EOF && q.open && q.ended {
			q.open = false
			return append(dst, "=\r\n"...), err
		}
		if len(window) == 0 || err != nil && err != io.EOF {
			return dst, err
		}
		if bytes.HasPrefix(window, []byte("\r\n")) {
			q.open = false
			_, err := q.br.Discard(len("\r\n"))
			return append(dst, "\r\n"...), err
		}
		c, literal := window[0], isQuotedLiteral(window, column)
		width := 3
		if literal {
			width = 1
		}
		if column += width; column > maxQuotedLine {
			return append(dst, "=\r\n"...), nil
		}
		q.open = true
		if literal {
			dst = append(dst, c)
		} else {
			dst = appendHex(dst, '=', c)
		}
		if _, err := q.br.Discard(1); err != nil {
			return dst, err
		}
	}
}

// isQuotedLiteral reports whether the first octet of what comes next, up to three, can stand in a
// column as it is (RFC 2045 6.7, rules 2 and 3). Where a line would begin as a delimiter of parts
// does it cannot: the line may be new (RFC 2046 5.1.1).
func isQuotedLiteral(next []byte, column int) bool {
	c, behind := next[0], next[1:]
	switch {
	case c == ' ' || c == '\t':
		return len(behind) > 0 && string(behind) != "\r\n"
	case c == '-' && column == 0 && len(behind) > 0 && behind[0] == '-':
		return false
	}
	return c > ' ' && c <= '~' && c != '='
}
