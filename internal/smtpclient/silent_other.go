//go:build !unix

package smtpclient

import "net"

// silence returns what reports true: there is no way to look at a socket without reading.
// A server that has closed is then found out at the next command.
func silence(net.Conn) (silent func() bool) { return func() bool { return true } }
