package message

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"
)

// Bounds of what is looked at in a message. No mail that people send comes
// near them.
const (
	maxDepth = 50
	maxParts = 10_000
)

// splitter goes over a message and finds the lines at which its parts end. It
// is as lenient as a reader of mail has to be: a part may end with the
// delimiter of any multipart around it, or with the message (RFC 2046 5.1.2).
type splitter struct {
	src    counter
	br     *bufio.Reader
	header Header // the last one read
	open   delimiters
	// looked counts the octets that were looked at, those that were looked at
	// twice twice: the work of it all.
	looked int64
}

// counter counts what was read.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// begin begins with the content that src gives.
func (s *splitter) begin(src io.Reader) {
	s.src = counter{Reader: src}
	s.br = bufio.NewReaderSize(&s.src, copyBuffer)
}

// at is the offset of what is read next.
func (s *splitter) at() int64 { return s.src.n - int64(s.br.Buffered()) }

// body is where a body lies.
type body struct {
	from, to int64
	eightBit int64 // octets
	// bare says that a CR or LF stands alone in it.
	bare bool
	// near says that a line of it may be taken for a delimiter: it begins as
	// one does and goes on, or is that of a multipart that another ended.
	near bool
}

// mark is the line that ended a body: a delimiter.
type mark struct {
	level int // of which multipart; -1 for the end of the message
	last  bool
}

// body goes over lines up to the next delimiter, and shows them to look, if that
// is not nil, in pieces that end at line ends or where the buffer does. The line
// end before a delimiter belongs to that (RFC 2046 5.1.1).
func (s *splitter) body(look func(piece []byte)) (body, mark, error) {
	b := body{from: s.at()}
	b.to = b.from
	var cr bareFinder
	lineStart := true
	for {
		line, err := s.br.ReadSlice('\n')
		s.looked += int64(len(line))
		if lineStart {
			if m, is := s.delimiter(line, err == bufio.ErrBufferFull, &b.near); is {
				return b, m, nil
			}
		}
		b.eightBit += countEightBit(line)
		b.bare = cr.find(line) || b.bare
		if look != nil {
			look(line)
		}
		switch lineStart = err == nil; err {
		case nil:
			b.to = s.at() - int64(len(line)-len(trimLineEnd(line)))
		case bufio.ErrBufferFull:
		case io.EOF:
			b.to = s.at()
			return b, mark{level: -1}, nil
		default:
			return b, mark{}, err
		}
	}
}

// delimiter reports whether a line ends a body part (RFC 2046 5.1.1), and notes
// in near if it only begins like one that does. A line of which there is only a
// part is none.
func (s *splitter) delimiter(line []byte, part bool, near *bool) (mark, bool) {
	if !bytes.HasPrefix(line, []byte("--")) {
		return mark{}, false
	}
	line = bytes.TrimRight(trimLineEnd(line), " \t")
	found, looked := s.open.match(line)
	s.looked += int64(looked)
	for _, d := range found {
		switch rest := line[len(d.text):]; {
		case part || d.level == abandoned:
		case len(rest) == 0:
			return mark{level: d.level}, true
		case string(rest) == "--":
			return mark{level: d.level, last: true}, true
		}
	}
	*near = *near || len(found) > 0
	return mark{}, false
}

// isDelimiter reports whether a line is one.
func (s *splitter) isDelimiter(line []byte) bool {
	var near bool
	_, is := s.delimiter(line, false, &near)
	return is
}

// delimiters are those of the multiparts around a place: "--" and the boundary.
type delimiters struct {
	levels    int
	sorted    []delimiter // by their text
	found     []delimiter // by match
	abandoned int         // how many of sorted are
}

type delimiter struct {
	text  string
	level int // of its multipart, from 0 for the outermost; or abandoned
}

// push opens a multipart with all of the boundaries, and returns its level. It
// reports whether one of the delimiters begins with one of another level, or
// the other way round, so that readers of mail may take them for each other.
func (d *delimiters) push(boundaries ...string) (level int, alike bool) {
	level = d.levels
	d.levels++
	added := make([]delimiter, 0, len(boundaries))
	for _, boundary := range boundaries {
		n := delimiter{"--" + boundary, level}
		found, _ := d.match([]byte(n.text))
		at := firstNotLess(d.sorted, n)
		alike = alike || len(found) > 0 || at < len(d.sorted) && strings.HasPrefix(d.sorted[at].text, n.text)
		added = append(added, n)
	}
	for _, n := range added {
		d.sorted = slices.Insert(d.sorted, firstNotLess(d.sorted, n), n)
	}
	return level, alike
}

// abandoned is the level of delimiters whose multipart was ended by that of
// another one around it. A reader of mail that looks only for the innermost
// delimiter still waits for them.
const abandoned = -1

// maxAbandoned is how many abandoned delimiters are kept.
const maxAbandoned = 100

// pop closes the innermost multipart.
func (d *delimiters) pop() {
	d.levels--
	d.sorted = slices.DeleteFunc(d.sorted, func(x delimiter) bool { return x.level == d.levels })
}

// abandon closes the innermost multipart, but remembers its delimiters. It
// reports whether there is room for that.
func (d *delimiters) abandon() bool {
	d.levels--
	for i := range d.sorted {
		if d.sorted[i].level == d.levels {
			d.sorted[i].level = abandoned
			d.abandoned++
		}
	}
	return d.abandoned <= maxAbandoned
}

func firstNotLess(sorted []delimiter, d delimiter) int {
	at, _ := slices.BinarySearchFunc(sorted, d, func(a, b delimiter) int { return cmp.Compare(a.text, b.text) })
	return at
}

// match returns the delimiters with which a line begins, the innermost first,
// and how many octets it has looked at: those of the line once, whatever the
// number of delimiters. What it returns holds until it is called again.
func (d *delimiters) match(line []byte) (found []delimiter, looked int) {
	d.found = d.found[:0]
	candidates := d.sorted
	for i := 0; ; i++ {
		for len(candidates) > 0 && len(candidates[0].text) == i { // the shorter stands first
			d.found = append(d.found, candidates[0])
			candidates = candidates[1:]
		}
		if len(candidates) == 0 || i == len(line) {
			break
		}
		looked++
		c := int(line[i])
		candidates = candidates[firstFrom(candidates, i, c):]
		candidates = candidates[:firstFrom(candidates, i, c+1)]
	}
	slices.SortStableFunc(d.found, func(a, b delimiter) int { return cmp.Compare(b.level, a.level) })
	return d.found, looked
}

// firstFrom returns which of the delimiters, all longer than i, is the first
// that has c or more as its octet i.
func firstFrom(sorted []delimiter, i, c int) int {
	at, _ := slices.BinarySearchFunc(sorted, c, func(d delimiter, c int) int { return cmp.Compare(int(d.text[i]), c) })
	return at
}

// bareFinder finds a CR or LF that stands alone.
type bareFinder struct {
	cr bool // the last octet was a CR
}

// find reports whether there is one in the next piece, which has an LF at its
// end or none. A CR at its end waits for what follows.
func (f *bareFinder) find(piece []byte) bool {
	if len(piece) == 0 {
		return false
	}
	before, text := f.cr, bytes.TrimSuffix(piece, []byte("\n"))
	f.cr = len(text) > 0 && text[len(text)-1] == '\r'
	behind := len(text) < len(piece) // there is an LF
	switch {
	case before && len(text) > 0, behind && !f.cr && !(before && len(text) == 0):
		return true
	case f.cr:
		text = text[:len(text)-1]
	}
	f.cr = f.cr && !behind
	return bytes.IndexByte(text, '\r') >= 0
}

func trimLineEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

func countEightBit(p []byte) int64 {
	if !HasEightBit(p) {
		return 0
	}
	n := int64(0)
	for _, c := range p {
		n += int64(c >> 7)
	}
	return n
}
