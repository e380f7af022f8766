//go:build !linux

package smtpserver

import "net"

// hungUp reports false: only Linux tells of a hang-up behind unread input.
// A client that has gone is then found out when the reply is written, and
// may send its message twice.
func hungUp(net.Conn) bool { return false }
