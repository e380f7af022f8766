// Package stamp reads files of this machine that are read again when they change,
// and tells whether one has changed.
//
// It asks the system for the file's identity, size and time, and reads nothing to
// tell. A file that changed a moment ago may change again and keep its time: its
// stamp does not stand, so that it is read once more. Trouble is why what it says now
// cannot be put in force.
package stamp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// settled is how old a change must be to be seen by the time of the file alone:
// within less than that, a file can change twice and have the same time.
const settled = 2 * time.Second

// Stamp tells whether a file is the one that was read. The zero value stands for a
// file that could not be read, and never stands.
type Stamp struct {
	info fs.FileInfo
	// fresh says that the file may change without being seen.
	fresh bool
}

// Stands reports whether the file has surely not changed.
func (s Stamp) Stands(path string) bool {
	if s.info == nil || s.fresh {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && same(info, s.info)
}

// Changed returns when the file was changed last, as the file system has it; the
// zero time for the zero Stamp.
func (s Stamp) Changed() time.Time {
	if s.info == nil {
		return time.Time{}
	}
	return s.info.ModTime()
}

// Of returns the stamp of a file or directory without reading it: the zero Stamp
// when there is none.
func Of(path string, now time.Time) Stamp {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}
	}
	return of(info, now)
}

func of(info fs.FileInfo, now time.Time) Stamp {
	return Stamp{info: info, fresh: now.Sub(info.ModTime()).Abs() < settled}
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Reasons for which a file is not read.
var (
	ErrWriting    = errors.New("changes while it is read; write another file, and rename it")
	ErrNotRegular = errors.New("is not a regular file")
	ErrTooLarge   = errors.New("is larger than")
)

// Read reads a whole file of at most limit octets that nobody writes meanwhile. It
// fails with an error of package fs; for what is no file, for one that is too large and for
// one that changes, with a reason from above in it.
func Read(path string, limit int64, now time.Time) ([]byte, Stamp, error) {
	// What is no file must not make us wait for somebody who writes to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, Stamp{}, err
	}
	defer f.Close()
	data, info, err := readOpen(f, limit)
	if err != nil {
		return nil, Stamp{}, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data, of(info, now), nil
}

// ReadIn reads a file in a directory as Read does. No link leads out of the directory: it is for a
// process that may read more than who can write there.
func ReadIn(dir *os.Root, name string, limit int64) ([]byte, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, _, err := readOpen(f, limit)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	return data, nil
}

func readOpen(f *os.File, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, ErrNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("%w %d MiB", ErrTooLarge, limit>>20)
	}
	after, err := f.Stat()
	if err == nil && !same(info, after) {
		err = ErrWriting
	}
	return data, info, err
}
