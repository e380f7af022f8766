// Package pressure watches what a mail server runs short of: room on its
// disks, memory, a journal that can be written, and a disk that is quick
// enough. It says so before the shortage does harm: whether a message may
// come, and how many clients are to be served.
//
// A Gauge looks about once a second, and what it says is that old. It decides
// nothing about mail and holds nothing back; the store's own refusal of a full
// disk stays the last defence. Each kind of pressure has a value at which it
// begins and an easier one at which it ends, so that it does not flap, and
// each beginning and each end is one line of the log and one fact.
//
// It fails open: of what cannot be measured it keeps the last opinion, and at
// first that is that there is enough.
package pressure

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mail"
)

// Options are what a Gauge watches. What is zero or nil is not watched.
type Options struct {
	// Directories are those whose file systems must have room.
	Directories []Directory
	// Limits are those to begin with; Change replaces them.
	Limits Limits
	// Memory is the store's own account of what it has in memory, in octets.
	// It tells what has changed since the last garbage collection.
	Memory func() int64

	// Journal says why the journal cannot be written at present, and Store why
	// the store should not be given more.
	Journal func() error
	Store   func() error

	// Latency is how long the disk makes an acceptance wait at present.
	Latency func() time.Duration

	// Record takes a fact for each beginning and each end. It must not block.
	Record func(mail.Fact)
	Clock  mail.Clock
	Logger *slog.Logger
}

// Limits say what is too little. What is zero is not watched.
type Limits struct {
	// MinFreeSpace is how many octets must be free on each file system, and
	// MinFreeInodes how many inodes. One that counts no inodes has enough.
	MinFreeSpace  int64
	MinFreeInodes int64
	// MaxMemory is the budget in octets; three quarters of it may be in use.
	MaxMemory int64
	// SlowCommit is how long an acceptance may wait for the disk.
	SlowCommit time.Duration
}

func (o Options) withDefaults() Options {
	if o.Memory == nil {
		o.Memory = func() int64 { return 0 }
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
	return o
}

// Directory is a directory whose file system is watched.
type Directory struct {
	Path string
	// Contents says that messages are written here, so that the size of the
	// next one counts.
	Contents bool
}

// Kind says what is short.
type Kind string

// The kinds of pressure. Under all but Slow no message may come.
const (
	Disk    Kind = "disk"
	Inodes  Kind = "inodes"
	Memory  Kind = "memory"
	Journal Kind = "journal"
	Store   Kind = "store"
	Slow    Kind = "slow"
)

// Kinds are all kinds of pressure.
var Kinds = []Kind{Disk, Inodes, Memory, Journal, Store, Slow}

// Pressure is one kind of pressure that is on.
type Pressure struct {
	Kind  Kind
	Since time.Time
	// Text has the figures, as they were at the last look.
	Text string
}

// Gauge says what is short at present. It is safe for use by several
// goroutines. Make it with New.
type Gauge struct {
	mu       sync.Mutex // held while it looks
	options  Options
	volumes  *volumes
	throttle *throttle
	meters   []*meter
	state    atomic.Pointer[state]
}

// state is what one look found. It is never changed.
type state struct {
	short    error // why no message may come at all
	room     int64 // octets that one message may have
	halvings int
	on       []Pressure
}

// New returns a Gauge that has looked once. Run lets it go on.
func New(o Options) *Gauge { return newGauge(o, system()) }

func newGauge(o Options, s sources) *Gauge {
	g := &Gauge{options: o.withDefaults()}
	o = g.options
	limits := &g.options.Limits
	g.volumes = &volumes{options: &g.options, usage: s.usage}
	g.throttle = &throttle{latency: o.Latency, limits: limits}
	inUse := &memory{limits: limits, live: s.live, account: o.Memory, collect: s.collect}
	g.meters = []*meter{
		{kind: Disk, watched: func() bool { return limits.MinFreeSpace > 0 }, read: g.volumes.space},
		{kind: Inodes, watched: func() bool { return limits.MinFreeInodes > 0 }, read: g.volumes.inodes},
		{kind: Memory, watched: func() bool { return limits.MaxMemory > 0 }, read: inUse.read},
		{kind: Journal, watched: func() bool { return o.Journal != nil }, read: func() reading { return judgedBy(o.Journal(), "the journal can be written") }},
		{kind: Store, watched: func() bool { return o.Store != nil }, read: func() reading { return judgedBy(o.Store(), "the store can tidy up") }},
		{kind: Slow, watched: func() bool { return o.Latency != nil && limits.SlowCommit > 0 }, read: g.throttle.read},
	}
	g.look()
	return g
}

// Change replaces the limits. They hold from the next look on.
func (g *Gauge) Change(to Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.options.Limits = to
}

// every is the time between two looks.
const every = time.Second

// Run looks once a second until ctx ends.
func (g *Gauge) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.look()
		}
	}
}

// Refuse returns why no message of that size may come at present, or nil. The
// size is in octets, 0 if it is not known; the error is for the log alone.
func (g *Gauge) Refuse(size int64) error {
	s := g.state.Load()
	if s.short != nil {
		return s.short
	}
	if size > s.room {
		return fmt.Errorf("%s: room for a message of at most %s, and this one has %s", Disk, octets(s.room), octets(size))
	}
	return nil
}

// Connections returns how many of at most so many clients are to be served at
// present: fewer than most while the disk is slow.
func (g *Gauge) Connections(most int) int { return allowed(most, g.state.Load().halvings) }

// Pressures returns what is on, in the order of the kinds.
func (g *Gauge) Pressures() []Pressure { return g.state.Load().on }

// look measures everything, and tells of what has begun or ended.
func (g *Gauge) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.volumes.measure()
	now := g.options.Clock.Now()
	next := &state{room: math.MaxInt64}
	for _, m := range g.meters {
		g.judge(m, m.look(), now)
		if m.since.IsZero() {
			continue
		}
		next.on = append(next.on, Pressure{Kind: m.kind, Since: m.since, Text: m.text})
		if next.short == nil && m.kind != Slow {
			next.short = fmt.Errorf("%s: %s", m.kind, m.text)
		}
	}
	if g.options.Limits.MinFreeSpace > 0 {
		next.room = g.volumes.room()
	}
	next.halvings = g.throttle.now()
	g.state.Store(next)
}

// judge begins or ends a kind of pressure.
func (g *Gauge) judge(m *meter, r reading, now time.Time) {
	if r.verdict != unknown {
		m.text = r.text
	}
	switch {
	case r.verdict == short && m.since.IsZero():
		m.since = now
		g.options.Logger.Warn("pressure begins: "+m.effect(), "kind", string(m.kind), "cause", r.text)
		g.record(mail.ReasonPressed, m, now)
	case r.verdict == ample && !m.since.IsZero():
		g.options.Logger.Info("pressure ends", "kind", string(m.kind), "lasted", now.Sub(m.since).Round(time.Second), "now", r.text)
		g.record(mail.ReasonEased, m, now)
		m.since = time.Time{}
	}
}

func (g *Gauge) record(r mail.Reason, m *meter, now time.Time) {
	g.options.Record(mail.Fact{Time: now, Reason: r, Text: fmt.Sprintf("%s: %s", m.kind, m.text)})
}
