package embedded

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/queue"
)

// openPebble opens the database.
func (s *Store) openPebble(path string) (*pebble.DB, error) {
	return openDatabase(path, s.pebbleOptions())
}

// openDatabase opens a database.
//
// QUIRK: Pebble panics when it cannot sync the name of a marker.
func openDatabase(path string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("cannot open the database: %w", panicError(p))
		}
	}()
	if db, err = pebble.Open(path, o); err != nil {
		return nil, fmt.Errorf("cannot open the database: %w", err)
	}
	return db, nil
}

// panicError is what a panic was about.
func panicError(p any) error {
	cause, _ := p.(error)
	return cmp.Or(cause, fmt.Errorf("%v", p))
}

// checkpoint makes a checkpoint of the database in a directory that is not
// there. What it leaves when it fails is the caller's to remove.
//
// QUIRK: Pebble panics here too when it cannot sync the name of a marker. It
// holds no lock then.
func (s *Store) checkpoint(dir string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	return s.db.Checkpoint(dir)
}

func (s *Store) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS: s.guard,
		// Named, not "the newest": a database is never upgraded by accident.
		// At least FormatWALSyncChunks, so that a torn end of the log can be
		// told from damage before it.
		FormatMajorVersion: pebble.FormatValueSeparation,
		CacheSize:          64 << 20,
		MemTableSize:       8 << 20, // docs/decisions.md has the measurements
		// Room for a burst while one is being flushed, before writes must wait.
		MemTableStopWritesThreshold: 4,
		L0StopWritesThreshold:       stopWrites,
		Logger:                      pebbleLogger{s.options.Logger, s.failure},
		EventListener:               s.health.listener(),
	}
	o.WithFSDefaults()
	return o
}

// checkVersion marks a new database, and sees to it that an old one is ours.
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
	if version != formatVersion {
		return damaged(k, fmt.Sprintf("format %d, in the directory of format %d", version, formatVersion))
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

// writeMade notes, in a file of its own, that this store has had a database:
// should that be missing one day, the store is damaged and not a new one.
func (s *Store) writeMade() error {
	files, path := s.options.FS, s.path(madeName)
	if made, err := s.exists(madeName); made || err != nil {
		return err
	}
	f, err := files.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDirectory(files, s.dir))
}
