package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// snapshotName is the directory in which Link makes its names.
const snapshotName = "snapshot"

// File is a file of a journal.
type File struct {
	Name string // in the directory of a journal
	Path string // where it lies now
	// Size is how many octets are synced.
	Size int64
	// Fixed says that it is never written again.
	Fixed bool
}

// Link gives the files of the journal further names, under which they stay
// although they are pruned, until Unlink. They hold all that was synced when it
// began. Only one caller at a time may do so.
func (j *Journal) Link() ([]File, error) {
	j.mu.Lock()
	end := j.end
	j.mu.Unlock()
	dir := filepath.Join(j.dir, snapshotName)
	if err := errors.Join(j.Unlink(), os.Mkdir(dir, 0o700)); err != nil {
		return nil, err
	}
	list, err := segments(j.dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, s := range list {
		if s.number > end.number {
			break
		}
		f := File{Name: s.name(), Path: filepath.Join(dir, s.name()), Size: end.offset, Fixed: s.number < end.number}
		err := os.Link(j.path(s), f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was pruned
		}
		if err == nil && f.Fixed {
			f.Size, err = sizeOf(f.Path)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Unlink takes the names of Link away.
func (j *Journal) Unlink() error { return os.RemoveAll(filepath.Join(j.dir, snapshotName)) }

func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Files lists the files of a journal that nobody has open, and keeps it so
// until the lock is closed. A directory that is not there is an empty journal.
func Files(dir string) (files []File, lock io.Closer, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, io.NopCloser(nil), nil
	}
	held, err := lockDirectory(dir)
	if err != nil {
		return nil, nil, err
	}
	list, err := segments(dir)
	for i, s := range list {
		f := File{Name: s.name(), Path: filepath.Join(dir, s.name()), Fixed: i < len(list)-1}
		if f.Size, err = sizeOf(f.Path); err != nil {
			break
		}
		files = append(files, f)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("journal %s: %w", dir, err), held.Close())
	}
	return files, held, nil
}
