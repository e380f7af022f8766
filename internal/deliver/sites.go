package deliver

import (
	"context"
	"slices"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// sites keeps what is known of the sites: which destinations lead to them,
// how many transactions they have in hand, and their connections.
type sites struct {
	limit int           // connections of a site
	idle  time.Duration // how long one is kept for the next message

	mu     sync.Mutex
	byName map[string]*site
	// siteOf remembers where a destination led last time, so that the
	// scheduler claims no more than its site has room for.
	siteOf map[mail.Destination]*site
	// inHand counts transactions of destinations whose site is not yet known.
	inHand map[mail.Destination]int
	closed bool
	timers sync.WaitGroup
}

// maxKnown bounds how many destinations, and how many sites, are remembered.
// With mail going directly to its domains there are ever new ones.
const maxKnown = 20_000

// site is the unit of concurrency.
type site struct {
	slots  chan struct{} // one for each connection in use
	inHand int           // transactions claimed and not yet settled
	idle   []*idleConn   // the last used at the end
	// noChunks says that a server of it refused BDAT although it offers it.
	noChunks bool
}

type idleConn struct {
	conn  *smtpclient.Conn
	lane  route.Lane
	timer *time.Timer
}

func newSites(limit int, idle time.Duration) *sites {
	return &sites{
		limit:  limit,
		idle:   idle,
		byName: make(map[string]*site),
		siteOf: make(map[mail.Destination]*site),
		inHand: make(map[mail.Destination]int),
	}
}

// get returns the site of that name. mu is held.
func (s *sites) get(name string) *site {
	known, ok := s.byName[name]
	if !ok {
		known = &site{slots: make(chan struct{}, s.limit)}
		s.byName[name] = known
	}
	return known
}

// learn notes the site to which a destination leads.
func (s *sites) learn(d mail.Destination, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.siteOf) >= maxKnown || len(s.byName) >= maxKnown {
		s.sweep()
	}
	s.siteOf[d] = s.get(name)
}

// sweep forgets which destinations lead where, which the next attempt of each
// finds out again, and the sites that are not in use. mu is held.
func (s *sites) sweep() {
	clear(s.siteOf)
	for name, site := range s.byName {
		if site.inHand == 0 && len(site.slots) == 0 && len(site.idle) == 0 {
			delete(s.byName, name)
		}
	}
}

// room returns how many transactions of a destination may be claimed now.
// A site may have twice as many in hand as it has connections, so that one
// is sent while another is settled. A destination that was never routed
// gets one, which will tell.
func (s *sites) room(d mail.Destination) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if site, known := s.siteOf[d]; known {
		return 2*s.limit - site.inHand
	}
	return 1 - s.inHand[d]
}

// place is where a transaction in hand is counted: at its site, or, while
// that is not known, at its destination.
type place struct {
	sites       *sites
	destination mail.Destination
	site        *site
}

// enter counts a transaction in hand, until its place is left.
func (s *sites) enter(d mail.Destination) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &place{sites: s, destination: d, site: s.siteOf[d]}
	if p.site != nil {
		p.site.inHand++
	} else {
		s.inHand[d]++
	}
	return p
}

// move counts a transaction at the site to which it turned out to lead. It
// returns false when that site has no room: many destinations that nobody
// knew may lead to one site, and must not wait for it in the slots of others.
func (p *place) move(name string) bool {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	to := p.sites.get(name)
	if to == p.site {
		return true
	}
	if to.inHand >= 2*p.sites.limit {
		return false
	}
	p.out()
	p.site = to
	to.inHand++
	return true
}

// leave counts the transaction out.
func (p *place) leave() {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	p.out()
}

// out takes the transaction out of the count. mu is held.
func (p *place) out() {
	s := p.sites
	if p.site != nil {
		p.site.inHand--
	} else if s.inHand[p.destination]--; s.inHand[p.destination] == 0 {
		delete(s.inHand, p.destination)
	}
}

// acquire waits for the right to use one connection of a site, and returns the
// last used of those that are idle and fit, if there is one. Release must
// follow.
func (s *sites) acquire(ctx context.Context, name string, fits func(*idleConn) bool) (*site, *idleConn, error) {
	s.mu.Lock()
	site := s.get(name)
	s.mu.Unlock()
	select {
	case site.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	s.mu.Lock()
	candidates := slices.Clone(site.idle)
	s.mu.Unlock()
	// Whether one fits may take a look at the whole content, so that nobody
	// else must wait for the answer.
	for _, kept := range slices.Backward(candidates) {
		if fits(kept) && s.take(site, kept) {
			return site, kept, nil
		}
	}
	s.makeRoom(site)
	return site, nil, nil
}

// makeRoom closes idle connections, the oldest first, so that a new one does
// not make more of them than the site may have.
func (s *sites) makeRoom(site *site) {
	for {
		s.mu.Lock()
		var oldest *idleConn
		if len(site.idle) > 0 && len(site.idle)+len(site.slots) > s.limit {
			oldest = site.idle[0]
		}
		s.mu.Unlock()
		if oldest == nil {
			return
		}
		if s.take(site, oldest) {
			oldest.conn.Close()
		}
	}
}

// take takes a connection out of the idle ones, for use. It returns false when
// another was quicker, or it is being closed.
func (s *sites) take(site *site, kept *idleConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(site.idle, kept)
	if at < 0 {
		return false
	}
	site.idle = slices.Delete(site.idle, at, at+1)
	if !kept.timer.Stop() {
		return false
	}
	s.timers.Done()
	return true
}

// avoidChunks notes that mail for a site goes without BDAT from now on.
func (s *sites) avoidChunks(site *site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	site.noChunks = true
}

func (s *sites) avoidsChunks(site *site) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return site.noChunks
}

// release gives the right back, and keeps the connection for the next
// message while it is usable. conn may be nil.
func (s *sites) release(site *site, conn *smtpclient.Conn, lane route.Lane) {
	if conn != nil && !s.keep(site, conn, lane) {
		conn.Close()
	}
	<-site.slots
}

func (s *sites) keep(site *site, conn *smtpclient.Conn, lane route.Lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !conn.Usable() {
		return false
	}
	kept := &idleConn{conn: conn, lane: lane}
	s.timers.Add(1)
	kept.timer = time.AfterFunc(s.idle, func() {
		defer s.timers.Done()
		s.forget(site, kept)
		conn.Close()
	})
	site.idle = append(site.idle, kept)
	return true
}

// forget takes a connection out of the idle ones of its site.
func (s *sites) forget(site *site, gone *idleConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	site.idle = slices.DeleteFunc(site.idle, func(c *idleConn) bool { return c == gone })
}

// close closes all idle connections and waits until they are. No transaction
// may be running.
func (s *sites) close() {
	s.mu.Lock()
	s.closed = true
	var open []*smtpclient.Conn
	for _, site := range s.byName {
		for _, c := range site.idle {
			if c.timer.Stop() {
				s.timers.Done()
				open = append(open, c.conn)
			}
		}
		site.idle = nil
	}
	s.mu.Unlock()
	var closing sync.WaitGroup
	for _, conn := range open {
		closing.Go(func() { conn.Close() })
	}
	closing.Wait()
	s.timers.Wait()
}
