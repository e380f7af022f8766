package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
)

// Content is a content open for reading. It stays readable when its place is
// freed. It is safe for use by several goroutines.
type Content struct {
	log  *Log
	path string
	file vfs.File
	id   mail.ID
	// segment in which it is; 0 when it has a file of its own
	segment uint64
	base    int64 // offset of the content in the file
	descriptor

	mu     sync.Mutex
	number int64 // of the frame; -1 for none
	frame  []byte
}

// Content opens the content at a place. Errors: ErrDamaged when what is there
// is not that content.
func (l *Log) Content(id mail.ID, p Place) (*Content, error) {
	name := segmentName(p.Segment)
	if p.Segment == 0 {
		name = ownName(id)
	}
	f, err := l.options.FS.Open(l.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, l.damaged(name, 0, "the file is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("body log: %w", err)
	}
	c := &Content{log: l, path: l.path(name), file: f, id: id, segment: p.Segment, number: -1}
	l.reading(p.Segment, 1)
	if err := c.open(p); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// open reads and checks what stands beside the content.
func (c *Content) open(p Place) error {
	at := p.Offset
	c.base = at + p.Head
	if p.Segment == 0 {
		at, c.base = aligned(p.Size), 0
	}
	if p.Head < fixedSize || p.Head > blockSize(MaxHead, maxContent) || p.Size > maxContent || at < 0 {
		return c.damaged(at, errors.New("no record can be there"))
	}
	block := make([]byte, p.Head)
	if err := c.read(block, at); err != nil {
		return err
	}
	d, err := parseBlock(block)
	switch {
	case err != nil:
		return c.damaged(at, err)
	case d.id != c.id || d.size != p.Size:
		return c.damaged(at, fmt.Errorf("there is content %s of %d octets, not %s of %d", d.id, d.size, c.id, p.Size))
	}
	c.descriptor = d
	return nil
}

// read reads exactly so much. That the file ends before is damage.
func (c *Content) read(p []byte, at int64) error {
	n, err := c.file.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return c.damaged(at+int64(n), errors.New("the file ends here"))
	}
	return fmt.Errorf("body log: cannot read %s: %w", c.path, err)
}

func (c *Content) damaged(at int64, why error) error {
	return fmt.Errorf("%w: %s, offset %d: content %s: %w", ErrDamaged, c.path, at, c.id, why)
}

// Size returns the octets of the content.
func (c *Content) Size() int64 { return c.size }

// Head returns the envelope. It must not be changed.
func (c *Content) Head() []byte { return c.head }

// ReadAt reads content. Errors: ErrDamaged, with what comes before the frame
// that is damaged.
func (c *Content) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("body log: offset %d", off)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(p) && off < c.size {
		if err := c.load(off / FrameSize); err != nil {
			return n, err
		}
		part := copy(p[n:], c.frame[off%FrameSize:])
		n += part
		off += int64(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// load reads and checks a frame.
func (c *Content) load(number int64) error {
	if c.number == number {
		return nil
	}
	c.number = -1
	length := min(FrameSize, c.size-number*FrameSize)
	if int64(cap(c.frame)) < length {
		c.frame = make([]byte, length)
	}
	c.frame = c.frame[:length]
	at := c.base + number*FrameSize
	if err := c.read(c.frame, at); err != nil {
		return err
	}
	if frameSum(c.id, number, c.frame) != c.sum(number) {
		return c.damaged(at, errors.New("a frame fails its checksum"))
	}
	c.number = number
	return nil
}

// Close frees the file. It must be called once.
func (c *Content) Close() error {
	c.log.reading(c.segment, -1)
	return c.file.Close()
}
