package dkim

import (
	"bytes"
	"io"
)

// appendRelaxed appends a header field in its relaxed form (RFC 6376 3.4.2): its name in
// lower case, its value unfolded and with single spaces. field is the field as it stands in
// the message; the form ends without CRLF.
func appendRelaxed(dst, field []byte) []byte {
	name, value, _ := bytes.Cut(field, []byte(":"))
	dst = append(dst, bytes.ToLower(bytes.TrimRight(name, " \t"))...)
	dst = append(dst, ':')
	begin, gap := len(dst), false
	for _, c := range value {
		switch {
		case c == ' ', c == '\t', c == '\r', c == '\n':
			gap = len(dst) > begin
			continue
		case gap:
			dst, gap = append(dst, ' '), false
		}
		dst = append(dst, c)
	}
	return dst
}

// relaxedBody writes a body in its relaxed form (RFC 6376 3.4.4): without white space at
// the ends of lines and with single spaces in them, without empty lines at the end, and with
// CRLF behind the last line. A CR or LF that stands alone ends a line as well, as it will on
// the way out. It remembers how many lines are empty, and never what was in them.
type relaxedBody struct {
	dst io.Writer
	buf []byte
	err error // of dst

	cr    bool // the octet before was CR
	space bool // white space came that may be at the end of a line
	ends  int  // ends of lines that may be at the end of the body
	any   bool // there is a line that is not empty
}

// maxBuffered is how much is gathered for dst.
const maxBuffered = 8 << 10

var crlf, space = []byte("\r\n"), []byte(" ")

// plain are the octets that stand for themselves.
var plain = func() (table [256]bool) {
	for i := range table {
		table[i] = i != ' ' && i != '\t' && i != '\r' && i != '\n'
	}
	return table
}()

// Write implements io.Writer.
func (b *relaxedBody) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && b.err == nil; {
		n := 0
		for n < len(rest) && plain[rest[n]] {
			n++
		}
		if n > 0 {
			b.text(rest[:n])
			rest = rest[n:]
			continue
		}
		b.blank(rest[0])
		rest = rest[1:]
	}
	if b.err != nil {
		return 0, b.err
	}
	return len(p), nil
}

// blank takes white space, or the end of a line.
func (b *relaxedBody) blank(c byte) {
	switch {
	case c == '\n' && b.cr:
		b.cr = false
	case c == '\n', c == '\r':
		b.ends, b.space, b.cr = b.ends+1, false, c == '\r'
	default:
		b.space, b.cr = true, false
	}
}

// text takes what is no blank, and all that was held back for it.
func (b *relaxedBody) text(p []byte) {
	for ; b.ends > 0; b.ends-- {
		b.add(crlf)
	}
	if b.space {
		b.add(space)
	}
	b.space, b.cr = false, false
	b.add(p)
}

func (b *relaxedBody) add(p []byte) {
	if len(b.buf)+len(p) > maxBuffered {
		b.flush()
	}
	b.any = true
	if len(p) > maxBuffered {
		b.write(p)
		return
	}
	b.buf = append(b.buf, p...)
}

func (b *relaxedBody) flush() {
	b.write(b.buf)
	b.buf = b.buf[:0]
}

func (b *relaxedBody) write(p []byte) {
	if b.err == nil && len(p) > 0 {
		_, b.err = b.dst.Write(p)
	}
}

// end ends the body. It fails with the error of dst.
func (b *relaxedBody) end() error {
	if b.any {
		b.add(crlf)
	}
	b.flush()
	return b.err
}
