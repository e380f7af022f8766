package deliver

import (
	"sync"
	"time"

	"postern/internal/heap"
	"postern/internal/mail"
	"postern/internal/route"
)

// sites keeps what is known of the sites: which destinations lead to them and
// wait there (turns.go), how many transactions they have in hand, how they
// answer (health.go), and their connections (connections.go).
type sites struct {
	mu       sync.Mutex
	limit    int           // connections of a site, and
	idle     time.Duration // how long one is kept for the next message, unless its transport is known
	settings *Settings     // of the connections that may be kept
	byName   map[string]*site
	// siteOf remembers where a destination led last time.
	siteOf map[mail.Destination]*site
	// strangers are destinations of which that is not known. Each is taken for
	// a site of its own until an attempt tells.
	strangers map[mail.Destination]*site
	sweepAt   int // how many of byName or siteOf are too many
	passed    int // of all sites
	blocked   blocked
	// recoveries is how often a site has got a server again, or a credential works again, which works
	// was the last of (passed.go).
	recoveries, works int
	// returning are the sites that are back, and when more comes back to each (passed.go).
	returning map[*site]time.Time
	// hasten makes a delivery due, and returns false when it is not one that waits.
	hasten func(delivery) bool
	turns
	closed bool
	timers sync.WaitGroup
}

// maxKnown bounds how many destinations, and how many sites, are remembered
// beside those for which there is mail. With mail going directly to its domains
// there are ever new ones.
const maxKnown = 20_000

// site is the unit of concurrency.
type site struct {
	name      string      // "" for a stranger
	transport string      // "" while that is not known
	limit     int         // connections
	bears     int         // connections, as its route says; 0: as its transport has it
	slots     slots       // one for each connection in use
	inHand    int         // transactions claimed and not yet settled
	idle      []*idleConn // the last used at the end
	// noChunks says that a server of it refused BDAT although it offers it.
	noChunks bool
	// suspended says that an operator lets its mail wait (hand.go).
	suspended bool
	// passed are deliveries that were deferred without an attempt (passed.go).
	passed []passed
	// recovered is which of the recoveries was its last.
	recovered int
	// logins are the credentials for which some of these wait.
	logins map[string]bool
	// until is how long it is blocked, while it stands at blockedAt among those.
	until     time.Time
	blockedAt int
	// wanting wait for room at targets of it (room.go), the longest first.
	wanting []wanting
	turns   int // of the rate of its transport that were taken and not used
	turn
	health
}

func newSites(limit int, idle time.Duration) *sites {
	return &sites{
		limit:     limit,
		idle:      idle,
		byName:    make(map[string]*site),
		siteOf:    make(map[mail.Destination]*site),
		strangers: make(map[mail.Destination]*site),
		sweepAt:   maxKnown,
		blocked:   newBlocked(),
		returning: make(map[*site]time.Time),
		hasten:    func(delivery) bool { return false },
		turns:     newTurns(),
	}
}

// get returns the site of that name. mu is held.
func (s *sites) get(name string) *site {
	known, ok := s.byName[name]
	if !ok {
		known = &site{name: name, limit: s.limit, recovered: s.recoveries, blockedAt: heap.Absent, turn: newTurn(), health: newHealth(2 * s.limit)}
		s.byName[name] = known
	}
	return known
}

// of returns the site of a destination, as far as it is known. mu is held.
func (s *sites) of(d mail.Destination) *site {
	if known := s.siteOf[d]; known != nil {
		return known
	}
	stranger := s.strangers[d]
	if stranger == nil {
		stranger = &site{limit: s.limit, blockedAt: heap.Absent, turn: newTurn(), health: newHealth(1)}
		s.strangers[d] = stranger
	}
	return stranger
}

// learn notes the site to which a destination leads. It reports whether that is
// news: then there may be room for what waits.
func (s *sites) learn(d mail.Destination, name string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note(d, name)
}

// learnUnder does so with a way that was found under some settings. Under others it may
// be another by now, which the next attempt finds out.
func (s *sites) learnUnder(settings *Settings, d mail.Destination, r route.Route) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if settings != s.settings {
		return false
	}
	news = s.note(d, r.Site)
	if x := s.siteOf[d]; x.transport != r.Name || x.bears != r.Connections {
		x.transport, x.bears = r.Name, r.Connections
		s.fit(x)
	}
	return news
}

// fit gives a site the limits of its transport. mu is held.
func (s *sites) fit(x *site) {
	of := &Transport{MaxConnections: s.limit}
	if s.settings != nil {
		of = s.settings.transport(x.transport)
	}
	x.limit = of.connections(x.bears)
	x.bound(2 * x.limit)
	s.grant(x)
	s.fix(x)
}

// note is learn; mu is held.
func (s *sites) note(d mail.Destination, name string) (news bool) {
	if max(len(s.siteOf), len(s.byName)) >= s.sweepAt {
		s.sweep()
	}
	to := s.get(name)
	news = s.siteOf[d] != to
	s.siteOf[d] = to
	s.transfer(d, to)
	return news
}

// part forgets a stranger that is not in use. mu is held.
func (s *sites) part(d mail.Destination, x *site) {
	if x.inHand == 0 && x.waits() == 0 && s.strangers[d] == x {
		delete(s.strangers, d)
	}
}

// sweep forgets where destinations lead for which nothing waits, which the next
// attempt of each finds out again, and the sites that are not in use and of which
// there is nothing to remember. What is left is not looked at again until there
// is twice as much. mu is held.
func (s *sites) sweep() {
	for d := range s.siteOf {
		if s.waiters[d] == nil {
			delete(s.siteOf, d)
		}
	}
	for name, site := range s.byName {
		if site.inHand == 0 && site.slots.used == 0 && len(site.idle) == 0 && site.waits() == 0 && !site.suspended && !site.isBlocked() && !s.recent(site) {
			s.passed -= len(site.passed)
			delete(s.byName, name)
			delete(s.returning, site)
		}
	}
	s.sweepAt = max(maxKnown, 2*len(s.siteOf), 2*len(s.byName))
}

// recent reports whether a site went down not long ago: one for which there was
// no mail when it could have been tried again may be forgotten. mu is held.
func (s *sites) recent(x *site) bool { return x.down() && time.Since(x.failedAt) < 2*lastPause }

// shift moves what is planned with a clock that was stepped.
func (s *sites) shift(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, site := range s.byName {
		site.retryAt, site.downSince = site.retryAt.Add(by), site.downSince.Add(by)
		site.until = site.until.Add(by)
	}
	for site, at := range s.returning {
		s.returning[site] = at.Add(by)
	}
}

// place is where a transaction in hand is counted: at its site, or, while
// that is not known, at the stranger that its destination is.
type place struct {
	sites       *sites
	destination mail.Destination
	site        *site
	band        band
	entered     time.Time
	charged     time.Duration // to the site, for the time that it takes
	// probing says that it is to find out whether a site that was down can be
	// reached; untried, that the site was left alone, so that the time it took
	// tells nothing of it.
	probing, untried bool
	// heard and failures are those of the site when a connection was looked for.
	heard, failures int
	// other says that it counts among those of sites that were not quick.
	other bool
}

// enter counts a transaction of a class in hand, until its place is left.
func (s *sites) enter(d mail.Destination, c mail.Class) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &place{sites: s, destination: d, site: s.of(d), band: bandOf(c), entered: time.Now()}
	p.in()
	return p
}

// move counts a transaction at the site to which it turned out to lead. It
// returns false when that site has no room: many destinations that nobody
// knew may lead to one site, and must not wait for it in the slots of others.
func (p *place) move(name string) bool {
	s := p.sites
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.get(name)
	if to == p.site {
		return true
	}
	if to.room() <= 0 {
		return false
	}
	s.settle(p.site, p.band, -p.charged) // it was for the other
	p.out()
	p.site = to
	p.in()
	return true
}

// skip notes that nothing was tried at the site.
func (p *place) skip() {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	p.untried = true
}

// leave counts the transaction out.
func (p *place) leave() {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	took := time.Since(p.entered)
	if !p.untried {
		p.site.measure(took)
	}
	p.sites.settle(p.site, p.band, took-p.charged)
	p.out()
}

// in takes the transaction into the count. mu is held.
func (p *place) in() {
	p.site.inHand++
	if p.other = p.site.pace() != quickSites; p.other {
		p.sites.others++
	}
	p.charged = p.sites.charge(p.site, p.band)
	p.sites.fix(p.site)
}

// out takes the transaction out of the count. mu is held.
func (p *place) out() {
	s := p.sites
	if p.probing {
		p.site.probing, p.probing = false, false
	}
	if p.other {
		s.others--
	}
	p.site.inHand--
	s.part(p.destination, p.site)
	s.fix(p.site)
}

// room is how many transactions more a site may have in hand.
func (x *site) room() int {
	if x.suspended || x.isBlocked() {
		return 0
	}
	return int(x.window) - x.inHand
}
