package seglog

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Adopt makes a file the content's own. The file is open for writing, lies
// under the path name on the log's file system and has the content and nothing
// else; what goes with the content is added, the file synced and renamed, and
// its new name synced too. When Adopt returns nil the content is on stable
// storage, and counts as needed until Free.
//
// Adopt closes the file in any case. When it fails, name stays the caller's
// to remove, unless the renaming itself was what could not be made durable.
func (l *Log) Adopt(r Record, name string, f vfs.File) (Place, error) {
	p, err := l.complete(&r, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return Place{}, fmt.Errorf("body log: cannot write %s: %w", name, err)
	}
	path := l.path(ownName(r.ID))
	if err := l.options.FS.Rename(name, path); err != nil {
		return Place{}, fmt.Errorf("body log: %w", err)
	}
	if err := l.syncDirectory(); err != nil {
		l.remove(ownName(r.ID))
		return Place{}, fmt.Errorf("body log: cannot make the name %s durable: %w", path, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[r.ID] = &file{size: aligned(p.Size) + p.Head + trailerSize, kept: true}
	return p, nil
}

// complete writes what goes with the content behind it, and syncs the file.
func (l *Log) complete(r *Record, f vfs.File) (Place, error) {
	if err := r.check(maxContent); err != nil {
		return Place{}, err
	}
	n := blockSize(len(r.Head), r.Size)
	padding := aligned(r.Size) - r.Size
	rest := make([]byte, padding+n, padding+n+trailerSize)
	block := rest[padding:]
	if err := r.fill(block, nil); err != nil {
		return Place{}, err
	}
	seal(block, 0)
	rest = append(rest, trailer(n)...)
	if wrote, err := f.WriteAt(rest, r.Size); err != nil || wrote < len(rest) {
		return Place{}, errors.Join(err, io.ErrShortWrite)
	}
	return Place{Head: n, Size: r.Size}, f.Sync()
}
