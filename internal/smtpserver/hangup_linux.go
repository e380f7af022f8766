package smtpserver

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp reports, without waiting, whether the peer has closed or reset the
// connection. Octets it sent before may still be unread. It reports false
// for what is no socket.
func hungUp(nc net.Conn) bool {
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	hung := false
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(poll, 0)
		hung = err == nil && n > 0 && poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return hung && err == nil
}
