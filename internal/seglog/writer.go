package seglog

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"postern/internal/mail"
)

// backlog is how many records may wait for the writer; who comes then waits
// to be let in.
const backlog = 128

// maxGroup bounds, in octets, how much is written together.
const maxGroup = 8 << 20

// request is a record on its way to the writer.
type request struct {
	record []byte // whole, but for its seal
	block  int64  // octets before the content
	size   int64  // of the content
	place  Place  // set by the writer
	result chan error
}

// Append stores a record in a segment. When it returns nil, the content is on
// stable storage and counts as needed until Free. ctx has effect only until
// the writer has the record. The content may have Options.FileSize octets.
//
// When writing or syncing fails, so does every record of the group, and none
// of them is stored.
func (l *Log) Append(ctx context.Context, r Record) (Place, error) {
	if err := r.check(l.options.FileSize); err != nil {
		return Place{}, err
	}
	q, err := l.encode(&r)
	if err != nil {
		return Place{}, err
	}
	if err := l.submit(ctx, q); err != nil {
		return Place{}, err // the writer never saw it
	}
	err = <-q.result
	l.buffers.Put(&q.record)
	return q.place, err
}

// check refuses what cannot be stored; most is the largest size.
func (r *Record) check(most int64) error {
	switch {
	case r.Size < 0 || r.Size > most:
		return fmt.Errorf("a content of %d octets; %d are possible", r.Size, most)
	case len(r.Head) > MaxHead:
		return fmt.Errorf("an envelope of %d octets; %d are possible", len(r.Head), MaxHead)
	}
	_, err := mail.ParseID(string(r.ID)) // it becomes the name of a file
	return err
}

// encode makes a record ready for the writer.
func (l *Log) encode(r *Record) (*request, error) {
	block := blockSize(len(r.Head), r.Size)
	total := int(block + aligned(r.Size))
	var buffer []byte
	if known, ok := l.buffers.Get().(*[]byte); ok && cap(*known) >= total {
		buffer = (*known)[:total]
	} else {
		buffer = make([]byte, total)
	}
	clear(buffer[:block])
	clear(buffer[block+r.Size:])
	if err := r.fill(buffer[:block], buffer[block:]); err != nil {
		return nil, err
	}
	return &request{record: buffer, block: block, size: r.Size, result: make(chan error, 1)}, nil
}

// submit hands a record to the writer.
func (l *Log) submit(ctx context.Context, q *request) error {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.requests <- q:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeAll is the writer. It ends when the log is closed.
func (l *Log) writeAll() {
	w := writer{log: l}
	for first := range l.requests {
		w.group = append(w.group[:0], first)
		w.gather(min(maxGroup, l.options.SegmentSize))
		err := w.write()
		for _, q := range w.group {
			q.result <- err
		}
		clear(w.group)
	}
	w.retire(false)
}

// writer is the state of the writer's goroutine.
type writer struct {
	log    *Log
	active *segment // nil before the first record, and after a failure
	file   vfs.File // of the active segment
	salt   uint64
	group  []*request
	joined []byte
}

// gather takes what waits, up to about most octets.
func (w *writer) gather(most int64) {
	size := int64(len(w.group[0].record))
	for size < most {
		select {
		case q, open := <-w.log.requests:
			if !open {
				return
			}
			w.group = append(w.group, q)
			size += int64(len(q.record))
		default:
			return
		}
	}
}

// write stores the group with one write and one sync. A segment for which
// either failed is not written again, nor is its file: nobody knows what of it
// is on the disk, and the next would fail there too.
func (w *writer) write() error {
	if w.active != nil && w.active.size >= w.log.options.SegmentSize {
		w.retire(false)
	}
	if w.active == nil {
		if err := w.begin(); err != nil {
			return fmt.Errorf("body log: cannot begin a segment: %w", err)
		}
	}
	at := w.active.size
	data := w.join(at)
	n, err := w.file.WriteAt(data, at)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = w.file.SyncData()
	}
	if err != nil {
		err = fmt.Errorf("body log: cannot write segment %s: %w", w.log.path(segmentName(w.active.number)), err)
		w.retire(true)
		return err
	}
	w.log.entered(w.active, w.group, int64(len(data)))
	return nil
}

// join seals the records and lays them end to end, as from offset at.
func (w *writer) join(at int64) []byte {
	w.joined = w.joined[:0]
	for _, q := range w.group {
		seal(q.record[:q.block], w.salt)
		q.place = Place{Segment: w.active.number, Offset: at, Head: q.block, Size: q.size}
		at += int64(len(q.record))
		if len(w.group) > 1 {
			w.joined = append(w.joined, q.record...)
		}
	}
	if len(w.group) == 1 {
		return w.group[0].record
	}
	return w.joined
}

// begin makes a new segment. Its name is durable before anything in it is
// acknowledged.
func (w *writer) begin() (err error) {
	l := w.log
	l.mu.Lock()
	l.last++
	g := &segment{number: l.last, size: headerSize, created: time.Now()}
	l.mu.Unlock()
	var salt [8]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return err
	}
	w.salt = binary.BigEndian.Uint64(salt[:])
	path := l.path(segmentName(g.number))
	f, err := w.open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	g.disk = info.Size()
	_, err = f.WriteAt(header(g.number, w.salt), 0)
	if err = errors.Join(err, f.Sync(), l.syncDirectory()); err != nil {
		if err := errors.Join(f.Close(), l.options.FS.Remove(path)); err != nil {
			l.options.Logger.Warn("body log: cannot remove a segment that was begun in vain", "file", path, "error", err)
		}
		return err
	}
	w.active, w.file = g, f
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments[g.number] = g
	return nil
}

// open opens the spare file under a new name, or a new file.
func (w *writer) open(path string) (vfs.File, error) {
	l := w.log
	l.mu.Lock()
	spare := l.spare
	l.mu.Unlock()
	if spare {
		err := l.options.FS.Rename(l.path(spareName), path)
		l.mu.Lock()
		l.spare = false
		l.mu.Unlock()
		if err == nil {
			return l.options.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		}
	}
	return l.options.FS.Create(path, vfs.WriteCategoryUnspecified)
}

// forgetPages lets the system drop what it has cached of a segment. Fresh mail
// has been delivered by now and the rest is read once, later; meanwhile the
// next segment can have the memory, which costs less than new memory does.
func forgetPages(f vfs.File) {
	if fd := f.Fd(); fd != vfs.InvalidFd {
		_ = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) // advice: that it is not taken harms nothing
	}
}

// retire ends the writing of the active segment. What was acknowledged of it
// is synced, so an error of closing it harms nothing.
func (w *writer) retire(failed bool) {
	if w.active == nil {
		return
	}
	forgetPages(w.file)
	if err := w.file.Close(); err != nil {
		w.log.options.Logger.Warn("body log: cannot close a segment", "segment", w.active.number, "error", err)
	}
	w.log.retired(w.active, failed)
	w.active, w.file = nil, nil
}
