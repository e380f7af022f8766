package smtpserver

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// Server serves the clients of one or more listeners with one set of options
// and limits. The options can be replaced while it runs: see Change.
type Server struct {
	readers sync.Pool // of *bufio.Reader, as big as readBuffer

	serving  sync.WaitGroup // calls of Serve
	stopping chan struct{}  // closed when Shutdown begins

	mu        sync.Mutex
	current   *edition // what sessions begin with
	closed    bool     // no more clients are taken: Release, or Shutdown
	stopped   bool     // stopping is closed
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	perClient map[clientKey]int
	admitted  int
}

// New returns a server that asks h.
func New(o Options, h Handler) *Server {
	return &Server{
		current:   &edition{options: o.withDefaults(), handler: h},
		readers:   sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }},
		stopping:  make(chan struct{}),
		listeners: make(map[net.Listener]bool),
		conns:     make(map[*conn]bool),
		perClient: make(map[clientKey]int),
	}
}

// Serve accepts clients from l, and returns when all its sessions have ended.
// It closes l. The context is that of the sessions: when it ends they are cut
// off; Shutdown is the gentle way.
//
// It returns nil after Shutdown, after Release and after the end of ctx, and an
// error when somebody else has closed l. Other errors of l are logged and waited out.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if !s.addListener(l) {
		return nil
	}
	defer s.removeListener(l)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()

	var sessions sync.WaitGroup
	err := s.accept(ctx, l, func(nc net.Conn) {
		o := s.Options()
		if !o.Sockets.take() {
			turnAway(nc, &o)
			return
		}
		sessions.Go(func() {
			defer o.Sockets.give()
			s.serve(ctx, nc)
		})
	})
	if err != nil {
		cancel()
	}
	sessions.Wait()
	return err
}

// Shutdown stops accepting clients and ends the sessions: one that waits for
// a command outside a transaction gets 421 4.3.2, any other may finish its
// transaction first. When ctx ends, those left are cut off. It returns when
// all sessions have ended: nil, or the error of ctx if it had to cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.beginStop()
	done := make(chan struct{})
	go func() { s.serving.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.cancel()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

// Connections returns how many clients are connected.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) beginStop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	close(s.stopping)
	s.closeListeners()
	for c := range s.conns {
		c.stop()
	}
}

// closeListeners takes no more clients. mu is held.
func (s *Server) closeListeners() {
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = true
	s.serving.Add(1)
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.serving.Done()
}

// The wait after a failed Accept doubles from the first of these to the last.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

// accept calls serve for each client until l is closed.
func (s *Server) accept(ctx context.Context, l net.Listener, serve func(net.Conn)) error {
	wait := minAcceptWait
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = minAcceptWait
			serve(nc)
		case s.isClosed() || ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of file descriptors, or the client has gone already
			o := s.Options()
			o.Logger.Error("cannot accept a connection", "listener", o.Listener, "error", err)
			select {
			case <-time.After(wait):
			case <-s.stopping:
			case <-ctx.Done():
			}
			wait = min(2*wait, maxAcceptWait)
		}
	}
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// isClosed reports whether no more clients are taken.
func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// serve serves one client, from its first octet to its last.
func (s *Server) serve(ctx context.Context, nc net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer nc.Close()
	// A session that is cut off may be waiting for its client.
	defer context.AfterFunc(ctx, func() { nc.Close() })()

	br := s.readers.Get().(*bufio.Reader)
	defer func() { br.Reset(nil); s.readers.Put(br) }()
	c := newConn(nc, br, cancel)
	s.join(c)
	defer s.leave(c)
	o := &c.edition.options
	defer o.Metrics.connected()()
	session := newSession(s, c, newOrigin(nc, o))
	session.run(ctx, s.admit)
	s.release(c, &session.origin)
	if s.mayLinger(o) {
		c.linger()
	}
	c.close()
}

// newOrigin says what is known of a client that has just connected.
func newOrigin(nc net.Conn, o *Options) mail.Origin {
	return mail.Origin{
		Listener: o.Listener,
		Session:  o.IDs.New(o.Clock.Now()),
		Client:   addrPort(nc.RemoteAddr()),
		Local:    addrPort(nc.LocalAddr()),
		User:     o.User(nc),
		Protocol: smtp.ProtocolSMTP,
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
