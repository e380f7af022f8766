package lists

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

// stamp tells whether a file is the one that was read. The zero value stands for a
// file that could not be read, and never stands.
type stamp struct {
	info fs.FileInfo
	// fresh says that the file may change without being seen.
	fresh bool
}

// stands reports whether the file has surely not changed.
func (s stamp) stands(path string) bool {
	if s.info == nil || s.fresh {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && same(info, s.info)
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Reasons for which a file is not read.
var (
	errWriting    = errors.New("changes while it is read; write another file, and rename it")
	errNotRegular = errors.New("is not a regular file")
	errTooLarge   = fmt.Errorf("is larger than %d MiB", MaxFile>>20)
)

// readFile reads a whole file that nobody writes meanwhile. It fails with an error of
// package fs; for what is no file, and for one that changes, with a reason from above in
// it.
func readFile(path string, now time.Time) ([]byte, stamp, error) {
	// What is no file must not make us wait for somebody who writes to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	defer f.Close()
	data, info, err := readOpen(f)
	if err != nil {
		return nil, stamp{}, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data, stamp{info: info, fresh: now.Sub(info.ModTime()).Abs() < settled}, nil
}

func readOpen(f *os.File) ([]byte, fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > MaxFile {
		return nil, nil, errTooLarge
	}
	after, err := f.Stat()
	if err == nil && !same(info, after) {
		err = errWriting
	}
	return data, info, err
}
