// Package directory keeps who and what this host knows: users, local domains, aliases,
// lists and bans. They are records, changed while the server runs, and not settings: a
// setting lives in a file, a record here, nothing in both.
//
// A Directory is a database (SQLite in a file of its own) with an image of it in memory.
// Look-ups ask the image, take steps that do not depend on how much there is, and never
// wait for the disk. A Change is one transaction of the database: all of it or nothing,
// on stable storage before it is seen in the image. With each record that it changes goes
// a fact in the same transaction, kept in an outbox until the journal has it; a Directory
// is a journal.Source. Facts never have a password, a key or a hash of one.
//
// Names are compared in one form: logins as PRECIS has it (RFC 8265 3.3), domains as DNS
// knows them, local parts without regard to case. What stands in a Directory has that form.
//
// What is wrong in a record is told as Invalid: the record, its field, what is wrong, and
// what would be right. A database that is damaged fails with ErrDamaged, at Open if that
// finds it; a full disk fails with a temporary reply. When a commit fails in a way that
// leaves unknown what is on the disk, all later changes fail until the Directory is opened
// again; look-ups go on.
package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"postern/internal/mail"
)

// Options are what a Directory needs.
type Options struct {
	// Dir is the directory of its files; it is made if there is none. Nobody else may
	// write there.
	Dir    string
	Clock  mail.Clock
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
	// Credentials says what is wrong with a password or keys of SCRAM that are to be
	// recorded, of which one may be empty. Without it they need have the form alone.
	Credentials func(password, scram string) error
}

// Errors of a Directory, beside those of its records.
var (
	// ErrDamaged says that the database cannot be read.
	ErrDamaged = errors.New("the directory is damaged: restore it from a backup")
	// ErrLocked says that another process has the directory open.
	ErrLocked = errors.New("another process has the directory open")
	// ErrNewer says that a later release has written the directory.
	ErrNewer = errors.New("the directory was written by a later release")
	// ErrClosed says that the Directory was closed.
	ErrClosed = errors.New("the directory is closed")
	// ErrUnknownOutcome says that a commit failed, and nobody knows what is on the disk.
	ErrUnknownOutcome = errors.New("a change of the directory has failed, and it is unknown what is on the disk: restart")
	// ErrLost says that the journal knows of changes of a directory that is not there.
	ErrLost = errors.New("the directory is lost: restore " + File + " from a backup, or make an empty file of that name to begin with an empty directory")
	// ErrNotFound says that there is no such record.
	ErrNotFound = errors.New("there is no")
)

// File is the name of the database in Options.Dir.
const File = "directory.db"

// Directory is open records. It is safe for use by several goroutines.
type Directory struct {
	clock   mail.Clock
	log     *slog.Logger
	metrics *Metrics
	dialect dialect
	lock    *os.File
	// credentials is that of the Options.
	credentials func(password, scram string) error
	// writer has one connection, and is used with writing held; readers have their own
	// snapshots.
	writer, reader *sql.DB

	writing chan struct{} // holds a token while nobody writes
	failed  error         // wraps ErrUnknownOutcome; held by writing
	closed  bool          // held by writing
	made    string        // the file, if Open has made it
	lost    bool          // nothing was to be made; held by writing

	mu    sync.RWMutex // of image and full
	image *image
	// full is until when there is no room for more bans, and nobody looks for some.
	full time.Time

	watchers watchers
	wake     chan struct{}
	keeper   *keeper
}

// Open opens the directory in o.Dir, or makes an empty one, and reads it into memory.
// It fails with ErrLocked, ErrDamaged or ErrNewer, wrapped, or as the disk does.
func Open(ctx context.Context, o Options) (*Directory, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", o.Dir, err)
	}
	d, err := openFile(ctx, o)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("directory %s: %w", filepath.Join(o.Dir, File), err)
	}
	d.lock = lock
	return d, nil
}

// openFile opens the database in its file, which nobody else may read.
func openFile(ctx context.Context, o Options) (*Directory, error) {
	name := filepath.Join(o.Dir, File)
	made, err := makeFile(name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// What SQLite syncs are its files and where they are, and not where that is.
	if err := syncFile(o.Dir); err != nil {
		return nil, err
	}
	d, err := open(ctx, o, sqliteIn(name))
	if err == nil && made {
		d.made = name
	}
	return d, err
}

// makeFile makes an empty file that nobody else may read. It fails if there is one.
func makeFile(name string) (made bool, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// open opens a database of a dialect.
func open(ctx context.Context, o Options, s dialect) (*Directory, error) {
	d := &Directory{
		clock: o.Clock, log: o.Logger, metrics: o.Metrics, dialect: s, credentials: o.Credentials,
		writing: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	if d.clock == nil {
		d.clock = mail.SystemClock{}
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.metrics == nil {
		d.metrics = NewMetrics(nil)
	}
	d.writing <- struct{}{}
	if err := d.connect(ctx); err != nil {
		d.disconnect()
		return nil, s.explain(err)
	}
	d.keeper = startKeeper(d)
	wakeUp(d.wake) // for facts of before
	return d, nil
}

// connect opens the database, brings its schema up to date, and reads it.
func (d *Directory) connect(ctx context.Context) (err error) {
	if d.writer, err = d.dialect.open(false); err != nil {
		return err
	}
	d.writer.SetMaxOpenConns(1)
	if err := migrate(ctx, d.writer, d.dialect); err != nil {
		return err
	}
	if d.reader, err = d.dialect.open(true); err != nil {
		return err
	}
	d.reader.SetMaxOpenConns(maxReaders)
	d.image, err = d.load(ctx, len(schema))
	return err
}

// maxReaders bounds the snapshots that are read at a time.
const maxReaders = 4

func (d *Directory) disconnect() error {
	var errs []error
	for _, db := range []*sql.DB{d.reader, d.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Close writes what was to be written later, and closes the database. Look-ups find
// what they found before; all else fails with ErrClosed.
func (d *Directory) Close() error {
	errKeeper := d.keeper.stop()
	<-d.writing
	defer d.release()
	if d.closed {
		return nil
	}
	d.closed = true
	err := errors.Join(errKeeper, d.disconnect())
	if d.lost { // so that the next start fails too
		err = errors.Join(err, os.Remove(d.made))
	}
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("directory: close: %w", err)
	}
	return nil
}

// acquire waits for the one place of a writer; whoever has it must release it.
func (d *Directory) acquire(ctx context.Context) error {
	select {
	case <-d.writing:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case d.closed:
		d.release()
		return ErrClosed
	case d.failed != nil:
		defer d.release()
		return d.failed
	}
	return nil
}

func (d *Directory) release() { d.writing <- struct{}{} }

// lockDir takes the lock of the directory, which ends with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, err
	}
	return f, nil
}

func wakeUp(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
