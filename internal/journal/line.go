package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"postern/internal/mail"
)

// lineError is damage to one line: reading can go on behind it.
type lineError struct{ cause error }

func (e *lineError) Error() string { return e.cause.Error() }
func (e *lineError) Unwrap() error { return e.cause }

var (
	errTorn        = &lineError{errors.New("the line is not complete")}
	errLineTooLong = &lineError{fmt.Errorf("the line is longer than %d octets", maxLine)}
	errNotFact     = &lineError{errors.New("not a fact: source, n or reason is missing")}
	errNotHeader   = &lineError{errors.New("not a header: no format version")}
	errNumber      = &lineError{fmt.Errorf("a number larger than %d", uint64(maxNumber))}
	errNotObject   = &lineError{errors.New("not a JSON object")}
)

// isDamage tells damage from a failure to read.
func isDamage(err error) bool {
	_, ok := errors.AsType[*lineError](err)
	return ok
}

// lines reads lines and knows where it is.
type lines struct {
	br     *bufio.Reader
	long   []byte // a line that does not fit in br's buffer
	number int    // of the line last returned, from 1
	offset int64  // behind it
}

func newLines(r io.Reader) *lines { return &lines{br: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next line without its newline; it is valid until the next
// call. It fails with io.EOF at the end, with errTorn when the last line
// lacks its newline, with errLineTooLong behind a line that is too long, and
// with the error of the reader.
func (l *lines) next() ([]byte, error) {
	l.number++
	l.long = l.long[:0]
	tooLong := false
	for {
		part, err := l.br.ReadSlice('\n')
		l.offset += int64(len(part))
		if err == nil && len(l.long) == 0 && !tooLong {
			return part[:len(part)-1], nil
		}
		if err == io.EOF && len(part) == 0 && len(l.long) == 0 && !tooLong {
			return nil, io.EOF
		}
		tooLong = tooLong || len(l.long)+len(part) > maxLine
		if tooLong {
			l.long = l.long[:0]
		} else {
			l.long = append(l.long, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
		case err == io.EOF:
			return nil, errTorn
		case err != nil:
			return nil, err
		case tooLong:
			return nil, errLineTooLong
		default:
			return l.long[:len(l.long)-1], nil
		}
	}
}

// DamageError lists lines that could not be read. Everything else was.
type DamageError struct {
	Places []mail.Place // the first ten
	Count  int
	Cause  error // what is wrong with the first
}

// maxPlaces is how many places a DamageError holds.
const maxPlaces = 10

// Error names the first place and the number of all.
func (e *DamageError) Error() string {
	if e.Count == 1 {
		return fmt.Sprintf("%s: damaged line in the journal: %v", e.Places[0], e.Cause)
	}
	return fmt.Sprintf("%s: damaged line in the journal, the first of %d: %v", e.Places[0], e.Count, e.Cause)
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Cause }

func (e *DamageError) add(at mail.Place, cause error) {
	if e.Count == 0 {
		e.Cause = cause
	}
	if len(e.Places) < maxPlaces {
		e.Places = append(e.Places, at)
	}
	e.Count++
}
