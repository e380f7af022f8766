// Package pool sends mail to target servers: a few servers that do the same, of which
// any may take a message. It knows how each of them stands, gives a message to those
// that can take it, and finds out when one is back.
//
// A Set has all pools, and lives as long as the process: its state outlasts every
// change of settings. A target of the configuration (Target) is resolved to servers, one
// for each address. A server is unknown until it was heard, then active, or not usable
// with the reason; what it offers is learned from what it says to EHLO. One that is not
// usable is asked from time to time (a probe); when it answers, one transaction goes to
// it, and when that went well, all may.
//
// A Pool is a route.Transport, and what it puts into a hop is a route.Target: whoever
// connects tells by that what came of it. The package opens no connection itself, the
// probe is the caller's. Nothing of it is stored: after a start all servers are unknown.
package pool

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// Options are what a Set needs for good. None is required.
type Options struct {
	// Recovered is told of a site whose mail may go again, or may go by a server more.
	Recovered func(site string)
	// Record takes facts. It must not block, nor call the Set.
	Record  func(mail.Fact)
	Clock   mail.Clock
	Logger  *slog.Logger
	Metrics *Metrics
}

// Around is what pools have of the configuration beside their own settings. Resolver is
// required.
type Around struct {
	Resolver dns.Resolver
	// Self reports whether an address is this server's own, where no mail is sent. Nil:
	// none is.
	Self func(netip.AddrPort) bool
	// Probe connects to a server, says EHLO, starts TLS as the lane demands, and leaves.
	// It returns what the server offered, and an error when it is not to be used. Nil:
	// nothing is probed.
	Probe func(ctx context.Context, to route.Lane, at netip.AddrPort) (route.Capabilities, error)
	// Demand puts into a lane what is demanded of TLS beyond its transport for the domain of a recipient. It
	// must not block, nor call the Set. Nil: nothing is.
	Demand func(l *route.Lane, q route.Question)
}

// Set is all pools of a server. It is safe for use by several goroutines.
type Set struct {
	Options
	mu     sync.Mutex
	around Around
	pools  map[string]*Pool
	// recovered are the sites of which is to be told when mu is free.
	recovered []string
	// retired are the editions that are over, and in which something may still run.
	retired []*edition
	wake    chan struct{}
	jobs    sync.WaitGroup
	probing int // probes under way
}

// New returns a Set without pools. Change gives it some, and Run tends them.
func New(o Options) *Set {
	if o.Recovered == nil {
		o.Recovered = func(string) {}
	}
	if o.Record == nil {
		o.Record = func(mail.Fact) {}
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Set{Options: o, pools: make(map[string]*Pool), wake: make(chan struct{}, 1)}
}

// Pool is the servers of one transport.
type Pool struct {
	set *Set
	// looking is held by whoever resolves the names, so that one does it for all.
	looking chan struct{}

	// What follows is guarded by the set's mu.
	settings  Settings
	servers   []*server // in the order of the configuration
	resolved  bool      // at least once
	resolveAt time.Time // the next time
	// unknown are the targets for whose names, or some of them, there was no answer yet.
	unknown  []string
	warnings []string
}

// Change puts settings in force: those of every pool, and what is around them. A pool
// that is not among them ends. A server that is still one, and of which nothing has
// changed that matters to its connections, keeps them, its state and its counts; any
// other begins anew, and what runs there may go on for the time of Settings.Drain.
func (s *Set) Change(around Around, pools []Settings) {
	s.do(func() {
		s.around = around
		gone := maps.Clone(s.pools)
		for _, settings := range pools {
			delete(gone, settings.Name)
			p := s.pools[settings.Name]
			if p == nil {
				p = &Pool{set: s, looking: make(chan struct{}, 1)}
				s.pools[settings.Name] = p
			}
			p.change(settings)
		}
		for name, p := range gone {
			for _, v := range p.servers {
				v.retire("the pool is no longer configured")
			}
			delete(s.pools, name)
		}
	})
	s.hurry()
}

// Transport returns the pool of a name as a transport: that which has the name when mail
// goes, so that it may be asked for before the settings are in force.
func (s *Set) Transport(name string) route.Transport { return reference{s, name} }

// reference is a pool by its name.
type reference struct {
	set  *Set
	name string
}

// errGone is the failure that there is no pool any more, or not yet.
var errGone = mail.Refuse(451, "4.3.5", "The pool of the next servers is not configured")

// Route does as that of the Pool does; 451 4.3.5 when there is none.
func (r reference) Route(ctx context.Context, q route.Question) (route.Route, error) {
	p := r.set.pool(r.name)
	if p == nil {
		return route.Route{}, errGone
	}
	return p.Route(ctx, q)
}

// pool returns the pool of that name, nil when there is none.
func (s *Set) pool(name string) *Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools[name]
}

// change puts settings in force. Names are looked up when they are not those of before,
// and until then the servers of targets that still are stay. mu is held.
func (p *Pool) change(to Settings) {
	before := p.settings
	p.settings = to
	for i := range to.Targets {
		to.Targets[i].place = i
	}
	if !slices.EqualFunc(before.Targets, to.Targets, Target.sameServers) {
		p.resolveAt = time.Time{}
		p.resolved = false
	}
	if !p.resolved { // what is there is of other targets; it is sorted out with the names
		return
	}
	for _, v := range p.servers {
		v.adjust(&p.settings.Targets[v.target.place], to.Lane.TLS)
	}
	if until := time.Now().Add(to.Refresh); p.resolveAt.After(until) {
		p.resolveAt = until
	}
}

// do runs what needs mu, and tells then of what has come of it.
func (s *Set) do(f func()) {
	s.mu.Lock()
	f()
	recovered := s.recovered
	s.recovered = nil
	s.mu.Unlock()
	for _, site := range recovered {
		s.Recovered(site)
	}
}

// hurry has Run look again at what there is to do.
func (s *Set) hurry() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// all returns the pools in the order of their names. mu is held.
func (s *Set) all() []*Pool {
	var list []*Pool
	for _, name := range slices.Sorted(maps.Keys(s.pools)) {
		list = append(list, s.pools[name])
	}
	return list
}

// site is the unit of concurrency and of mail that waits. It is the same whatever the
// targets are, so that a reload which changes them leaves nothing waiting elsewhere.
func (p *Pool) site() string { return p.settings.Name + ":pool" }

// demands reports whether nothing goes in clear at a level.
func demands(l tlspolicy.Level) bool {
	return l != "" && tlspolicy.Policy{Level: l}.Demanded()
}
