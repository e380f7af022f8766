//go:build unix

package smtpclient

import (
	"errors"
	"net"
	"syscall"
)

// silence returns what reports, without waiting, whether the peer has neither sent anything
// that is still unread nor closed. Of what is no socket it reports true. That is asked twice for each
// message, so that what it takes is made once.
func silence(nc net.Conn) (silent func() bool) {
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	var b [1]byte
	var peekErr error
	peek := func(fd uintptr) {
		_, _, peekErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}
	return func() bool { return raw.Control(peek) == nil && errors.Is(peekErr, syscall.EAGAIN) }
}
