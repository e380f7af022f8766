//go:build unix

package smtpclient

import (
	"errors"
	"net"
	"syscall"
)

// silent reports, without waiting, whether the peer has neither sent anything
// that is still unread nor closed. It reports true for what is no socket.
func silent(nc net.Conn) bool {
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var peekErr error
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, peekErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && errors.Is(peekErr, syscall.EAGAIN)
}
