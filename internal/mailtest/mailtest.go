// Package mailtest has what tests of mail software need: a scripted server
// (Peer), a server that takes everything and remembers it (Sink), a client
// that says what it is told (Client), a collector of facts (Facts), throw-away
// certificates and generated messages.
//
// It is imported by tests only. All of it listens on the loopback interface
// alone, ends with the test it was made for, and reports through that test.
// It reads the wire with code of its own where it can, so that a mistake in
// the project's reader does not hide the same mistake in its writer.
package mailtest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// server is a listener and its connections.
type server struct {
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool // nil when the server is closed
	group    sync.WaitGroup
}

// serve starts a server that runs handle for each connection, and ends it
// with the test.
func serve(t testing.TB, handle func(ctx context.Context, nc net.Conn)) *server {
	t.Helper()
	return serveAt(t, "tcp", "127.0.0.1:0", handle)
}

// serveAt does so at an address of a network, such as a Unix socket.
func serveAt(t testing.TB, network, address string, handle func(ctx context.Context, nc net.Conn)) *server {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{listener: listener, open: map[net.Conn]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	s.group.Go(func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return // the listener is closed
			}
			s.group.Go(func() { s.run(ctx, nc, handle) })
		}
	})
	t.Cleanup(func() {
		cancel()
		s.close()
	})
	return s
}

func (s *server) run(ctx context.Context, nc net.Conn, handle func(ctx context.Context, nc net.Conn)) {
	defer nc.Close()
	s.mu.Lock()
	closed := s.open == nil
	if !closed {
		s.open[nc] = true
	}
	s.mu.Unlock()
	if closed {
		return
	}
	handle(ctx, nc)
	s.mu.Lock()
	delete(s.open, nc)
	s.mu.Unlock()
}

// close ends the listener and all connections, and waits for them.
func (s *server) close() {
	s.listener.Close()
	s.mu.Lock()
	for nc := range s.open {
		nc.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.group.Wait()
}

// Addr returns the address at which the server listens.
func (s *server) Addr() netip.AddrPort { return s.listener.Addr().(*net.TCPAddr).AddrPort() }
