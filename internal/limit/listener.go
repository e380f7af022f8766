package limit

import (
	"net"
	"net/netip"
	"sync"
)

// Network is what counts as one client: an address of IPv4, and of IPv6 the /64
// that it is in, since every host has as many addresses of that as it likes. It
// is the zero Prefix where there is no address.
func Network(client netip.Addr) netip.Prefix {
	client = client.Unmap().WithZone("")
	bits := client.BitLen()
	if client.Is6() {
		bits = 64
	}
	network, _ := client.Prefix(bits) // fails only for the zero Addr
	return network
}

// Total returns a listener that has at most so many connections open at a time.
// Who comes when there are as many waits until one is closed.
func Total(l net.Listener, most int) net.Listener {
	return &total{Listener: l, places: make(chan struct{}, most), closed: make(chan struct{})}
}

type total struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits for a place, then for a connection.
func (l *total) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	nc, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return newConn(nc, func() { <-l.places }), nil
}

// Close closes the listener, and ends the wait for a place.
func (l *total) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// PerClient returns a listener that gives each client at most so many
// connections at a time of those that l accepts. More are closed at once. What
// has no address, such as a Unix socket, counts as one client.
func PerClient(l net.Listener, most int) net.Listener {
	return &perClient{Listener: l, most: most, open: make(map[netip.Prefix]int)}
}

type perClient struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[netip.Prefix]int // connections
}

// Accept returns the next connection of a client that may have one.
func (l *perClient) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := clientOf(nc)
		if l.enter(client) {
			return newConn(nc, func() { l.leave(client) }), nil
		}
		nc.Close()
	}
}

func clientOf(nc net.Conn) netip.Prefix {
	if at, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return Network(at.AddrPort().Addr())
	}
	return netip.Prefix{}
}

func (l *perClient) enter(client netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client] >= l.most {
		return false
	}
	l.open[client]++
	return true
}

func (l *perClient) leave(client netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client]--; l.open[client] == 0 {
		delete(l.open, client)
	}
}

// Conn is a connection that has a place.
type Conn struct {
	net.Conn
	leave func() // at the first call
}

func newConn(nc net.Conn, leave func()) *Conn { return &Conn{nc, sync.OnceFunc(leave)} }

// NetConn returns the connection itself.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Close closes the connection, and gives its place to another.
func (c *Conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
