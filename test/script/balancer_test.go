package script

import (
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"
)

// balancer starts what has a virtual address: it gives each connection to the next of several
// servers.
func balancer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: balancer NAME ADDRESS...")
	}
	l, err := net.Listen("tcp", loopback(false))
	ts.Check(err)
	setAddress(ts, args[0], l.Addr().String())
	b := &balanced{servers: args[1:]}
	b.running.Go(func() { b.accept(l) })
	ts.Defer(func() {
		l.Close()
		b.running.Wait()
	})
}

// balanced are the servers behind a virtual address.
type balanced struct {
	servers []string
	given   atomic.Uint64 // connections
	running sync.WaitGroup
}

func (b *balanced) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return // closed
		}
		server := b.servers[(b.given.Add(1)-1)%uint64(len(b.servers))]
		b.running.Go(func() {
			defer client.Close()
			join(client, server)
		})
	}
}

// join passes what is said between a client and a server on, until one of them has gone.
func join(client net.Conn, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	var answering sync.WaitGroup
	answering.Go(func() {
		_, _ = io.Copy(client, server) // the end of either is seen by both
		client.Close()
	})
	_, _ = io.Copy(server, client)
	server.Close()
	answering.Wait()
}
