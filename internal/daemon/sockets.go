package daemon

import (
	"errors"
	"maps"
	"net"
	"slices"

	"postern/internal/config"
	"postern/internal/systemd"
)

// Sockets are listening sockets that the process has from before the server was
// built, by the names of their listeners: systemd bound them, or the process did
// while it was root.
type Sockets map[string]net.Listener

// InheritSockets returns those that systemd passed to the process.
func InheritSockets() (Sockets, error) { return systemd.Sockets() }

// bind binds the sockets of all listeners that have none yet.
func (s Sockets) bind(c *config.Config) error {
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if s[l.Name] != nil {
			continue
		}
		socket, err := listen(l)
		if err != nil {
			return errors.Join(err, s.Close())
		}
		s[l.Name] = socket
	}
	return nil
}

// Close closes those that nobody has taken.
func (s Sockets) Close() error {
	var errs []error
	for _, socket := range s {
		errs = append(errs, socket.Close())
	}
	clear(s)
	return errors.Join(errs...)
}

func listen(l *config.Listener) (net.Listener, error) {
	socket, err := net.Listen(networkOf(l.Address), l.Address.String())
	if err != nil {
		return nil, atListener(l, cannotListen(l.Address, err, listenHint(err)))
	}
	return socket, nil
}

// inherited returns the socket that is there for a listener already, or nil. One that is there is kept even if the configuration has another address, since
// it is systemd's configuration that says where it is.
func (d *Daemon) inherited(l *config.Listener) net.Listener {
	socket := d.Sockets[l.Name]
	if socket == nil {
		return nil
	}
	delete(d.Sockets, l.Name)
	if at := socket.Addr().String(); at != l.Address.String() && l.Address.Port() != 0 {
		d.Logger.Warn("the listener has a socket already, and its address in the configuration has no effect",
			"listener", l.Name, "address", at, "configured", l.Address.String())
	}
	return socket
}

// closeUnused closes the sockets that no listener has taken. Clients would
// otherwise connect, and never be greeted.
func (d *Daemon) closeUnused() {
	for _, name := range slices.Sorted(maps.Keys(d.Sockets)) {
		d.Logger.Warn("a socket from systemd is named like no listener, and is closed; FileDescriptorName= must be the listener's name",
			"name", name, "address", d.Sockets[name].Addr().String())
	}
	d.untold(d.Sockets.Close())
}
