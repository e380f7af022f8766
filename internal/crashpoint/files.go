//go:build crashpoints

package crashpoint

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// around makes an operation on a file two steps, before and after it.
func around(name, operation string, do func() error) error {
	step := kindOf(name) + " " + operation
	reach("before " + step)
	err := do()
	reach("after " + step)
	return err
}

// kindOf says what a file is to the store or the journal.
func kindOf(name string) string {
	base := filepath.Base(name)
	switch filepath.Ext(base) {
	case ".jsonl":
		return "journal"
	case ".log":
		return "wal"
	case ".sst", ".blob":
		return "table"
	case ".seg":
		return "segment"
	case ".msg":
		return "content"
	}
	switch {
	case base == "spare":
		return "segment"
	case strings.HasPrefix(base, "MANIFEST"), strings.HasPrefix(base, "marker"):
		return "manifest"
	case strings.HasPrefix(base, "OPTIONS"), strings.HasSuffix(base, ".dbtmp"):
		return "options"
	}
	if _, err := strconv.ParseUint(base, 10, 64); err == nil {
		return "draft"
	}
	return "directory"
}

// Files returns the file system with a step before and after each operation
// that changes what is on the disk.
func Files(files vfs.FS) vfs.FS { return steppingFS{files} }

type steppingFS struct{ vfs.FS }

func (s steppingFS) Unwrap() vfs.FS { return s.FS }

func (s steppingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return open(name, "create", func() (vfs.File, error) { return s.FS.Create(name, c) })
}

func (s steppingFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return open(name, "open", func() (vfs.File, error) { return s.FS.OpenReadWrite(name, c, o...) })
}

func (s steppingFS) ReuseForWrite(oldName, newName string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return open(newName, "reuse", func() (vfs.File, error) { return s.FS.ReuseForWrite(oldName, newName, c) })
}

func (s steppingFS) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return steppingFile{f, name}, nil
}

func (s steppingFS) Link(oldName, newName string) error {
	return around(newName, "link", func() error { return s.FS.Link(oldName, newName) })
}

func (s steppingFS) Remove(name string) error {
	return around(name, "remove", func() error { return s.FS.Remove(name) })
}

func (s steppingFS) RemoveAll(name string) error {
	return around(name, "remove", func() error { return s.FS.RemoveAll(name) })
}

func (s steppingFS) Rename(oldName, newName string) error {
	return around(newName, "rename", func() error { return s.FS.Rename(oldName, newName) })
}

func (s steppingFS) MkdirAll(name string, perm os.FileMode) error {
	return around(name, "create", func() error { return s.FS.MkdirAll(name, perm) })
}

// open opens a file that is to be written.
func open(name, operation string, do func() (vfs.File, error)) (f vfs.File, err error) {
	err = around(name, operation, func() error {
		f, err = do()
		return err
	})
	if err != nil {
		return nil, err
	}
	return steppingFile{f, name}, nil
}

// steppingFile passes through what changes nothing. Pebble and the body log
// ask for its descriptor.
type steppingFile struct {
	vfs.File
	name string
}

func (f steppingFile) Write(p []byte) (n int, err error) {
	err = around(f.name, "write", func() error {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f steppingFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = around(f.name, "write", func() error {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f steppingFile) Sync() error { return around(f.name, "sync", f.File.Sync) }

func (f steppingFile) SyncData() error { return around(f.name, "sync", f.File.SyncData) }

func (f steppingFile) SyncTo(length int64) (full bool, err error) {
	err = around(f.name, "sync", func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f steppingFile) Close() error { return around(f.name, "close", f.File.Close) }

// OpenFile is os.OpenFile, with the steps of Files.
func OpenFile(name string, flag int, perm os.FileMode) (f *File, err error) {
	err = around(name, "open", func() error {
		file, err := os.OpenFile(name, flag, perm)
		f = &File{file}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Remove is os.Remove, with the steps of Files.
func Remove(name string) error {
	return around(name, "remove", func() error { return os.Remove(name) })
}

// File is an os.File with the steps of Files.
type File struct{ *os.File }

// Write is that of os.File.
func (f *File) Write(p []byte) (n int, err error) {
	err = around(f.Name(), "write", func() error {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

// Truncate is that of os.File.
func (f *File) Truncate(size int64) error {
	return around(f.Name(), "truncate", func() error { return f.File.Truncate(size) })
}

// Sync is that of os.File.
func (f *File) Sync() error { return around(f.Name(), "sync", f.File.Sync) }

// Close is that of os.File.
func (f *File) Close() error { return around(f.Name(), "close", f.File.Close) }
