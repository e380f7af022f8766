// Package seglog is the body log: the contents of messages on stable storage,
// beside the database that alone says which of them exist and where.
//
// Contents of middle size are appended to segments, each content as one
// record. One goroutine, the writer, gathers the records that wait, writes
// them together and syncs once. Larger contents have a file of their own. Both
// carry the id and the envelope that go with a content, for whoever must
// salvage it, and a checksum for each frame of 64 KiB that covers the id too:
// no octet of a frame is returned before the whole frame is verified.
//
// A Place is good from Append or Adopt until Free. Segments and files go when
// nothing in them is needed any more; those that a crash left behind go by
// ClearOrphans, when all that is needed has been named by Keep. A segment that
// was written by an earlier process is never written again.
//
// To write over what was written is cheaper than to make a file longer: the
// file system has less to record with each sync. So the file of one segment
// that is not needed any more is kept as the spare, and becomes the next
// segment under a new number, provided that nobody has it open, and that it has
// no other name, as files in a backup have.
//
// It knows neither queues nor databases: who refers to a content, and when a
// reference is durable, is the caller's affair. It repeats no write and no
// sync that failed: the records concerned are refused, and the next go to a
// new segment.
package seglog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
)

// Options are the settings of a Log. The zero value is usable.
type Options struct {
	FS     vfs.FS       // nil: the machine's
	Logger *slog.Logger // nil: discards
	// SegmentSize is the size in octets at which a segment is full; it may
	// become larger by one group of records. 0: 64 MiB.
	SegmentSize int64
	// FileSize is the largest content, in octets, that goes to a segment.
	// 0: 1 MiB.
	FileSize int64
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = 64 << 20
	}
	if o.FileSize == 0 {
		o.FileSize = 1 << 20
	}
	return o
}

// The errors of a Log, to be asked for with errors.Is. A full disk is told as
// the system's ENOSPC or EDQUOT.
var (
	// ErrDamaged says that what is stored fails its check; the text has file
	// and offset.
	ErrDamaged = errors.New("the body log is damaged")
	// ErrClosed says that the log is closed.
	ErrClosed = errors.New("the body log is closed")
)

// Place says where a content lies.
type Place struct {
	Segment uint64 // number of the segment; 0: a file of its own, named after the id
	Offset  int64  // of the record in its segment
	Head    int64  // octets of the record that are not content
	Size    int64  // of the content, in octets
}

// end is the offset behind the record.
func (p Place) end() int64 { return p.Offset + p.Head + aligned(p.Size) }

// Record is a content to be kept, with what goes with it.
type Record struct {
	ID      mail.ID     // of the content
	Head    []byte      // the envelope, at most MaxHead octets; not interpreted here
	Content io.ReaderAt // of Size octets
	Size    int64
}

// Log is an open body log. It is safe for use by several goroutines.
type Log struct {
	options  Options
	dir      string
	requests chan *request // to the writer
	writer   sync.WaitGroup
	buffers  sync.Pool

	closing sync.RWMutex // held for reading while something is being sent to the writer
	closed  bool

	mu       sync.Mutex
	segments map[uint64]*segment
	files    map[mail.ID]*file
	last     uint64 // the highest number of a segment so far
	spare    bool   // there is a spare file, or one is being made
}

// file is a content with a file of its own.
type file struct {
	size int64 // of the file
	kept bool
}

// Open opens the log in a directory, which must exist. It removes nothing.
func Open(dir string, o Options) (*Log, error) {
	l := &Log{
		options: o.withDefaults(), dir: dir,
		requests: make(chan *request, backlog),
		segments: make(map[uint64]*segment),
		files:    make(map[mail.ID]*file),
	}
	if err := l.list(); err != nil {
		return nil, fmt.Errorf("body log in %s: %w", dir, err)
	}
	l.writer.Go(l.writeAll)
	return l, nil
}

// list takes stock of what is there.
func (l *Log) list() error {
	names, err := l.options.FS.List(l.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := l.options.FS.Stat(l.path(name))
		if err != nil {
			return err
		}
		number, id, kind := parseName(name)
		switch kind {
		case segmentFile:
			l.segments[number] = &segment{number: number, size: info.Size(), disk: info.Size(), created: info.ModTime(), closed: true}
			l.last = max(l.last, number)
		case spareFile:
			l.spare = true
		case ownFile:
			l.files[id] = &file{size: info.Size()}
		default:
			l.options.Logger.Warn("body log: a file that is none of its own is left alone", "file", l.path(name))
		}
	}
	return nil
}

// Close ends the writer, after what waits for it. Contents that are open stay
// readable.
func (l *Log) Close() error {
	l.closing.Lock()
	if l.closed {
		l.closing.Unlock()
		return nil
	}
	l.closed = true
	close(l.requests)
	l.closing.Unlock()
	l.writer.Wait()
	return nil
}

// Stat is what a log takes and holds.
type Stat struct {
	Segments []SegmentStat `json:"segments"` // in order of their numbers
	// Files counts the contents with a file of their own; FileSize is what
	// they take in octets.
	Files    int   `json:"files"`
	FileSize int64 `json:"file_size"`
	// Spare says that there is a spare file, of about a segment's size.
	Spare bool `json:"spare"`
}

// SegmentStat is what a segment takes and holds.
type SegmentStat struct {
	Number  uint64    `json:"number"`
	Size    int64     `json:"size"`    // octets on the disk
	Live    int64     `json:"live"`    // octets of records that are needed
	Records int       `json:"records"` // that are needed
	Created time.Time `json:"created"`
	Active  bool      `json:"active"` // being written
}

// Stat tells what the log takes and holds.
func (l *Log) Stat() Stat {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stat{Spare: l.spare}
	for _, g := range l.segments {
		s.Segments = append(s.Segments, SegmentStat{
			Number: g.number, Size: g.disk, Live: g.live, Records: g.records, Created: g.created, Active: !g.closed,
		})
	}
	slices.SortFunc(s.Segments, func(a, b SegmentStat) int { return cmp.Compare(a.Number, b.Number) })
	for _, f := range l.files {
		s.Files++
		s.FileSize += f.size
	}
	return s
}

// path returns the path of a file of the log.
func (l *Log) path(name string) string { return l.options.FS.PathJoin(l.dir, name) }

// syncDirectory makes the names of files durable.
func (l *Log) syncDirectory() error {
	directory, err := l.options.FS.OpenDir(l.dir)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
