// Package senders keeps an inventory of who sends mail by this host: for each source when it
// was seen first and last, how much it has sent, as which domains, and how it speaks; so that
// an administrator finds the owner of a host that nobody knows, and sees what stops to work
// when an old way to connect is closed.
//
// A source is the account of whoever sent; without one the certificate that the client has
// shown; without one its address. A user of this host, who has none of them, is one too.
//
// What comes is counted in memory, and written behind to the directory: every WriteEvery, and
// by Close. A process that is killed loses what was counted since. Memory is bounded: there
// are at most MaxSources, and for another one the source that was not seen for the longest
// time is forgotten. A source of which an operator has said something is not forgotten for
// another, and there are at most MaxAssigned of these.
package senders

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"postern/internal/directory"
	"postern/internal/intake"
	"postern/internal/mail"
)

// Bounds of what is kept.
const (
	// MaxSources is how many sources there are at most.
	MaxSources = 20_000
	// MaxAssigned is of how many of them an operator can have said something.
	MaxAssigned = 10_000
	// MaxFrom is how many domains are kept of each source, in MaxFromOctets in all.
	MaxFrom       = 20
	MaxFromOctets = 1000
	// MaxText bounds each text that a client has said, in octets.
	MaxText = 255
	// Keep is for how long a source is kept that is not seen any more, unless an operator
	// has said something of it: more than a year, for what runs once a year.
	Keep = 400 * 24 * time.Hour
	// WriteEvery is how often what has changed is written, at most maxWrite sources in a
	// transaction, and one transaction a second.
	WriteEvery = 10 * time.Second
	maxWrite   = 5000
)

// Options are what an Inventory needs. Directory is required.
type Options struct {
	Directory *directory.Directory
	Clock     mail.Clock
	Logger    *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
	// MaxSources and MaxAssigned are for tests; 0 means those of the package.
	MaxSources, MaxAssigned int
}

// Inventory is what is known of the sources. It is safe for use by several goroutines.
type Inventory struct {
	Options
	end  context.CancelFunc
	done chan struct{} // closed when nothing is written any more
	err  error         // of the last write; read when done is closed

	// writing is held while the directory is written, and before mu.
	writing sync.Mutex

	mu      sync.Mutex
	sources map[key]*source
	// recent are those that may be forgotten for another: the one behind it was seen last.
	// It is a ring.
	recent   source
	assigned int
	changed  []*source           // to be written
	gone     map[string]struct{} // to be removed from the directory
}

var _ intake.Senders = (*Inventory)(nil)

// source is what is known of one.
type source struct {
	key         key
	first, last time.Time
	messages    int64
	recipients  int64
	octets      int64
	details     details
	owner, note string

	held      bool // an operator is about to say something of it
	changed   bool // it is in Inventory.changed
	stored    bool // the directory may have it
	forgotten bool
	// its neighbours in Inventory.recent; nil for one that is not in it.
	newer, older *source
}

// Open reads the inventory that the directory has. Close it, before the directory. It fails
// as the database does.
func Open(ctx context.Context, o Options) (*Inventory, error) {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.MaxSources == 0 {
		o.MaxSources, o.MaxAssigned = MaxSources, MaxAssigned
	}
	v := &Inventory{Options: o, done: make(chan struct{}), sources: map[key]*source{}, gone: map[string]struct{}{}}
	v.recent.newer, v.recent.older = &v.recent, &v.recent
	if err := o.Directory.Senders(ctx, v.load); err != nil {
		return nil, err
	}
	ctx, v.end = context.WithCancel(context.WithoutCancel(ctx))
	go v.run(ctx)
	return v, nil
}

// load takes a source as the directory has it; those that were seen last come last.
func (v *Inventory) load(row directory.Sender) error {
	k, err := parseKey(row.Source)
	if err != nil {
		v.Logger.Warn("senders: what the directory has of a source is not known", "source", row.Source, "error", err)
		return nil
	}
	s := v.add(k, row.First)
	s.last, s.messages, s.recipients, s.octets = row.Last, row.Messages, row.Recipients, row.Octets
	s.owner, s.note, s.stored = row.Owner, row.Note, true
	if err := json.Unmarshal([]byte(row.Details), &s.details); err != nil {
		v.Logger.Warn("senders: how a source speaks cannot be read", "source", row.Source, "error", err)
		s.details = details{}
	}
	if s.isAssigned() {
		v.assigned++
	}
	v.place(s)
	return nil
}

// Sent counts a message that was accepted. It does not wait for the disk.
func (v *Inventory) Sent(m intake.Sent) {
	k, ok := keyOf(m.Origin)
	if !ok {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sources[k]
	if s == nil {
		s = v.add(k.kept(), m.At)
	}
	s.last = m.At
	s.messages++
	s.recipients += int64(m.Recipients)
	s.octets += m.Octets
	s.details.note(&m)
	v.place(s)
	v.touch(s)
}

// add adds a source that nobody has seen before. mu is held, or nobody else knows v.
func (v *Inventory) add(k key, first time.Time) *source {
	if len(v.sources) >= v.MaxSources && v.recent.newer != &v.recent {
		v.drop(v.recent.newer) // the ring begins with the oldest
		v.Metrics.forgotten.Add(1, forRoom)
	}
	s := &source{key: k, first: first}
	v.sources[k] = s
	v.Metrics.sources.Add(1)
	return s
}

// drop forgets a source. mu is held.
func (v *Inventory) drop(s *source) {
	s.leave()
	s.forgotten = true
	if s.isAssigned() {
		v.assigned--
	}
	delete(v.sources, s.key)
	v.Metrics.sources.Add(-1)
	if s.stored {
		v.gone[s.key.String()] = struct{}{}
	}
}

// isAssigned reports whether an operator has said something of it.
func (s *source) isAssigned() bool { return s.owner != "" || s.note != "" }

// place makes a source the one that is forgotten last. mu is held.
func (v *Inventory) place(s *source) {
	s.leave()
	if s.isAssigned() || s.held {
		return
	}
	newest := v.recent.older
	s.older, s.newer = newest, &v.recent
	newest.newer, v.recent.older = s, s
}

// leave takes a source out of the ring, if it is in it.
func (s *source) leave() {
	if s.newer == nil {
		return
	}
	s.older.newer, s.newer.older = s.newer, s.older
	s.older, s.newer = nil, nil
}

// touch notes that a source is to be written. mu is held.
func (v *Inventory) touch(s *source) {
	if !s.changed {
		s.changed = true
		v.changed = append(v.changed, s)
	}
}
