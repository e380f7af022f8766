// Package embedded is the store that needs no server: Pebble, with its
// write-ahead log, holds every state and small contents; larger contents lie
// beside it in the body log (package seglog).
//
// Every change is one Pebble batch. One goroutine, the committer, gathers the
// batches that wait, numbers their facts, commits them together with one
// sync, and then tells the index and the callers. So what the index knows is
// durable; Pebble itself shows a batch before it is. A content in the body log
// is durable before the batch that refers to it is made. What the database
// says is true; a content that it does not mention does not exist, and goes
// when the store opens again.
//
// It is not the place of any rule about mail: what a change does to an entry
// is worked out by queue.Revision, and who may change it by queue.Index.
//
// It fails for good when a commit does. Then nobody knows what is durable:
// every method returns queue.ErrUnknown, Options.Failed is called, and the
// process must end. Damage harms what is damaged: a body whose bytes fail
// their check gives queue.ErrDamaged, an entry that cannot be read is set
// aside with a fact.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// Options are the settings of a Store.
type Options struct {
	Clock  mail.Clock   // nil: the system's
	Logger *slog.Logger // nil: discards
	// Failed is called once, when the store has failed and the process must
	// end. It is called from anywhere: it must neither wait nor call the store.
	Failed func(error)
	// Reserve is the free space in octets below which nothing more is
	// accepted, so that a full disk is told before a commit and not by one.
	// With less than half of it the store does not open. 0: DefaultReserve.
	// Negative: none.
	Reserve int64
	// InlineSize is the largest content, in octets, that is kept in the
	// database. 0: 8 KiB. Negative: none but the empty one.
	InlineSize int64
	// SegmentSize is the size of the body log's segments; 0: 64 MiB.
	SegmentSize int64
	// FS is the file system; nil: the machine's.
	FS vfs.FS
	// Metrics count commits; nil: for nobody.
	Metrics *Metrics
}

// DefaultReserve is what the store needs, in octets, to write what it has in
// memory into tables, and a log for the next.
const DefaultReserve = 64 << 20

// inlineSize is the default of Options.InlineSize. docs/decisions.md has the
// measurements.
const inlineSize = 8 << 10

// ownFile is the size above which a content gets a file of its own.
const ownFile = 1 << 20

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	if o.InlineSize == 0 {
		o.InlineSize = crashpoint.Size("INLINE", inlineSize)
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = crashpoint.Size("SEGMENT", 0)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.FS == nil {
		o.FS = crashpoint.Files(vfs.Default)
	}
	return o
}

// Store is a queue.Store in a directory of its own. Make it with Open.
type Store struct {
	options Options
	reserve atomic.Int64 // Options.Reserve; see Reserve
	dir     string
	lock    io.Closer
	db      *pebble.DB
	log     *seglog.Log
	guard   *guard
	failure *failure
	health  *health
	gate    *gate
	index   *queue.Index
	ledger  *ledger
	fresh   *fresh

	reclaimer *reclaimer
	changes   chan *change   // to the committer
	committer sync.WaitGroup // the committer alone
	// committing holds a token from before a batch is visible until it is
	// durable and in the index.
	committing chan struct{}
	promised   uint64 // what is below this sequence number is durable; of the committer alone
	facts      factState
	committed  latency                       // of the commits that are synced
	grouped    latency                       // of all commits
	appended   latency                       // of the body log
	editing    chan struct{}                 // a token that whoever edits holds
	snapshots  chan struct{}                 // a token that a snapshot holds
	edit       atomic.Pointer[queue.Editing] // nil when none is under way
	rowsRead   atomic.Uint64                 // of entries, for listings and edits
	unreadable []unreadable                  // found by load; empty once the store is open

	drafts      atomic.Uint64 // numbers the files in incoming
	draftMemory atomic.Int64  // octets of drafts in memory
	openMu      sync.Mutex
	openings    map[*body]struct{} // bodies that are open
}

var _ queue.Store = (*Store)(nil)

// The parts of the directory.
const (
	bodiesName   = "bodies"
	incomingName = "incoming"
	lockName     = "lock"
	madeName     = "made"
)

// backlog is how many changes may wait for the committer; more callers wait
// to be let in.
const backlog = 256

// Open opens the store in a directory, which it makes when there is none. It
// returns when everything in it is known and what a crash cut short is
// finished. It fails when the directory is in use, when a newer program wrote
// it, and when it is damaged beyond single entries.
func Open(dir string, o Options) (*Store, error) {
	s := newStore(dir, o)
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("queue in %s: %w", dir, err)
	}
	return s, nil
}

func newStore(dir string, o Options) *Store {
	o = o.withDefaults()
	s := &Store{
		options:    o,
		dir:        dir,
		failure:    newFailure(o.Logger, o.Failed),
		gate:       newGate(),
		index:      queue.NewIndex(),
		ledger:     newLedger(),
		fresh:      newFresh(),
		changes:    make(chan *change, backlog),
		facts:      factState{wake: queue.NewSignal()},
		editing:    make(chan struct{}, 1),
		snapshots:  make(chan struct{}, 1),
		committing: make(chan struct{}, 1),
		openings:   make(map[*body]struct{}),
	}
	s.reserve.Store(o.Reserve)
	s.guard = &guard{FS: o.FS, failure: s.failure, spared: s.path(snapshotName)}
	s.health = &health{logger: o.Logger}
	s.reclaimer = newReclaimer(s)
	return s
}

// Reserve replaces Options.Reserve, for what is accepted from now on. Zero means
// none.
func (s *Store) Reserve(octets int64) { s.reserve.Store(octets) }

func (s *Store) open() (err error) {
	if err := makeDirectory(s.options.FS, s.dir); err != nil {
		return err
	}
	if s.lock, err = lockDirectory(s.options.FS, s.path(lockName)); err != nil {
		return err
	}
	// Opening writes what the log holds into tables, and Pebble would try that
	// on a full disk for ever.
	if err := s.checkSpace(s.reserve.Load() / 2); err != nil {
		return errors.Join(err, s.lock.Close())
	}
	if err := s.prepare(); err != nil {
		return errors.Join(err, s.closeParts())
	}
	s.guard.armed.Store(true)
	s.committer.Go(s.commitAll)
	s.reclaimer.start()
	if err := s.finish(); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// prepare opens and reads what is stored. Nothing else is under way.
func (s *Store) prepare() (err error) {
	if err := s.checkFormat(); err != nil {
		return err
	}
	if s.log, err = s.openLog(); err != nil {
		return err
	}
	if err := errors.Join(s.clearIncoming(), s.options.FS.RemoveAll(s.path(snapshotName))); err != nil {
		return err
	}
	if err := s.finishSalvage(); err != nil {
		return err
	}
	if err := s.migrate(); err != nil { // behind it: an older database must not take the place of a salvaged one
		return err
	}
	if err := s.checkDatabase(); err != nil {
		return err
	}
	if s.db, err = s.openPebble(s.path(databaseName)); err != nil {
		return s.located(err)
	}
	if err := s.failure.get(); err != nil {
		return err
	}
	if err := s.checkVersion(); err != nil {
		return s.located(err)
	}
	if err := s.writeMade(); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return s.located(err)
	}
	return errors.Join(s.removeOldFormat(), s.log.ClearOrphans())
}

// closeParts closes what is open.
func (s *Store) closeParts() error {
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// openLog opens the body log.
func (s *Store) openLog() (*seglog.Log, error) {
	dir := s.path(bodiesName)
	if err := makeDirectory(s.options.FS, dir); err != nil {
		return nil, err
	}
	return seglog.Open(dir, seglog.Options{
		FS: s.options.FS, Logger: s.options.Logger, SegmentSize: s.options.SegmentSize, FileSize: ownFile,
	})
}

// finish does what a crash cut short.
func (s *Store) finish() error {
	if err := s.setAsideUnreadable(); err != nil {
		return err
	}
	if err := s.applyLost(s.options.Clock.Now()); err != nil {
		return err
	}
	return s.resumeEdit()
}

// path returns the path of a part of the directory.
func (s *Store) path(name string) string { return s.options.FS.PathJoin(s.dir, name) }

// enter begins a call: it fails when the store is closed or has failed, or
// the caller has given up. Otherwise gate.leave must follow.
func (s *Store) enter(ctx context.Context) error {
	if err := s.failure.get(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.gate.enter()
}

// Close waits for the calls under way and closes the store. A store that has
// failed is left as it is: what a sync could not write must not be written
// now, and the process ends anyway.
func (s *Store) Close() error {
	if !s.gate.close() {
		return nil
	}
	select {
	case <-s.gate.idle:
	case <-s.failure.done:
	}
	if err := s.failure.get(); err != nil {
		return err
	}
	s.reclaimer.end()
	close(s.changes)
	s.committer.Wait()
	s.reclaimer.freeAll() // what the last commits removed
	s.closeBodies()
	s.guard.armed.Store(false)
	return s.closeParts()
}

// What the store remembers of each delivery and each body takes about so many
// octets; a test measures it.
const (
	deliveryMemory = 400
	bodyMemory     = 250
)

// Memory returns about how many octets of memory the mail in the store takes:
// what is remembered of each delivery and body, drafts that are being
// written, and fresh messages on their way to their first attempt.
func (s *Store) Memory() int64 {
	return int64(s.index.Deliveries())*deliveryMemory + int64(s.ledger.count())*bodyMemory +
		s.draftMemory.Load() + s.fresh.octets()
}

// Latency returns how long the disk makes an acceptance wait at present: what
// a commit, or an entry in the body log, took on average in the last 5 to 10
// seconds, or for how long one has been hanging now. It is 0 when nothing was
// written lately.
func (s *Store) Latency() time.Duration { return max(s.committed.get(), s.appended.get()) }

// Entries returns the number of entries.
func (s *Store) Entries() int { return s.index.Entries() }

// Backlog returns what waits for a destination.
func (s *Store) Backlog(d mail.Destination) queue.Backlog { return s.index.Backlog(d) }

// Leased returns the number of leases held now.
func (s *Store) Leased() int { return s.index.Leased(s.options.Clock.Now()) }

// LeasedIn returns the deliveries of an entry that are leased now.
func (s *Store) LeasedIn(id mail.ID) []mail.Destination {
	return s.index.LeasedIn(id, s.options.Clock.Now())
}

// Wake receives when something may be due sooner than was said.
func (s *Store) Wake() <-chan struct{} { return s.index.Wake() }

// makeDirectory makes a directory and those above it, and syncs every name
// it made: otherwise a power cut may take the whole queue along.
func makeDirectory(files vfs.FS, path string) error {
	if _, err := files.Stat(path); err == nil {
		return nil
	}
	parent := files.PathDir(path)
	if parent == path {
		return nil
	}
	if err := makeDirectory(files, parent); err != nil {
		return err
	}
	if err := files.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return syncDirectory(files, parent)
}

// syncDirectory makes names in a directory durable.
func syncDirectory(files vfs.FS, path string) error {
	directory, err := files.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
