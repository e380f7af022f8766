package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/mail"
)

// listen binds the socket of a listener, beside those that are about to be
// released. mu is held.
func (d *Daemon) listen(c *config.Listener, released []*listener) (net.Listener, error) {
	if socket := d.inherited(c); socket != nil {
		return socket, nil
	}
	socket, err := net.Listen(networkOf(c.Address), c.Address.String())
	if own := inTheWay(released, c.Address); len(own) > 0 && errors.Is(err, syscall.EADDRINUSE) {
		socket, err = listenBeside(own, c.Address)
	}
	if err == nil {
		return socket, nil
	}
	hint := listenHint(err)
	if own := inTheWay(d.listeners, c.Address); len(own) > 0 && errors.Is(err, syscall.EADDRINUSE) {
		hint = fmt.Sprintf("; listener %s of this server has %s: `postern listener stop %[1]s` frees it", own[0].name, own[0].address)
	}
	return nil, atListener(c, cannotListen(c.Address, err, hint))
}

// networkOf returns the network for an address. 0.0.0.0 is every address of IPv4,
// as it is written; package net would add those of IPv6, which [::] is for.
func networkOf(a netip.AddrPort) string {
	if a.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

// cannotListen says which address cannot be had, why, and what to do.
func cannotListen(address netip.AddrPort, err error, hint string) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // it names the address once more
	}
	return fmt.Errorf("cannot listen at %s: %w%s", address, err, hint)
}

// atListener says which listener an error is about, and where it stands in
// the configuration.
func atListener(l *config.Listener, err error) error {
	if l.Place == (mail.Place{}) {
		return fmt.Errorf("listener %s: %w", l.Name, err)
	}
	return fmt.Errorf("%s: listener %s: %w", l.Place, l.Name, err)
}

// listenHint says what to do about an address that cannot be had.
func listenHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "; another program listens there"
	case errors.Is(err, syscall.EACCES):
		return "; a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE; a server that is started by root binds it then"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; this machine has no such address"
	}
	return ""
}

// inTheWay returns the listeners that keep an address from being had: it is for
// every address of the machine, or they are.
func inTheWay(listeners []*listener, a netip.AddrPort) []*listener {
	var list []*listener
	for _, l := range listeners {
		if l.address.Port() == a.Port() && (l.address.Addr().IsUnspecified() || a.Addr().IsUnspecified()) {
			list = append(list, l)
		}
	}
	return list
}

// listenBeside binds an address of which others have a part, so that these need
// not be closed before it is there. All of them let themselves be shared from then
// on, which only sockets can that the same user has bound, and that ask for it
// (socket(7), SO_REUSEPORT).
func listenBeside(own []*listener, a netip.AddrPort) (net.Listener, error) {
	for _, l := range own {
		socket, ok := l.socket.(syscall.Conn)
		if !ok {
			return nil, syscall.EADDRINUSE
		}
		raw, err := socket.SyscallConn()
		if err != nil {
			return nil, err
		}
		if err := share(raw); err != nil {
			return nil, err
		}
	}
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return share(c) }}
	return shared.Listen(context.Background(), networkOf(a), a.String())
}

func share(c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, failed)
}
