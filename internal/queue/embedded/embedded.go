// Package embedded is the store that needs no server: Pebble, with its
// write-ahead log, holds everything, bodies too.
//
// Every change is one Pebble batch. One goroutine, the committer, gathers the
// batches that wait, numbers their facts, commits them together with one
// sync, and then tells the index and the callers. So what the index knows is
// durable; Pebble itself shows a batch before it is.
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
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/queue"
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
	// With less than half of it the store does not open. 0: 64 MiB.
	// Negative: none.
	Reserve int64
	// FS is the file system; nil: the machine's.
	FS vfs.FS
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Reserve == 0 {
		o.Reserve = 64 << 20
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	return o
}

// Store is a queue.Store in a directory of its own. Make it with Open.
type Store struct {
	options Options
	dir     string
	lock    io.Closer
	db      *pebble.DB
	guard   *guard
	failure *failure
	gate    *gate
	index   *queue.Index

	changes   chan *change   // to the committer
	committer sync.WaitGroup // the committer alone
	// committing holds a token from before a batch is visible until it is
	// durable and in the index.
	committing chan struct{}
	ledger     ledger
	facts      factState
	editing    chan struct{} // a token that whoever edits holds
	unreadable []unreadable  // found by load; empty once the store is open

	drafts   atomic.Uint64 // numbers the files in incoming
	openMu   sync.Mutex
	openings map[*body]struct{} // bodies that hold a snapshot
}

var _ queue.Store = (*Store)(nil)

// The parts of the directory.
const (
	databaseName = "db"
	incomingName = "incoming"
	lockName     = "lock"
)

// backlog is how many changes may wait for the committer; more callers wait
// to be let in.
const backlog = 256

// Open opens the store in a directory, which it makes when there is none. It
// returns when everything in it is known and what a crash cut short is
// finished. It fails when the directory is in use, when a newer program wrote
// it, and when it is damaged beyond single entries.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{
		options:    o,
		dir:        dir,
		failure:    newFailure(o.Logger, o.Failed),
		gate:       newGate(),
		index:      queue.NewIndex(),
		changes:    make(chan *change, backlog),
		ledger:     make(ledger),
		facts:      factState{wake: queue.NewSignal()},
		editing:    make(chan struct{}, 1),
		committing: make(chan struct{}, 1),
		openings:   make(map[*body]struct{}),
	}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("queue in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) open() (err error) {
	if err := makeDirectory(s.options.FS, s.path(databaseName)); err != nil {
		return err
	}
	if s.lock, err = lockDirectory(s.options.FS, s.path(lockName)); err != nil {
		return err
	}
	// Opening writes what the log holds into tables, and Pebble would try that
	// on a full disk for ever.
	if err := s.checkSpace(s.options.Reserve / 2); err != nil {
		return errors.Join(err, s.lock.Close())
	}
	s.guard = &guard{FS: s.options.FS, failure: s.failure}
	if s.db, err = openPebble(s.path(databaseName), s.guard, s.options.Logger); err != nil {
		return errors.Join(err, s.lock.Close())
	}
	if err := s.prepare(); err != nil {
		return errors.Join(err, s.db.Close(), s.lock.Close())
	}
	s.guard.armed.Store(true)
	s.committer.Go(s.commitAll)
	if err := s.finish(); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// prepare reads what is stored. Nothing else is under way.
func (s *Store) prepare() error {
	if err := s.failure.get(); err != nil {
		return err
	}
	if err := s.checkVersion(); err != nil {
		return err
	}
	if err := s.clearIncoming(); err != nil {
		return err
	}
	if err := s.clearStreams(); err != nil {
		return err
	}
	return s.load()
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
	close(s.changes)
	s.committer.Wait()
	s.closeBodies()
	s.guard.armed.Store(false)
	return errors.Join(s.db.Close(), s.lock.Close())
}

// Leased returns the number of leases held now.
func (s *Store) Leased() int { return s.index.Leased(s.options.Clock.Now()) }

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
	directory, err := files.OpenDir(parent)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// lockDirectory keeps other processes, and other stores in this one, out.
func lockDirectory(files vfs.FS, path string) (io.Closer, error) {
	lock, err := files.Lock(path)
	if err == nil {
		return lock, nil
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("cannot lock the directory: %w", err)
	}
	return nil, fmt.Errorf("the directory is in use by another process, or opened twice: %w", err)
}

// openPebble opens the database.
func openPebble(path string, g *guard, logger *slog.Logger) (*pebble.DB, error) {
	options := &pebble.Options{
		FS: g,
		// Named, not "the newest": a database is never upgraded by accident.
		// At least FormatWALSyncChunks, so that a torn end of the log can be
		// told from damage before it.
		FormatMajorVersion: pebble.FormatValueSeparation,
		CacheSize:          64 << 20,
		MemTableSize:       32 << 20,
		// Room for a burst while one is being flushed, before writes must wait.
		MemTableStopWritesThreshold: 4,
		Logger:                      pebbleLogger{logger, g.failure},
		EventListener:               listener(logger),
	}
	options.WithFSDefaults()
	db, err := pebble.Open(path, options)
	if err != nil {
		return nil, fmt.Errorf("cannot open the database: %w", err)
	}
	return db, nil
}

// checkVersion refuses what a newer program wrote, and marks a new database.
func (s *Store) checkVersion() error {
	k := []byte{versionPrefix}
	value, err := s.read(s.db, k)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return s.markNew(k)
	case err != nil:
		return err
	}
	version, err := decodeNumber(k, value)
	if err != nil {
		return err
	}
	if version > formatVersion {
		return fmt.Errorf("it has format %d, but this program knows only up to %d: it was written by a newer version of the program, which must be used to open it", version, formatVersion)
	}
	return nil
}

func (s *Store) markNew(k []byte) error {
	for other, err := range scan(s.db, nil, nil) {
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: a database without a format version, but with the key %q", queue.ErrDamaged, other.key)
	}
	return s.db.Set(k, encodeNumber(formatVersion), pebble.Sync)
}
