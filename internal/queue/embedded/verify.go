package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/pebblefile"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// openToRead opens a store that nobody has open, and changes nothing in it.
// Only what reads may be called, and closeToRead at the end.
func openToRead(dir string, o Options) (*Store, error) {
	s := newStore(dir, o)
	if err := s.openToRead(); err != nil {
		return nil, fmt.Errorf("queue in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) openToRead() (err error) {
	if s.lock, err = s.lockToRead(); err != nil {
		return err
	}
	if err = s.prepareToRead(); err != nil {
		return errors.Join(err, s.closeParts())
	}
	return nil
}

// errNoStore says that there is nothing that could be read.
var errNoStore = errors.New("there is no store here, or one that a start of the server must finish: of an older format, or salvaged")

// lockToRead locks a directory that holds a store.
func (s *Store) lockToRead() (io.Closer, error) {
	here, err := s.isHere()
	if err != nil {
		return nil, err
	}
	if !here {
		return nil, errNoStore
	}
	return lockDirectory(s.options.FS, s.path(lockName))
}

// isHere reports whether the directory holds a database of this format, or
// contents that have lost it.
func (s *Store) isHere() (bool, error) {
	if found, err := s.exists(databaseName); found || err != nil {
		return found, err
	}
	for _, name := range []string{formatOneName, salvagedName} {
		if found, err := s.exists(name); found || err != nil {
			return false, err
		}
	}
	return s.hasContents()
}

func (s *Store) exists(name string) (bool, error) {
	_, err := s.options.FS.Stat(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) prepareToRead() (err error) {
	if err := s.checkFormat(); err != nil {
		return err
	}
	if err := s.checkDatabase(); err != nil {
		return err
	}
	if s.log, err = s.openLog(); err != nil {
		return err
	}
	options := s.pebbleOptions()
	options.ReadOnly = true
	if s.db, err = openDatabase(s.path(databaseName), options); err != nil {
		return s.located(err)
	}
	return s.located(s.load())
}

// closeToRead ends what openToRead began. Nothing was written, so that its
// errors mean nothing.
func (s *Store) closeToRead() { _ = s.closeParts() }

// Verify reads everything in the store in a directory, when nobody has it
// open, and checks it. It changes nothing. progress is told now and then.
func Verify(ctx context.Context, dir string, o Options, progress func(queue.Progress)) (queue.Verified, error) {
	s := newStore(dir, o)
	lock, err := s.lockToRead()
	if err != nil {
		return queue.Verified{}, fmt.Errorf("queue in %s: %w", dir, err)
	}
	v := &verification{ctx: ctx, files: s.options.FS, tell: progress}
	err = v.database(s)
	if err == nil && v.result.Flaws.Count > 0 { // then the database cannot say where contents are
		err = v.log(s.path(bodiesName))
	}
	if err = errors.Join(err, lock.Close()); err != nil || v.result.Flaws.Count > 0 {
		return v.result, err
	}
	if s, err = openToRead(dir, o); err != nil {
		return v.result, err
	}
	defer s.closeToRead()
	v.store = s
	return v.result, v.contents()
}

// Verify reads everything in the store and checks it, while the store is at
// work. What is found damaged is set aside when it is claimed again.
func (s *Store) Verify(ctx context.Context, progress func(queue.Progress)) (queue.Verified, error) {
	if err := s.enter(ctx); err != nil {
		return queue.Verified{}, err
	}
	defer s.gate.leave()
	v := &verification{ctx: ctx, files: s.options.FS, tell: progress, store: s}
	if err := v.tables(); err != nil {
		return v.result, err
	}
	return v.result, v.contents()
}

// verification is one under way.
type verification struct {
	ctx      context.Context
	files    vfs.FS
	store    *Store // nil while there is none that is open
	result   queue.Verified
	progress queue.Progress
	tell     func(queue.Progress)
}

// did counts what was read. It fails when the verification is to end: whoever
// closes the store waits for it.
func (v *verification) did(octets int64) error {
	v.result.Octets += octets
	v.progress.Done += octets
	v.progress.Total = max(v.progress.Total, v.progress.Done)
	v.tell(v.progress)
	if v.store != nil && v.store.gate.isClosed() {
		return queue.ErrClosed
	}
	return v.ctx.Err()
}

func (v *verification) damaged(damage []pebblefile.Damage) {
	for _, d := range damage {
		v.result.Flaws.Add(queue.Flaw{File: d.Path, Offset: d.Offset, Cause: d.Cause})
	}
}

// database reads all files of a database that nobody has open.
func (v *verification) database(s *Store) error {
	d, err := s.openFiles()
	if err != nil {
		return err
	}
	for _, f := range d.Files {
		v.progress.Total += f.Size
	}
	v.progress.Total += v.logSize(s.path(bodiesName))
	damage, err := d.Read(func(pebblefile.Row) error { return v.ctx.Err() }, func(f pebblefile.File) {
		v.result.Files++
		_ = v.did(f.Size) // the next row asks whether to go on
	})
	v.damaged(damage)
	return err
}

// logSize is what the body log takes, as far as that can be told.
func (v *verification) logSize(path string) (total int64) {
	paths, _ := seglog.Files(v.files, path)
	for _, p := range paths {
		if info, err := v.files.Stat(p); err == nil {
			total += info.Size()
		}
	}
	return total
}

// tables reads the tables of a database that is open. Manifest and log are
// being written; they were read when it was opened.
func (v *verification) tables() error {
	levels, err := v.store.db.SSTables()
	if err != nil {
		return err
	}
	var tables []pebblefile.File
	for _, level := range levels {
		for _, t := range level {
			f := pebblefile.TableFile(v.files, v.store.path(databaseName), uint64(t.BackingSSTNum))
			f.Size = int64(t.Size)
			v.progress.Total += f.Size
			tables = append(tables, f)
		}
	}
	v.progress.Total += v.logSize(v.store.path(bodiesName))
	for _, f := range tables {
		damage, err := pebblefile.ReadTable(v.files, f, func(pebblefile.Row) error { return v.ctx.Err() })
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was compacted meanwhile
		}
		if err != nil {
			return err
		}
		v.damaged(damage)
		v.result.Files++
		if err := v.did(f.Size); err != nil {
			return err
		}
	}
	return nil
}

// log reads the body log record by record, needed or not.
func (v *verification) log(dir string) error {
	paths, err := seglog.Files(v.files, dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		err := seglog.Walk(v.files, path, func(f seglog.Found) error {
			v.result.Bodies++
			if f.Err != nil {
				v.result.Flaws.Add(queue.Flaw{Body: f.ID, Cause: plain(f.Err)})
			}
			return v.did(f.Place.Head + f.Place.Size)
		})
		if err != nil {
			return err
		}
		v.result.Files++
	}
	return nil
}

// contents decodes every entry and reads every body of a store that is open.
func (v *verification) contents() error {
	for _, u := range v.store.unreadable { // in one opened to be read only
		v.result.Flaws.Add(queue.Flaw{Entry: u.id, Cause: plain(u.cause)})
	}
	if err := v.entries(); err != nil {
		return err
	}
	bodies, err := v.store.bodies()
	if err != nil {
		return err
	}
	for _, body := range slices.Sorted(slices.Values(bodies)) {
		if err := v.body(body); err != nil {
			return err
		}
	}
	return nil
}

// entries decodes every entry. The view is not kept for longer: what is
// removed meanwhile takes its space until the view is closed.
func (v *verification) entries() error {
	view, err := v.store.view()
	if err != nil {
		return err
	}
	defer view.Close()
	for p, err := range scanPrefix(view, headerPrefix) {
		if err == nil {
			err = v.ctx.Err()
		}
		if err != nil {
			return v.tolerate("", err)
		}
		id := mail.ID(p.key[1:])
		v.result.Entries++
		if _, err := v.store.readEntry(view, id); err != nil {
			if err := v.tolerate(id, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// tolerate notes damage, and returns any other error.
func (v *verification) tolerate(entry mail.ID, err error) error {
	if !errors.Is(err, queue.ErrDamaged) {
		return err
	}
	v.result.Flaws.Add(queue.Flaw{Entry: entry, Cause: plain(err)})
	return nil
}

// body reads a content from the disk, if it is still there.
func (v *verification) body(id mail.ID) error {
	b := &body{store: v.store, id: id}
	err := b.failed(b.openStored())
	if err == nil {
		_, err = io.Copy(io.Discard, io.NewSectionReader(b, 0, b.size))
		err = errors.Join(err, b.source.Close())
	}
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return nil
	case errors.Is(err, queue.ErrDamaged):
		v.result.Flaws.Add(queue.Flaw{Body: id, Cause: plain(err)})
	case err != nil:
		return err
	}
	v.result.Bodies++
	return v.did(b.size)
}
