package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// draftMemory is how much of a draft is kept in memory; the rest goes to a
// file in incoming.
const draftMemory = 256 << 10

// draft is content on its way in: what did not fit into memory is in file,
// and the end of it in tail.
type draft struct {
	store   *Store
	tail    []byte
	flushed int64 // octets in file
	file    vfs.File
	name    string
	over    bool  // taken or discarded
	staged  bool  // in a change that is being built
	held    int64 // octets of memory that are counted
}

var errDraftOver = fmt.Errorf("%w: the draft was taken or discarded", queue.ErrInvalid)

// Create opens a draft.
func (s *Store) Create(ctx context.Context) (queue.Draft, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	return &draft{store: s}, nil
}

func (d *draft) Size() int64 { return d.flushed + int64(len(d.tail)) }

// Write adds to the draft. Errors: ErrFull when the disk is; after any error
// the draft is over.
func (d *draft) Write(p []byte) (n int, err error) {
	if d.over {
		return 0, errDraftOver
	}
	for len(p) > 0 {
		if len(d.tail) == draftMemory {
			if err := d.flush(); err != nil {
				d.release() // how much of it the file has is not known
				return n, fullError(err)
			}
		}
		part := p[:min(len(p), draftMemory-len(d.tail))]
		d.tail = append(d.tail, part...)
		d.count()
		p = p[len(part):]
		n += len(part)
	}
	return n, nil
}

// count keeps the store's account of memory.
func (d *draft) count() {
	if now := int64(cap(d.tail)); now != d.held {
		d.store.draftMemory.Add(now - d.held)
		d.held = now
	}
}

// flush writes what is in memory to the file.
func (d *draft) flush() error {
	if d.file == nil {
		if err := d.create(); err != nil {
			return err
		}
	}
	if n, err := d.file.Write(d.tail); err != nil || n < len(d.tail) {
		return errors.Join(err, io.ErrShortWrite)
	}
	d.flushed += int64(len(d.tail))
	d.tail = d.tail[:0]
	return nil
}

// create opens a file for what does not fit into memory.
func (d *draft) create() error {
	files := d.store.options.FS
	name := files.PathJoin(d.store.path(incomingName), strconv.FormatUint(d.store.drafts.Add(1), 10))
	file, err := files.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	d.file, d.name = file, name
	return nil
}

// adopt gives the file to the body log, as the content's own.
func (d *draft) adopt(r seglog.Record) (seglog.Place, error) {
	if err := d.flush(); err != nil {
		return seglog.Place{}, err
	}
	p, err := d.store.log.Adopt(r, d.name, d.file)
	d.file = nil // closed
	if err != nil {
		d.release()
		return p, err
	}
	d.name = ""
	return p, nil
}

// recover makes the draft whole again after its content was stored in vain.
func (d *draft) recover(body mail.ID, p seglog.Place) error {
	if p.Segment != 0 {
		return nil // it was copied there
	}
	content, err := d.store.log.Content(body, p)
	if err != nil {
		d.release()
		return err
	}
	defer content.Close()
	d.flushed = 0
	if err = d.create(); err == nil {
		d.flushed, err = io.Copy(d.file, io.NewSectionReader(content, 0, p.Size))
	}
	if err != nil {
		d.release()
	}
	return err
}

// fullError tells a full disk from other errors.
func fullError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return err
}

// ReadAt reads what was written.
func (d *draft) ReadAt(p []byte, off int64) (n int, err error) {
	switch {
	case d.over:
		return 0, errDraftOver
	case off < 0:
		return 0, fmt.Errorf("%w: offset %d", queue.ErrInvalid, off)
	}
	if off < d.flushed {
		part := p[:min(int64(len(p)), d.flushed-off)]
		if n, err = d.file.ReadAt(part, off); n < len(part) {
			return n, err
		}
	}
	if n == len(p) {
		return n, nil
	}
	if at := off + int64(n) - d.flushed; at < int64(len(d.tail)) {
		n += copy(p[n:], d.tail[at:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Discard frees what the draft holds.
func (d *draft) Discard() { d.release() }

// release frees memory and file. A file that cannot be removed is logged; it
// goes when the store opens again.
func (d *draft) release() {
	if d.over {
		return
	}
	d.over, d.tail = true, nil
	d.count()
	var err error
	if d.file != nil {
		err = d.file.Close()
	}
	if d.name != "" {
		err = errors.Join(err, d.store.options.FS.Remove(d.name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.store.options.Logger.Warn("queue: cannot remove what was incoming", "file", d.name, "error", err)
	}
	d.file, d.name = nil, ""
}

// clearIncoming removes the drafts of an earlier life.
func (s *Store) clearIncoming() error {
	files, dir := s.options.FS, s.path(incomingName)
	if err := files.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	names, err := files.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := files.Remove(files.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
