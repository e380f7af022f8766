package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxPath is the longest path of a Unix socket on Linux (unix(7): sun_path
// of 108 octets, with its final NUL).
const maxPath = 107

// ErrInUse says that another server answers at the socket.
var ErrInUse = errors.New("another server answers there")

// Listen opens the socket at a path, and makes the directory that it is in.
// Only its owner may use it. A socket that a server which is gone has left
// behind is replaced; anything else at that path stays as it is.
//
// Errors: ErrInUse; otherwise what is in the way, or that of the system.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return listen(path, 0o600)
}

// ListenForAll opens a socket at a path, in a directory that is there, which
// every user may use. It fails as Listen does.
func ListenForAll(path string) (net.Listener, error) { return listen(path, 0o666) }

func listen(path string, mode fs.FileMode) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("socket %s: the path has %d octets, and the system allows %d", path, len(path), maxPath)
	}
	if err := clearStale(path); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	listener, err := listenWith(path, mode)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, withoutAddress(err))
	}
	return listener, nil
}

// clearStale removes a socket at which nobody listens any more.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something that is no socket is there; move it away, or choose another path")
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close()
		return ErrInUse
	case errors.Is(err, syscall.EAGAIN): // its backlog is full
		return ErrInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("it cannot be told whether another server answers there: %w", withoutAddress(err))
}

// listenWith listens so that others never may connect than those whom the mode
// allows it. On Linux the socket takes over the mode that it has before it gets
// its name; elsewhere a moment passes until the mode is set.
func listenWith(path string, mode fs.FileMode) (net.Listener, error) {
	restrict := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = syscall.Fchmod(int(fd), uint32(mode)) // where it has no effect, Chmod follows
		})
	}
	config := net.ListenConfig{Control: restrict}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// withoutAddress returns the cause of a network error: its address is named
// already.
func withoutAddress(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
