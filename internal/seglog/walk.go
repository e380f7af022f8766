package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
)

// Found is a record that a walk came across.
type Found struct {
	ID    mail.ID
	Head  []byte
	Place Place
	// Err is not nil when the record is damaged: with an ID, its content is;
	// without, something stands at Place.Offset that is no record.
	Err error
}

// Files returns the paths of the segments and files of a log, in order of
// their names.
func Files(files vfs.FS, dir string) ([]string, error) {
	names, err := files.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var paths []string
	for _, name := range names {
		if _, _, kind := parseName(name); kind == segmentFile || kind == ownFile {
			paths = append(paths, files.PathJoin(dir, name))
		}
	}
	return paths, nil
}

// Walk visits every record of one of the Files, needed or not, and checks its
// content. Behind damage it goes on with the next record that it can find.
// What was not written whole at the end of a segment is passed over: nobody
// was ever told that it is there.
func Walk(files vfs.FS, path string, visit func(Found) error) error {
	f, err := files.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	number, id, kind := parseName(files.PathBase(path))
	w := &walk{path: path, file: f, size: info.Size(), number: number, visit: visit}
	switch kind {
	case segmentFile:
		return w.segment()
	case ownFile:
		return w.own(id)
	}
	return fmt.Errorf("%s is neither a segment nor the file of a content", path)
}

// walk is a walk over one file.
type walk struct {
	path   string
	file   vfs.File
	size   int64
	number uint64
	salt   uint64
	salted bool // the salt is known
	visit  func(Found) error
	window []byte // scratch
}

// segment visits the records of a segment.
func (w *walk) segment() error {
	head := make([]byte, headerSize)
	if n, err := w.file.ReadAt(head, 0); n == len(head) {
		w.salt, w.salted = parseHeader(head, w.number)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	gap := int64(-1) // where damage begins that no record has ended yet
	for at := int64(headerSize); at+fixedSize <= w.size; {
		d, length, err := w.record(at)
		if err != nil {
			return err
		}
		if length == 0 {
			if gap < 0 {
				gap = at
			}
			if at, err = w.search(at + 8); err != nil {
				return err
			}
			continue
		}
		if gap >= 0 {
			if err := w.visit(Found{Place: Place{Segment: w.number, Offset: gap}, Err: w.damaged(gap, "no record begins here")}); err != nil {
				return err
			}
			gap = -1
		}
		if err := w.found(d, Place{Segment: w.number, Offset: at, Head: length, Size: d.size}, at+length); err != nil {
			return err
		}
		at += length + aligned(d.size)
	}
	return nil
}

func (w *walk) damaged(at int64, what string) error {
	return fmt.Errorf("%w: %s, offset %d: %s", ErrDamaged, w.path, at, what)
}

// record reads what stands beside the content at an offset. The length is 0
// when that is no record of this segment.
func (w *walk) record(at int64) (d descriptor, length int64, err error) {
	fixed := make([]byte, fixedSize)
	if n, err := w.file.ReadAt(fixed, at); n < len(fixed) {
		return d, 0, ignoreEOF(err)
	}
	length, ok := blockLength(fixed)
	if !ok || at+length > w.size || w.salted && saltOf(fixed) != w.salt {
		return d, 0, nil
	}
	block := make([]byte, length)
	if n, err := w.file.ReadAt(block, at); n < len(block) {
		return d, 0, ignoreEOF(err)
	}
	d, err = parseBlock(block)
	if err != nil || at+length+d.size > w.size {
		return d, 0, nil
	}
	w.salt, w.salted = d.salt, true
	return d, length, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// search returns the next offset at which a record may begin, or the end.
func (w *walk) search(at int64) (int64, error) {
	if w.window == nil {
		w.window = make([]byte, 1<<20)
	}
	for at < w.size {
		n, err := w.file.ReadAt(w.window, at)
		if n == 0 {
			return w.size, ignoreEOF(err)
		}
		part := w.window[:n]
		for from := 0; ; {
			i := bytes.Index(part[from:], []byte(recordMagic))
			if i < 0 {
				break
			}
			if from += i; from%8 == 0 {
				return at + int64(from), nil
			}
			from++
		}
		if n < len(w.window) {
			break
		}
		at += int64(n) - 8 // a magic may lie across the end
	}
	return w.size, nil
}

// found checks the content of a record and visits it.
func (w *walk) found(d descriptor, p Place, base int64) error {
	c := &Content{path: w.path, file: w.file, id: d.id, base: base, descriptor: d, number: -1}
	f := Found{ID: d.id, Head: d.head, Place: p}
	for n := range frames(d.size) {
		err := c.load(n)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		f.Err = errors.Join(f.Err, err)
	}
	return w.visit(f)
}

// own visits the record of a file of its own.
func (w *walk) own(id mail.ID) error {
	end := make([]byte, trailerSize)
	if w.size < trailerSize {
		return w.visit(w.spoilt(id))
	}
	if n, err := w.file.ReadAt(end, w.size-trailerSize); n < len(end) {
		return errors.Join(ignoreEOF(err), w.visit(w.spoilt(id)))
	}
	length, ok := parseTrailer(end)
	at := w.size - trailerSize - length
	if !ok || at < 0 {
		return w.visit(w.spoilt(id))
	}
	block := make([]byte, length)
	if n, err := w.file.ReadAt(block, at); n < len(block) {
		return errors.Join(ignoreEOF(err), w.visit(w.spoilt(id)))
	}
	d, err := parseBlock(block)
	if err != nil || d.id != id || aligned(d.size) != at {
		return w.visit(w.spoilt(id))
	}
	return w.found(d, Place{Head: length, Size: d.size}, 0)
}

// spoilt is a file of which nothing but the name can be told.
func (w *walk) spoilt(id mail.ID) Found {
	return Found{ID: id, Err: w.damaged(0, "what should stand behind the content cannot be read")}
}
