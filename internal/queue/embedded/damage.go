package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"postern/internal/pebblefile"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// checkDatabase refuses a database whose manifest or log is damaged. Pebble
// takes some of that for the traces of a power cut, and would go on without
// what is behind it. It refuses a missing one too when there are contents: they
// would go as orphans of the new one that Pebble would make; and when there once
// was one, or all that was in it would be gone without a word.
func (s *Store) checkDatabase() error {
	damage, err := pebblefile.Check(s.options.FS, s.path(databaseName))
	if errors.Is(err, fs.ErrNotExist) {
		made, failed := s.exists(madeName)
		found, alsoFailed := s.hasContents()
		if err = errors.Join(failed, alsoFailed); err == nil && !made && !found {
			return nil // a new store
		}
		damage = pebblefile.Missing(s.options.FS, s.path(databaseName)).Damage
	}
	if err != nil {
		return fmt.Errorf("cannot check the database: %w", err)
	}
	return s.refuse(damage)
}

// hasContents reports whether there is anything in the body log, to which no
// content comes before there is a database.
func (s *Store) hasContents() (bool, error) {
	paths, err := seglog.Files(s.options.FS, s.path(bodiesName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(paths) > 0, err
}

// openFiles opens the files of the database; a missing one is damaged.
func (s *Store) openFiles() (*pebblefile.Database, error) {
	d, err := pebblefile.Open(s.options.FS, s.path(databaseName))
	if errors.Is(err, fs.ErrNotExist) {
		return pebblefile.Missing(s.options.FS, s.path(databaseName)), nil
	}
	return d, err
}

// refuse makes an error of what is damaged, if anything is: the place, and
// what helps.
func (s *Store) refuse(damage []pebblefile.Damage) error {
	if len(damage) == 0 {
		return nil
	}
	more := ""
	if n := len(damage) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return fmt.Errorf("%w: %w%s; `postern store verify` tells all of it, `postern store salvage` rebuilds what can be read", queue.ErrDamaged, &damage[0], more)
}

// located adds the place to the error of a database that cannot be opened or
// read, which Pebble often does not tell, unless it is the disk's.
func (s *Store) located(err error) error {
	if _, disk := errors.AsType[syscall.Errno](err); err == nil || disk || errors.Is(err, queue.ErrUnknown) {
		return err
	}
	if s.db != nil { // a database that is open may be changing
		err = errors.Join(err, s.db.Close())
		s.db = nil
	}
	d, failed := pebblefile.Open(s.options.FS, s.path(databaseName))
	if failed != nil {
		return err
	}
	damage, failed := d.Read(func(pebblefile.Row) error { return nil }, func(pebblefile.File) {})
	if failed != nil || len(damage) == 0 {
		return fmt.Errorf("%s: %w; `postern store salvage` rebuilds what can be read", s.path(databaseName), err)
	}
	return s.refuse(damage)
}

// plain is the text of an error without the words that only say that it is
// about damage, and without the line that Pebble adds to its own.
func plain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n<corruption detail carrier>", "")
	for _, kind := range []error{queue.ErrDamaged, seglog.ErrDamaged} {
		text = strings.ReplaceAll(text, kind.Error()+": ", "")
	}
	return text
}
