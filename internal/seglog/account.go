package seglog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"postern/internal/mail"
)

// segment is the account of one segment.
type segment struct {
	number  uint64
	size    int64 // octets that were written
	disk    int64 // size of the file
	live    int64 // octets of records that are needed
	records int   // how many these are
	created time.Time
	readers int  // open contents
	closed  bool // not being written any more
	failed  bool // a write or a sync of it has
	stuck   bool // what is needed in it cannot be moved
	linked  bool // its file was given another name
}

// entered counts a group that was written to the active segment.
func (l *Log) entered(g *segment, group []*request, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g.size += size
	g.disk = max(g.disk, g.size)
	g.live += size
	g.records += len(group)
}

// retired says that a segment is not written any more, and whether that is
// because it could not be.
func (l *Log) retired(g *segment, failed bool) {
	l.mu.Lock()
	g.closed, g.failed = true, failed
	end := l.dropEmpty(g)
	l.mu.Unlock()
	l.dispose(g, end)
}

// Keep says, before ClearOrphans, that a place is needed. It fails with
// ErrDamaged when nothing can be there.
func (l *Log) Keep(id mail.ID, p Place) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.Segment == 0 {
		f := l.files[id]
		if f == nil || f.size < aligned(p.Size)+p.Head {
			return l.damaged(ownName(id), 0, "the file is missing or cut short")
		}
		f.kept = true
		return nil
	}
	g := l.segments[p.Segment]
	if g == nil || p.Offset < headerSize || p.end() > g.size {
		return l.damaged(segmentName(p.Segment), p.Offset, "the segment is missing or ends before")
	}
	g.live += p.end() - p.Offset
	g.records++
	return nil
}

// damaged is an error with its place.
func (l *Log) damaged(name string, offset int64, what string) error {
	return fmt.Errorf("%w: %s, offset %d: %s", ErrDamaged, l.path(name), offset, what)
}

// ClearOrphans removes segments and files in which nothing is needed. It is
// for the time between the last Keep and the first Append.
func (l *Log) ClearOrphans() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, g := range l.segments {
		if l.dropEmpty(g) != needed {
			errs = append(errs, l.options.FS.Remove(l.path(segmentName(g.number))))
		}
	}
	for id, f := range l.files {
		if !f.kept {
			delete(l.files, id)
			errs = append(errs, l.options.FS.Remove(l.path(ownName(id))))
		}
	}
	return errors.Join(errs...)
}

// Free says that a content is not needed any more: its removal is durable, or
// nothing ever referred to it. It removes a file in which nothing else is
// needed; what cannot be removed is logged, and goes with the orphans.
func (l *Log) Free(id mail.ID, p Place) {
	if p.Segment == 0 {
		l.mu.Lock()
		delete(l.files, id)
		l.mu.Unlock()
		l.remove(ownName(id))
		return
	}
	l.mu.Lock()
	g := l.segments[p.Segment]
	if g == nil {
		l.mu.Unlock()
		return
	}
	g.live -= p.end() - p.Offset
	g.records--
	end := l.dropEmpty(g)
	l.mu.Unlock()
	l.dispose(g, end)
}

// fate is what becomes of a segment's file.
type fate int

const (
	needed  fate = iota // something in it is needed, or may be
	useless             // it is to be removed
	reused              // it is to become the spare
)

// dropEmpty takes a segment out of the account when nothing in it is needed
// and nothing will be. mu is held.
func (l *Log) dropEmpty(g *segment) fate {
	if !g.closed || g.records > 0 {
		return needed
	}
	delete(l.segments, g.number)
	if l.spare || g.readers > 0 || g.failed || g.linked || g.disk < l.options.SegmentSize {
		return useless
	}
	l.spare = true
	return reused
}

// dispose does what dropEmpty said. A spare that does not get its name is
// removed with the orphans.
func (l *Log) dispose(g *segment, end fate) {
	switch end {
	case useless:
		l.remove(segmentName(g.number))
	case reused:
		if l.makeSpare(segmentName(g.number)) {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.spare = false
	}
}

// makeSpare makes a file the spare, unless it is in a backup, made by this
// process or another.
func (l *Log) makeSpare(name string) bool {
	if l.hasOtherNames(name) {
		l.remove(name)
		return false
	}
	if err := l.options.FS.Rename(l.path(name), l.path(spareName)); err != nil {
		l.options.Logger.Warn("body log: cannot keep a segment's file as the spare", "file", l.path(name), "error", err)
		return false
	}
	return true
}

func (l *Log) remove(name string) {
	if err := l.options.FS.Remove(l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.options.Logger.Warn("body log: cannot remove a file that is not needed; it goes at the next start", "file", l.path(name), "error", err)
	}
}

// reading counts the readers of a segment.
func (l *Log) reading(number uint64, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.segments[number]; g != nil {
		g.readers += n
	}
}

// sparse is the part of a segment, as one in so many, below which what is
// needed is worth moving: three octets are won for each that is written.
const sparse = 4

// Sparse returns the segments of which less than a quarter is needed, those
// with the smallest part first.
func (l *Log) Sparse() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*segment
	for _, g := range l.segments {
		if g.closed && !g.stuck && g.live*sparse < g.size {
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(a, b *segment) int { return cmp.Compare(a.live*b.size, b.live*a.size) })
	numbers := make([]uint64, len(found))
	for i, g := range found {
		numbers[i] = g.number
	}
	return numbers
}

// Stuck says that a segment cannot be emptied: Sparse passes over it from now
// on.
func (l *Log) Stuck(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.segments[number]; g != nil {
		g.stuck = true
	}
}
