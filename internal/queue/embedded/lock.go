package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// InUseError says that somebody has the store open.
type InUseError struct {
	By string // who: "process 123 (postern serve)"
}

// Error says who has the store.
func (e *InUseError) Error() string { return e.By + " uses it" }

// lockDirectory keeps other processes, and other stores in this one, out.
func lockDirectory(files vfs.FS, path string) (io.Closer, error) {
	lock, err := files.Lock(path)
	if err == nil {
		return lock, nil
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("cannot lock the directory: %w", err)
	}
	return nil, &InUseError{By: holder(path)}
}

// holder says who holds the lock. The system knows: what a file says may be
// left over from a process that is dead.
//
// QUIRK: a process loses a lock on a file when it closes any handle of it
// (fcntl(2)). So the handle stays open when the lock is its own.
func holder(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "another process"
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &lock)
	if err == nil && lock.Type == unix.F_UNLCK { // its own locks are none to a process
		return "this process"
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return "another process"
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", lock.Pid))
	if err != nil {
		return fmt.Sprintf("process %d", lock.Pid)
	}
	words := bytes.ReplaceAll(bytes.TrimRight(command, "\x00"), []byte{0}, []byte{' '})
	return fmt.Sprintf("process %d (%s)", lock.Pid, strings.ToValidUTF8(string(words), "?"))
}
