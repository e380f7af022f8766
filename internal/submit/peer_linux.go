package submit

import (
	"net"

	"golang.org/x/sys/unix"

	"postern/internal/mail"
)

// Peer returns the user whose process is at the other end of a connection at
// a Unix socket (unix(7): SO_PEERCRED); nil when that cannot be told.
func Peer(conn net.Conn) *mail.User {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	var who *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		who, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return nil
	}
	u, _ := lookup(who.Uid)
	return u
}

// syncAll makes durable what was done in the file system of an open file. It
// is for a directory that may not be opened, and so cannot be synced itself.
func syncAll(fd uintptr) error { return unix.Syncfs(int(fd)) }
