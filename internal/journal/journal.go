// Package journal is the append-only log of facts: what happened to every
// message, and why.
//
// A journal is a directory of JSON-lines files that are never rewritten. Each
// begins with a header line: the format's version, and the marks, which say
// for every source the number of its last fact so far. Each other line is one
// mail.Fact, named for good by its source and number.
//
// Facts come in two ways. Copy takes those that a source (the queue) committed
// together with its own state: strictly in the order of their numbers, written
// and synced here before they are forgotten there, so that a crash neither
// doubles nor drops a line. Record takes facts that go with no change of
// state, such as a refusal, without ever making the caller wait: when its
// buffer is full they are counted instead, and the count becomes a fact.
//
// It is not a search index and not a queue: it answers questions by reading
// lines, and nothing is rebuilt from it.
//
// When its disk fails nothing is lost that a source holds: the group stays
// there, Options.Failed hears of it, and after a while it is written again, to
// a new file, because a file whose sync failed is not to be trusted. A line
// that cannot be read is reported with file and line, and reading goes on.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/internal/crashpoint"
	"postern/internal/mail"
)

// Direct is the source of the facts that came by Record.
const Direct = "direct"

// ErrClosed says that the journal is closed.
var ErrClosed = errors.New("the journal is closed")

// ErrInUse says that another process has the journal open.
var ErrInUse = errors.New("another process has it open")

// writeError says that the journal could not be written. What was to be
// written is where it came from.
type writeError struct {
	dir   string
	cause error
}

func (e *writeError) Error() string { return fmt.Sprintf("journal %s: write: %v", e.dir, e.cause) }
func (e *writeError) Unwrap() error { return e.cause }

// Options are the settings of a journal. The zero value is usable.
type Options struct {
	// Limits are those to begin with; Change replaces them.
	Limits Limits
	// Buffer is how many recorded facts may wait; 0 means 4096.
	Buffer int
	// Delay is how long facts are gathered before they are written and
	// synced together; 0 means 50 ms.
	Delay time.Duration
	// Retry is the wait after a failed write; 0 means 5 s.
	Retry time.Duration
	// Failed hears of every failed write. It is called by the writer and
	// must not block. It may be nil.
	Failed func(error)
	// Clock is mail.SystemClock when nil.
	Clock mail.Clock
	// Logger is slog.Default when nil.
	Logger *slog.Logger
}

// Limits say how much is kept.
type Limits struct {
	// MaxFile is the size in octets at which a new file begins; 0 means
	// 64 MiB. Facts that are written together stay in one file.
	MaxFile int64
	// Keep is how many files are kept, the one being written included; 0
	// means all. Older ones are removed.
	Keep int
}

func (l Limits) withDefaults() *Limits {
	if l.MaxFile <= 0 {
		l.MaxFile = 64 << 20
	}
	return &l
}

func (o Options) withDefaults() Options {
	if o.Buffer <= 0 {
		o.Buffer = 4096
	}
	if o.Delay <= 0 {
		o.Delay = 50 * time.Millisecond
	}
	if o.Retry <= 0 {
		o.Retry = 5 * time.Second
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Journal is an open journal. It is safe for use by several goroutines.
type Journal struct {
	options Options
	limits  atomic.Pointer[Limits]
	dir     string
	lock    *os.File
	create  func(path string) (file, error)

	groups chan group    // what Copy has for the writer
	wake   chan struct{} // recorded facts wait
	stop   chan struct{}
	done   chan struct{} // the writer has ended

	closing  sync.Once
	closeErr error

	// The writer alone uses these.
	file   file // nil after a failure: the next group begins a new one
	number uint64
	header int64 // size of the file's header line
	size   int64 // of the file, as far as it is synced
	buffer []byte

	mu     sync.Mutex
	closed bool
	direct []mail.Fact            // recorded, not yet written
	lost   map[mail.Reason]uint64 // recorded when direct was full
	drops  uint64                 // all that were ever lost so
	ledger ledger                 // what is synced; changed by the writer alone
	end    position               // up to where it is synced
	failed error                  // why the last write failed; nil when it did not
	moved  chan struct{}          // closed when end moves

	copiers []*copier // those under way
}

// position is a place in the journal: everything before it is synced.
type position struct {
	number uint64 // of the file
	offset int64
}

// group is a stretch of one source's facts.
type group struct {
	facts []mail.Fact
	done  chan<- error
}

// Open opens the journal in a directory, which it creates if need be. It
// reads the last file to learn the marks, and cuts off its last line when a
// crash left that incomplete.
//
// It fails with ErrInUse when another process has the journal open, and when
// the last file has a format that this program does not know, or the disk
// fails.
func Open(dir string, o Options) (*Journal, error) {
	return open(dir, o, createFile)
}

func open(dir string, o Options, create func(string) (file, error)) (*Journal, error) {
	j := &Journal{
		options: o.withDefaults(), dir: dir, create: create,
		groups: make(chan group), wake: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
		lost: map[mail.Reason]uint64{}, moved: make(chan struct{}),
	}
	j.limits.Store(o.Limits.withDefaults())
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	j.lock = lock
	if err := errors.Join(j.Unlink(), j.restore()); err != nil {
		lock.Close()
		return nil, err
	}
	go j.run()
	return j, nil
}

// lockDirectory makes sure that the directory exists, and that no other
// process writes to it. The lock ends with the process.
func lockDirectory(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("journal %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("journal %s: lock: %w", dir, err)
	}
	return f, nil
}

// Change replaces the limits. They hold when the next file begins, which may be
// with the next fact.
func (j *Journal) Change(to Limits) { j.limits.Store(to.withDefaults()) }

// Record adds a fact that goes with no change of state. It never waits: when
// the buffer is full the fact is counted, and the counts become one
// "overflow" fact for each reason. A fact without a time gets the present
// one. After Close it does nothing.
func (j *Journal) Record(f mail.Fact) {
	if f.Time.IsZero() {
		f.Time = j.options.Clock.Now()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	if len(j.direct) >= j.options.Buffer {
		j.lost[f.Reason]++
		j.drops++
		return
	}
	j.direct = append(j.direct, f)
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Close writes what was recorded and closes the journal. A Copy that is under
// way ends with ErrClosed; end it first by its context. Close fails when
// recorded facts could not be written.
func (j *Journal) Close() error {
	j.closing.Do(func() {
		j.mu.Lock()
		j.closed = true
		j.mu.Unlock()
		close(j.stop)
		<-j.done
		if j.file != nil {
			j.closeErr = errors.Join(j.closeErr, j.file.Close())
		}
		j.lock.Close()
	})
	return j.closeErr
}

// Failure returns why the journal cannot be written at present: the error of
// the last write, nil when that went well.
func (j *Journal) Failure() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// Lost returns how many recorded facts were only counted, because the buffer was
// full, since the journal was opened.
func (j *Journal) Lost() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.drops
}

// Last returns the number of the last fact of a source that is synced here; 0 if
// there is none.
func (j *Journal) Last(source string) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ledger.marks[source]
}

// run is the writer.
func (j *Journal) run() {
	defer close(j.done)
	timer := time.NewTimer(j.options.Delay)
	waiting := true // facts recorded from now on go with the timer
	for {
		select {
		case <-j.wake:
			if !waiting {
				waiting = true
				timer.Reset(j.options.Delay)
			}
		case <-timer.C:
			if waiting = j.write(nil) != nil; waiting {
				timer.Reset(j.options.Retry)
			}
		case g := <-j.groups:
			g.done <- j.write(g.facts)
		case <-j.stop:
			j.closeErr = j.write(nil)
			return
		}
	}
}

// submit hands a group to the writer and waits until it is synced. When ctx ends before, it may be
// written all the same.
func (j *Journal) submit(ctx context.Context, facts []mail.Fact) error {
	done := make(chan error, 1)
	select {
	case j.groups <- group{facts: facts, done: done}:
	case <-j.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write appends the copied facts that the journal does not have yet and all
// recorded ones, and syncs. On failure none of them counts as written.
func (j *Journal) write(copied []mail.Fact) error {
	j.mu.Lock()
	direct := j.direct // Record only appends behind its end
	lost := maps.Clone(j.lost)
	j.mu.Unlock()

	copied = j.ledger.missing(copied)
	last := j.encode(copied, direct, lost)
	if len(j.buffer) == 0 {
		return nil
	}
	if err := j.append(j.buffer); err != nil {
		err = &writeError{j.dir, err}
		j.discard()
		j.mu.Lock()
		j.failed = err
		j.mu.Unlock()
		j.options.Logger.Error("the journal cannot be written", "error", err, "retry", j.options.Retry)
		j.options.Failed(err)
		return err
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = nil
	for _, f := range copied {
		j.ledger.add(f.Source, f.N)
	}
	j.ledger.add(Direct, last)
	j.direct = slices.Delete(j.direct, 0, len(direct))
	for reason, n := range lost {
		if j.lost[reason] -= n; j.lost[reason] == 0 {
			delete(j.lost, reason)
		}
	}
	j.end = position{j.number, j.size}
	close(j.moved)
	j.moved = make(chan struct{})
	return nil
}

// encode fills the buffer with the lines of the facts, and returns the number
// of the last recorded one. Recorded facts get their numbers here. They stand among the copied ones
// by their time, so that who reads sees a server start before it takes mail.
func (j *Journal) encode(copied, direct []mail.Fact, lost map[mail.Reason]uint64) (last uint64) {
	if cap(j.buffer) > maxLine {
		j.buffer = nil // one huge group must not hold its memory for good
	}
	j.buffer = j.buffer[:0]
	last = j.ledger.marks[Direct]
	for len(copied)+len(direct) > 0 {
		if len(direct) == 0 || len(copied) > 0 && copied[0].Time.Before(direct[0].Time) {
			j.buffer = appendLine(j.buffer, &copied[0])
			copied = copied[1:]
			continue
		}
		last++
		f := direct[0]
		f.Source, f.N = Direct, last
		j.buffer = appendLine(j.buffer, &f)
		direct = direct[1:]
	}
	for _, reason := range slices.Sorted(maps.Keys(lost)) {
		last++
		j.buffer = appendLine(j.buffer, &mail.Fact{
			Source: Direct, N: last, Time: j.options.Clock.Now(),
			Reason: mail.ReasonOverflow, Count: lost[reason], Text: string(reason),
		})
	}
	return last
}

// append writes lines to the file, or to a new one if this is full, and syncs.
func (j *Journal) append(lines []byte) error {
	full := j.size > j.header && j.size+int64(len(lines)) > j.limits.Load().MaxFile
	if j.file == nil || full {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	if _, err := j.file.Write(lines); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.size += int64(len(lines))
	return nil
}

// rotate begins the next file.
func (j *Journal) rotate() error {
	if j.file != nil {
		err := j.file.Close() // it is synced
		j.file = nil
		if err != nil {
			return err
		}
	}
	j.number++ // also after a failure: a number names one file for good
	now := j.options.Clock.Now()
	f, size, err := j.begin(segment{number: j.number, started: now}, j.ledger.marks)
	if err != nil {
		return err
	}
	j.file, j.header, j.size = f, size, size
	j.prune()
	return nil
}

// discard gives up the file after a failed write: what a failed sync left of
// it in memory may look written and not be. What was synced stays.
func (j *Journal) discard() {
	if j.file == nil {
		return
	}
	if err := j.file.Truncate(j.size); err != nil {
		j.options.Logger.Warn("lines whose write failed stay in the journal; they will stand there twice",
			"file", j.file.Name(), "offset", j.size, "error", err)
	}
	j.file.Close()
	if j.size == j.header {
		crashpoint.Remove(j.file.Name())
	}
	j.file = nil
}
