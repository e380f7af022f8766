package directory

import (
	"errors"
	"fmt"
	"io"

	"postern/internal/mail"
)

// source is what is imported. It knows where its lines are, and bounds what it gives.
type source struct {
	r    io.Reader
	file string
	read int64 // octets so far
	err  error // of r, other than io.EOF
	// start is where the record begins that is read; no record is longer than maxRow.
	start int64
	// line is that of the octet at start, which begins at lineStart; ends are where the
	// later lines begin, as far as they are read.
	line      int
	lineStart int64
	ends      []int64
}

// Bounds of what is imported, in octets.
const (
	// MaxImport bounds a file.
	MaxImport = 1 << 30
	// maxRow bounds a record in it. It is more than maxRecord, as text can be escaped.
	maxRow = 8 << 20
)

var errRowLength = fmt.Errorf("is longer than %d octets: is a quote or a bracket not closed?", maxRow)

var errImportLength = errors.New("the file is longer than 1 GiB: import it in parts")

// Read is that of io.Reader.
func (s *source) Read(p []byte) (int, error) {
	switch {
	case s.read >= MaxImport:
		return 0, errImportLength
	case s.read-s.start > maxRow:
		return 0, errRowLength
	}
	n, err := s.r.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			s.ends = append(s.ends, s.read+int64(i)+1)
		}
	}
	s.read += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// begin says that a record begins at an offset.
func (s *source) begin(offset int64) {
	s.start = offset
	passed := 0
	for passed < len(s.ends) && s.ends[passed] <= offset {
		s.line, s.lineStart = s.line+1, s.ends[passed]
		passed++
	}
	s.ends = append(s.ends[:0], s.ends[passed:]...)
}

// place returns where an octet of the record is that is read.
func (s *source) place(offset int64) mail.Place {
	line, from := s.line, s.lineStart
	for _, end := range s.ends {
		if end > offset {
			break
		}
		line, from = line+1, end
	}
	return mail.Place{File: s.file, Line: line + 1, Column: int(offset-from) + 1}
}
