package privatedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file with keys in a directory that is not for them alone, of which nothing else is
// touched. Whoever writes it sees to it that nobody else does.
type File struct {
	Path string
	// Written is called when all of it is on the disk, and what was there is still in its place. It
	// may be nil.
	Written func()
}

// Write makes the file be what it is to be: as a whole, and for good, with mode 0600. What root writes
// belongs to the owner of the file before it, or, where there was none, of the directory.
func (f File) Write(data []byte) error {
	temporary := f.Path + ".new" // one name, so that what a crash leaves goes the next time: it may be a key
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := fill(made, data, f.give); err != nil {
		return err
	}
	if f.Written != nil {
		f.Written()
	}
	if err := rename(temporary, f.Path); err != nil {
		return err
	}
	return Dir(filepath.Dir(f.Path)).sync()
}

func (f File) give(made *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := owner(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		uid, gid, err = owner(filepath.Dir(f.Path))
	}
	if err != nil {
		return err
	}
	return made.Chown(uid, gid)
}
