package smtpserver

import (
	"crypto/tls"
	"errors"
	"io"
	"time"
)

// How long, and for how many octets, a connection waits for its client to
// close it; and how long when the server stops.
const (
	lingerTime     = 2 * time.Second
	lingerStopping = 200 * time.Millisecond
	lingerOctets   = 256 << 10
)

// linger ends what the server has to say, and drops what the client still
// sends until that has closed, or until the bounds above. To close a socket
// with unread input, or that gets more, resets the connection, and a reset may
// overtake or wipe out the last reply at the client. It does nothing where the
// client can no longer be written to.
func (c *conn) linger() {
	if c.broken != nil || c.closeWrite() != nil {
		return
	}
	c.mu.Lock()
	c.lingering = true
	wait := lingerTime
	if c.stopping {
		wait = lingerStopping
	}
	c.nc.SetReadDeadline(time.Now().Add(wait))
	c.mu.Unlock()
	// Below TLS: what is dropped need not be decrypted. The error is the
	// client's end, or ours.
	_, _ = io.CopyN(io.Discard, c.nc, lingerOctets)
}

// closeWrite tells the client that nothing more will come: under TLS with the
// alert first. It fails when the client has gone, and for what is no socket.
func (c *conn) closeWrite() error {
	socket, ok := c.nc.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	if tc, ok := c.rw.(*tls.Conn); ok {
		if err := tc.CloseWrite(); err != nil {
			return err
		}
	}
	return socket.CloseWrite()
}
