package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
)

// Inside is a server that only its own process talks to: for what can be done to data
// that no other server has open.
type Inside struct {
	*Client
	server *Server
	pipes  *insidePipes
	served chan error
}

// NewInside returns a server for the records of o.Directory, with a Client of it. The
// actor is the user of the process. Close it.
func NewInside(o Options) *Inside { return newInside(o, (*Server).recordOperations) }

// NewCertificatesInside returns one for o.Certificates.
func NewCertificatesInside(o Options) *Inside { return newInside(o, (*Server).certificateOperations) }

// NewKeysInside returns one for o.Keys.
func NewKeysInside(o Options) *Inside { return newInside(o, (*Server).keyOperations) }

func newInside(o Options, operations func(*Server)) *Inside {
	i := &Inside{server: newServer(o, operations), pipes: newInsidePipes(), served: make(chan error, 1)}
	i.Client = &Client{socket: "this process"}
	i.Client.connectBy(i.pipes.dial)
	go func() { i.served <- i.server.Serve(i.pipes, nil) }()
	return i
}

// Close ends the server.
func (i *Inside) Close() error {
	err := i.server.Shutdown(context.Background())
	return errors.Join(err, <-i.served)
}

// insidePipes are a listener within the process.
type insidePipes struct {
	waiting chan net.Conn
	closing sync.Once
	closed  chan struct{}
}

func newInsidePipes() *insidePipes {
	return &insidePipes{waiting: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *insidePipes) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.waiting <- ownPipe{far}:
		return near, nil
	case <-p.closed:
	case <-ctx.Done():
	}
	return nil, net.ErrClosed
}

// Accept waits for somebody who dials.
func (p *insidePipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.waiting:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *insidePipes) Close() error {
	p.closing.Do(func() { close(p.closed) })
	return nil
}

// Addr returns an address that is none.
func (p *insidePipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "unix" }
func (pipeAddr) String() string  { return "pipe" }

// ownPipe is a connection from this process.
type ownPipe struct{ net.Conn }

// ownName is the name of the user of this process.
func ownName() string {
	uid := strconv.Itoa(os.Geteuid())
	if known, err := user.LookupId(uid); err == nil {
		return known.Username
	}
	return "uid " + uid
}
