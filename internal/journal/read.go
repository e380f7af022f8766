package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// MaxLast is the largest Query.Last: those facts are held in memory.
const MaxLast = 10_000

// Query selects facts. Every field that is set must match; the zero Query
// selects all.
type Query struct {
	// Message selects facts of this message, and of reports and dead letters
	// about it.
	Message mail.ID
	// Session selects facts of this SMTP session.
	Session mail.ID
	// From selects facts with a sender like this, To those with such a recipient:
	// an address in which "*" stands for anything (mail.Like).
	From, To string
	// Since selects facts that happened at this time or later.
	Since time.Time
	// Reasons selects facts with one of these reasons.
	Reasons []mail.Reason
	// Last is how many of the selected facts are wanted, the latest ones; 0
	// means all, and less than 0 none.
	Last int
}

// Read calls visit for the facts in a directory that a query selects, in the
// order in which they stand there. The journal may be open in this process or
// another. Memory is bounded by one line, or by Query.Last facts.
//
// It fails with the error of visit, at once; with that of ctx; when the
// directory or a file cannot be read; and at the end with a *DamageError if
// lines were damaged. A damaged line is noticed when it may have been
// selected or is no JSON object at all.
func Read(ctx context.Context, dir string, q Query, visit func(mail.Fact) error) error {
	spans, err := spansBetween(dir, position{}, position{})
	if err != nil {
		return err
	}
	return newReader(dir, q).readAll(ctx, spans, visit)
}

// Read does as the function Read, up to what is synced now.
func (j *Journal) Read(ctx context.Context, q Query, visit func(mail.Fact) error) error {
	end, _ := j.position()
	spans, err := spansBetween(j.dir, position{}, end)
	if err != nil {
		return err
	}
	return newReader(j.dir, q).readAll(ctx, spans, visit)
}

// Follow does as Read, and then goes on with what is written. It returns nil
// when the journal is closed, and the error of ctx when that ends. Damaged
// lines are logged.
func (j *Journal) Follow(ctx context.Context, q Query, visit func(mail.Fact) error) error {
	var from position
	for {
		closed := isClosed(j.done) // asked first: what is written before it is read below
		end, moved := j.position()
		spans, err := spansBetween(j.dir, from, end)
		if err != nil {
			return err
		}
		err = newReader(j.dir, q).readAll(ctx, spans, visit)
		if damage, ok := errors.AsType[*DamageError](err); ok {
			j.options.Logger.Warn("damaged lines in the journal", "error", damage)
		} else if err != nil {
			return err
		}
		if closed {
			return nil
		}
		from, q.Last = end, 0
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		case <-j.done:
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// position returns up to where the journal is synced, and a channel that is
// closed when that moves on.
func (j *Journal) position() (position, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end, j.moved
}

// span is a stretch of one file.
type span struct {
	segment
	from int64
	to   int64 // -1: to the end of the file
	last bool  // there is no later file: somebody may be writing its last line
}

// spansBetween lists what stands between two positions; a zero end is that of
// the directory.
func spansBetween(dir string, from, end position) ([]span, error) {
	list, err := segments(dir)
	if err != nil {
		return nil, err
	}
	var spans []span
	for i, s := range list {
		if s.number < from.number || end.number != 0 && s.number > end.number {
			continue
		}
		sp := span{segment: s, to: -1, last: i == len(list)-1}
		if s.number == from.number {
			sp.from = from.offset
		}
		if s.number == end.number {
			sp.to = end.offset
		}
		spans = append(spans, sp)
	}
	return spans, nil
}

// reader reads for one query.
type reader struct {
	dir    string
	query  Query
	filter filter
	damage DamageError
}

func newReader(dir string, q Query) *reader {
	return &reader{dir: dir, query: q, filter: newFilter(q)}
}

func (r *reader) readAll(ctx context.Context, spans []span, visit func(mail.Fact) error) error {
	if r.query.Last > MaxLast {
		return fmt.Errorf("the last %d facts are too many: at most %d", r.query.Last, MaxLast)
	}
	if r.query.Last < 0 {
		return nil
	}
	spans = since(spans, r.query.Since)
	read := r.all
	if r.query.Last > 0 {
		read = r.latest
	}
	if err := read(ctx, spans, visit); err != nil {
		return err
	}
	if r.damage.Count > 0 {
		return &r.damage
	}
	return nil
}

// since leaves out files that were complete before t. A file's name has whole
// seconds.
//
// QUIRK: when the clock was set back while a file was written, facts of the
// time before that may be left out with it.
func since(spans []span, t time.Time) []span {
	if t.IsZero() {
		return spans
	}
	for len(spans) > 1 && !t.Before(spans[1].started.Add(time.Second)) {
		spans = spans[1:]
	}
	return spans
}

func (r *reader) all(ctx context.Context, spans []span, visit func(mail.Fact) error) error {
	for _, s := range spans {
		err := r.withFile(s, func(f *os.File, s span) error { return r.scan(ctx, f, s, visit) })
		if err != nil {
			return err
		}
	}
	return nil
}

// latest visits the last facts. It reads files from the newest to the oldest.
func (r *reader) latest(ctx context.Context, spans []span, visit func(mail.Fact) error) error {
	var found []mail.Fact
	for _, s := range slices.Backward(spans) {
		var tail []mail.Fact
		err := r.withFile(s, func(f *os.File, s span) (err error) {
			tail, err = r.tail(ctx, f, s, r.query.Last-len(found))
			return err
		})
		if err != nil {
			return err
		}
		if found = append(tail, found...); len(found) >= r.query.Last {
			break
		}
	}
	for _, f := range found {
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// withFile opens the file of a span and sets where it ends. A file that is
// gone was old enough to be removed.
func (r *reader) withFile(s span, do func(*os.File, span) error) error {
	f, err := os.Open(filepath.Join(r.dir, s.name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if s.to < 0 {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		s.to = info.Size()
	}
	return do(f, s)
}

// firstWindow is how much of a file's end is read first for its last facts.
const firstWindow = 64 << 10

// tail returns the last n selected facts of a span. It looks at the end, and
// further back while they are too few.
func (r *reader) tail(ctx context.Context, f *os.File, s span, n int) ([]mail.Fact, error) {
	before := r.damage
	for window := int64(firstWindow); ; window *= 4 {
		w := s
		if s.to-window > s.from {
			var err error
			if w.from, err = nextLine(f, s.to-window, s.to); err != nil {
				return nil, err
			}
		}
		r.damage = before
		var found []mail.Fact
		err := r.scan(ctx, f, w, func(fact mail.Fact) error {
			if len(found) == 2*n {
				found = append(found[:0], found[n:]...)
			}
			found = append(found, fact)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(found) >= n || w.from == s.from {
			return found[max(0, len(found)-n):], nil
		}
	}
}

// nextLine returns the offset of the first line that begins at from or later.
func nextLine(f io.ReaderAt, from, to int64) (int64, error) {
	l := newLines(io.NewSectionReader(f, from-1, to-from+1))
	_, err := l.next()
	if err != nil && err != io.EOF && !isDamage(err) {
		return 0, err
	}
	return from - 1 + l.offset, nil
}

// scan visits the selected facts of a span that begins at the start of a line.
func (r *reader) scan(ctx context.Context, f *os.File, s span, visit func(mail.Fact) error) error {
	l := newLines(io.NewSectionReader(f, s.from, s.to-s.from))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := l.next()
		if err == io.EOF || err == errTorn && s.last {
			return nil
		}
		if err == nil {
			err = r.line(s.from == 0 && l.number == 1, line, visit)
		}
		if err == nil {
			continue
		}
		damage, ok := err.(*lineError)
		switch {
		case errors.Is(err, errVersion):
			return &os.PathError{Op: "read", Path: f.Name(), Err: err}
		case !ok:
			return err
		}
		at, err := place(f, s.from, l.number)
		if err != nil {
			return err
		}
		r.damage.add(at, damage)
	}
}

func (r *reader) line(isHeader bool, line []byte, visit func(mail.Fact) error) error {
	switch {
	case isHeader:
		_, err := parseHeader(line)
		return err
	case !bytes.HasPrefix(line, []byte("{")) || !bytes.HasSuffix(line, []byte("}")):
		return errNotObject
	case !r.filter.may(line):
		return nil
	}
	fact, err := parseFact(line)
	if err != nil || !r.filter.selects(fact) {
		return err
	}
	return visit(fact)
}

// place returns the place of a line that was counted from an offset.
func place(f *os.File, from int64, number int) (mail.Place, error) {
	l := newLines(io.NewSectionReader(f, 0, from))
	for {
		_, err := l.next()
		if err == io.EOF {
			return mail.Place{File: f.Name(), Line: l.number - 1 + number}, nil
		}
		if err != nil && !isDamage(err) {
			return mail.Place{}, err
		}
	}
}

// filter is a query made ready for many lines. Most lines are told apart by
// their bytes alone, before they are decoded.
type filter struct {
	query Query
	all   [][]byte // each stands in a line that is selected
	some  [][]byte // one of them does, unless empty
}

func newFilter(q Query) filter {
	fl := filter{query: q}
	for _, id := range []mail.ID{q.Message, q.Session} {
		if id != "" {
			fl.all = append(fl.all, []byte(id))
		}
	}
	if q.From != "" {
		fl.all = append(fl.all, []byte(`"from":`))
	}
	if q.To != "" {
		fl.all = append(fl.all, []byte(`"to":`))
	}
	for _, reason := range q.Reasons {
		fl.some = append(fl.some, []byte(reason))
	}
	return fl
}

func (fl *filter) may(line []byte) bool {
	for _, part := range fl.all {
		if !bytes.Contains(line, part) {
			return false
		}
	}
	contains := func(word []byte) bool { return bytes.Contains(line, word) }
	return len(fl.some) == 0 || slices.ContainsFunc(fl.some, contains)
}

func (fl *filter) selects(f mail.Fact) bool {
	q := &fl.query
	switch {
	case q.Message != "" && f.Message != q.Message && f.About != q.Message:
	case q.Session != "" && f.Session != q.Session:
	case q.From != "" && (f.From == "" || !mail.Like(q.From, unbracketed(f.From))):
	case q.To != "" && !slices.ContainsFunc(f.To, func(to string) bool { return mail.Like(q.To, to) }):
	case f.Time.Before(q.Since):
	case len(q.Reasons) > 0 && !slices.Contains(q.Reasons, f.Reason):
	default:
		return true
	}
	return false
}

// unbracketed is the address of a path; the null path stays as it is.
func unbracketed(path string) string {
	if path == "<>" {
		return path
	}
	return strings.TrimSuffix(strings.TrimPrefix(path, "<"), ">")
}
