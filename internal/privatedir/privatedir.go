// Package privatedir holds and changes a directory of small files that hold keys, which several
// processes may change: a server, and a command while none runs.
//
// A change is made under a lock, and each file is written as a whole and for good.
// Files are of mode 0600, the directory of 0700. What root writes belongs to the owner of the
// directory, who is to read it. Errors are those of package os, with the path.
//
// Dir is such a directory, and Store one with what was read of it, which a server has in use.
package privatedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postern/internal/stamp"
)

// LockFile is the name of the file in a directory that is locked.
const LockFile = "lock"

// unfinished is the pattern of files that are not yet whole.
const unfinished = ".new-*"

// MaxFile bounds a file that is read, in octets.
const MaxFile = 8 << 20

// Dir is the path of such a directory. It need not be there until it is changed.
type Dir string

// Path returns where a file of the directory is.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Change calls f while no other process changes the directory, which is there by then. It
// fails with the error of f, or with why the directory cannot be changed.
func (d Dir) Change(f func() error) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.sweep(); err != nil {
		return err
	}
	return f()
}

// ReadAll calls each with all files, by name, while nobody changes them; of a directory that is not
// there, with none. It fails with the error of each, and when one of them cannot be read, or is a link out
// of the directory: root would read for its owner what the owner may not.
func (d Dir) ReadAll(each func(name string, data []byte) error) error {
	if _, err := os.Stat(string(d)); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return d.Change(func() error {
		dir, err := os.OpenRoot(string(d))
		if err != nil {
			return err
		}
		defer dir.Close()
		files, err := os.ReadDir(string(d))
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.IsDir() || f.Name() == LockFile {
				continue
			}
			data, err := stamp.ReadIn(dir, f.Name(), MaxFile)
			if err == nil {
				err = each(f.Name(), data)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// lock keeps other processes from changing the directory until unlock is called.
func (d Dir) lock() (unlock func(), err error) {
	f, err := os.OpenFile(d.Path(LockFile), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.give(f), syscall.Flock(int(f.Fd()), syscall.LOCK_EX)); err != nil {
		return nil, fmt.Errorf("locking %s: %w", d, errors.Join(err, f.Close()))
	}
	return func() { f.Close() }, nil
}

// Write makes a file be what it is to be, or with nil not there: as a whole, and for
// good. It is for the function that Change calls.
func (d Dir) Write(name string, data []byte) error {
	path := d.Path(name)
	var err error
	if data == nil {
		err = os.Remove(path)
	} else {
		err = d.replace(path, data)
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// sweep removes what a process left that ended while it wrote: it may be a key. The
// lock is held, so that nobody writes now.
func (d Dir) sweep() error {
	left, err := filepath.Glob(d.Path(unfinished))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func (d Dir) replace(path string, data []byte) error {
	f, err := os.CreateTemp(string(d), unfinished) // with mode 0600
	if err != nil {
		return err
	}
	if err := fill(f, data, d.give); err != nil {
		return err
	}
	return rename(f.Name(), path)
}

// fill writes all of a file, and gives it to whom it belongs. It removes one that it cannot.
func fill(f *os.File, data []byte, give func(*os.File) error) error {
	_, err := f.Write(data)
	if err = errors.Join(err, give(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// rename gives a file its name, or removes it.
func rename(from, to string) error {
	err := os.Rename(from, to)
	if err != nil {
		return errors.Join(err, os.Remove(from))
	}
	return nil
}

// give gives a file that root has made to the owner of the directory. The owner may have
// put a link in its place, to get something else of root's: none is followed.
func (d Dir) give(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, dir := range []string{filepath.Dir(string(d)), string(d)} {
		uid, gid, err := owner(dir)
		if err != nil {
			return err
		}
		if uid != 0 {
			return errors.Join(f.Chown(uid, gid), os.Lchown(string(d), uid, gid))
		}
	}
	return nil
}

// owner is the one of a file or directory.
func owner(path string) (uid, gid int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(is.Uid), int(is.Gid), nil
	}
	return os.Geteuid(), os.Getegid(), nil
}

func (d Dir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
