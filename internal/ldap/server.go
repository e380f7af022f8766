package ldap

import (
	"context"
	"errors"
	"sync"
	"time"

	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/limit"
	"postern/internal/mail"
)

// maxIdle is how long a connection is kept that nobody uses. Active Directory closes
// them after 15 minutes, firewalls often sooner.
const maxIdle = time.Minute

// server is one server of a directory, with its connections. Those on which passwords
// are tried are others than those for searches: a bind makes a connection another
// user's.
type server struct {
	name      string
	breaker   *limit.Breaker // shared with the server that this one follows
	searchers *pool
	binders   *pool
}

func newServer(h mail.HostPort, d dialing) *server {
	b := &limit.Breaker{First: firstPause, Longest: longPause}
	return &server{name: h.String(), breaker: b, searchers: newPool(d.most, d.searching), binders: newPool(d.most, d.dial)}
}

func (s *server) close() {
	s.searchers.close()
	s.binders.close()
}

// pool is the connections of a kind to a server.
type pool struct {
	dial func(context.Context) (*conn, error)
	free chan struct{} // has one for each connection that there may be and is not in use

	mu     sync.Mutex
	idle   []*conn // the latest used last
	reaper *time.Timer
	closed bool
}

func newPool(most int, dial func(context.Context) (*conn, error)) *pool {
	p := &pool{dial: dial, free: make(chan struct{}, most)}
	for range most {
		p.free <- struct{}{}
	}
	return p
}

// use runs an operation on a connection: on one that is there, or on a new one when
// that turns out to be broken. Operations can be repeated without harm.
func (p *pool) use(ctx context.Context, timeout time.Duration, operate func(*ldap3.Conn) error) error {
	select {
	case <-p.free:
	case <-ctx.Done():
		return errBusy
	}
	defer func() { p.free <- struct{}{} }()
	if c := p.take(); c != nil {
		err := p.run(ctx, timeout, c, operate)
		if err == nil || isAnswer(err) || errors.Is(err, errSlow) || errors.Is(err, errTooLarge) || ctx.Err() != nil {
			return err
		}
		p.drop() // what broke this one has broken the others
	}
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	return p.run(ctx, timeout, c, operate)
}

// run runs an operation on a connection, and keeps the connection if it is still good.
func (p *pool) run(ctx context.Context, timeout time.Duration, c *conn, operate func(*ldap3.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := c.do(ctx, operate)
	if err == nil || isAnswer(err) {
		p.keep(c)
	} else {
		c.close()
	}
	return err
}

// take returns the connection that was used last, nil if there is none.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if !c.IsClosing() && time.Since(c.used) < maxIdle {
			return c
		}
		c.close()
	}
	return nil
}

func (p *pool) keep(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.IsClosing() {
		c.close()
		return
	}
	c.used = time.Now()
	p.idle = append(p.idle, c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(maxIdle, p.reap)
	}
}

// reap closes what was not used for long, and comes again while there is more.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaper = nil
	for len(p.idle) > 0 && time.Since(p.idle[0].used) >= maxIdle {
		p.idle[0].close()
		p.idle = p.idle[1:]
	}
	if len(p.idle) > 0 && !p.closed {
		p.reaper = time.AfterFunc(maxIdle, p.reap)
	}
}

// drop closes the connections that nobody uses.
func (p *pool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
}

// close closes what is there, and what is given back later.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.reaper != nil {
		p.reaper.Stop()
	}
	p.mu.Unlock()
	p.drop()
}
