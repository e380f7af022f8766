package submit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// What is wrong with a directory that the server is to use.
var (
	errNotADirectory = errors.New("it is no directory; a link to one is none either")
	errOwner         = errors.New("it belongs to another user")
	errOpen          = errors.New("others may write to it")
	errShut          = errors.New("users cannot enter it; give it mode 755")
)

// Make makes the directory with all that is in it, as far as it is missing,
// and gives the parts that users meet their modes. It fails with what is in
// the way: what belongs to another user, or lets others in, is not used.
func (d Directory) Make() error {
	if err := os.MkdirAll(filepath.Dir(string(d)), modeDirectory); err != nil {
		return err
	}
	if err := makeDirectory(string(d), modeDirectory); err != nil {
		return err
	}
	info, err := os.Lstat(string(d))
	if err != nil {
		return err
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o022 != 0:
		return fmt.Errorf("%s: %w", d, errOpen)
	case mode&0o001 == 0:
		return fmt.Errorf("%s: %w", d, errShut)
	}
	if err := makeDirectory(d.drop(), modeDrop); err != nil {
		return err
	}
	// The group is what lets the server read what is dropped.
	if err := os.Chown(d.drop(), -1, os.Getegid()); err != nil {
		return err
	}
	if err := os.Chmod(d.drop(), modeDrop); err != nil {
		return err
	}
	if err := makeDirectory(d.taken(), modeTaken); err != nil {
		return err
	}
	return os.Chmod(d.taken(), modeTaken)
}

// makeDirectory makes a directory unless it is there, and checks whose it is.
func makeDirectory(path string, mode fs.FileMode) error {
	err := os.Mkdir(path, 0o700)
	switch {
	case err == nil:
		err = os.Chmod(path, mode) // the umask has taken some away
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: %w", path, errNotADirectory)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid // on every Unix
	if owner != uint32(os.Geteuid()) && owner != 0 {
		return fmt.Errorf("%s: %w", path, errOwner)
	}
	return nil
}
