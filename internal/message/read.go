package message

import (
	"bufio"
	"bytes"
	"io"
)

// maxName is the longest field name: a line of RFC 5322 2.1.1 less the colon.
const maxName = 997

// ReadHeader reads a header up to and including the empty line that ends it;
// what br gives next is the body. br needs a buffer of at least 1 KiB.
//
// A field is a name of printable US-ASCII, white space that RFC 5322 4.5
// allows for old messages, a colon, and all lines after it that begin with a
// space or tab, be they otherwise empty. The first line that is neither a
// field nor, after one, such a folded line is where the body begins: a line
// without a colon, one whose name has a space in it or an octet that is not
// US-ASCII, a control character, a folded line with nothing before it. These
// are the rules of Postfix. Unlike Postfix, white space before the colon is
// kept as it is.
//
// Writing the header and then the rest of br gives the octets that were
// read, with three repairs: where the body began without an empty line one is
// put in, an empty line that was a lone LF becomes CRLF, and a last line
// without its CRLF gets it.
//
// ReadHeader fails with a *mail.Error when a limit is exceeded (552 5.3.4,
// 550 5.6.0), and with the error of br unless that is io.EOF. The header it
// returns is never nil: beside an error it has the fields that were complete
// before it.
func ReadHeader(br *bufio.Reader, limits Limits) (*Header, error) {
	h := new(Header)
	return h, h.read(br, limits.withDefaults())
}

// read fills h, whatever was in it. The memory of what it held is used again.
func (h *Header) read(br *bufio.Reader, l Limits) error {
	h.fields, h.buf, h.ends, h.body = h.fields[:0], h.buf[:0], h.ends[:0], false
	err := h.readFields(br, l)
	start := 0
	for i, end := range h.ends {
		h.fields[i].raw = h.buf[start:end:end]
		start = end
	}
	if err == io.EOF {
		return nil
	}
	return err
}

func (h *Header) readFields(br *bufio.Reader, l Limits) error {
	start := 0 // of the current field
	for {
		kind, name, err := peekLine(br)
		if err != nil {
			return err
		}
		if kind == foldedLine && len(h.ends) == 0 {
			kind = bodyLine
		}
		switch kind {
		case emptyLine:
			h.body = true
			_, err := br.ReadSlice('\n')
			return err
		case bodyLine:
			h.body = true
			return nil
		case fieldLine:
			if len(h.ends) >= l.Fields {
				return l.errFields()
			}
			start = len(h.buf)
			h.fields, h.ends = append(h.fields, Field{name: name}), append(h.ends, start)
		}
		if err := h.readLine(br, start, l); err != nil {
			h.dropLast()
			return err
		}
		h.ends[len(h.ends)-1] = len(h.buf)
	}
}

// dropLast takes back a field that was not read to its end.
func (h *Header) dropLast() {
	h.fields, h.ends = h.fields[:len(h.fields)-1], h.ends[:len(h.ends)-1]
}

// readLine appends the next line to buf; the field it belongs to begins at
// start. It gives a last line its CRLF.
func (h *Header) readLine(br *bufio.Reader, start int, l Limits) error {
	for {
		part, err := br.ReadSlice('\n')
		h.buf = append(h.buf, part...)
		switch {
		case len(h.buf)-start > l.FieldOctets:
			return l.errFieldOctets()
		case len(h.buf) > l.Octets:
			return l.errOctets()
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF:
			h.buf = append(bytes.TrimSuffix(h.buf, []byte("\r")), "\r\n"...)
			return nil
		}
		return err
	}
}

type lineKind int

const (
	undecided  lineKind = iota // more octets are needed
	emptyLine                  // ends the header
	foldedLine                 // continues a field
	fieldLine                  // begins a field
	bodyLine                   // is none of these
)

// peekLine says what the next line is without taking it, and for a fieldLine
// how long the name is. It fails with io.EOF when nothing is left.
func peekLine(br *bufio.Reader) (kind lineKind, name int, err error) {
	limit := min(maxName+1, br.Size())
	for want := 1; ; {
		window, err := br.Peek(want)
		if err == nil {
			window, _ = br.Peek(min(max(want, br.Buffered()), limit))
		} else if err != io.EOF {
			return undecided, 0, err
		} else if len(window) == 0 {
			return undecided, 0, io.EOF
		}
		kind, name := classify(window)
		if kind == undecided && (err == io.EOF || len(window) >= limit) {
			kind = bodyLine
		}
		if kind != undecided {
			return kind, name, nil
		}
		want = min(2*len(window), limit)
	}
}

// classify says what a line is that begins with p, and for a fieldLine how
// long the name is.
func classify(p []byte) (kind lineKind, name int) {
	if len(p) == 0 {
		return undecided, 0
	}
	switch p[0] {
	case '\n':
		return emptyLine, 0
	case '\r':
		if len(p) == 1 {
			return undecided, 0
		}
		if p[1] == '\n' {
			return emptyLine, 0
		}
		return bodyLine, 0
	case ' ', '\t':
		return foldedLine, 0
	}
	return classifyName(p)
}

func classifyName(p []byte) (kind lineKind, name int) {
	for name < len(p) && p[name] > ' ' && p[name] <= '~' && p[name] != ':' {
		name++
	}
	for _, c := range p[name:] {
		switch {
		case c == ':' && name > 0:
			return fieldLine, name
		case c != ' ' && c != '\t':
			return bodyLine, 0
		}
	}
	return undecided, 0
}
