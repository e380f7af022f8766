package admin

import (
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// peerName returns the name of the user whose process is at the other end
// (unix(7): SO_PEERCRED), "uid 1000" when the user has no name.
func peerName(conn *net.UnixConn) string {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nobody
	}
	var credentials *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return nobody
	}
	uid := strconv.FormatUint(uint64(credentials.Uid), 10)
	if known, err := user.LookupId(uid); err == nil {
		return known.Username
	}
	return "uid " + uid
}
