package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/seglog"
)

// snapshotName is the directory of a snapshot, below that of the store, since
// the names in it are further names of the store's files.
const snapshotName = "snapshot"

// File is a file of a store.
type File struct {
	Name string // in the directory of a store
	Path string // where it lies now
	// Size is how many octets belong to it.
	Size int64
	// Fixed says that it is never written again, under any of its names.
	Fixed bool
}

// Snapshot is the store as it was at one moment. While there is one the files
// in it take their space, whatever the store removes.
type Snapshot struct {
	Files []File
	store *Store
}

// ErrSnapshot says that there is a snapshot already.
var ErrSnapshot = errors.New("a backup is being made already")

// Snapshot makes a snapshot: a checkpoint of the database, then further names
// for the body log, and nothing is freed before it has them. So a content is
// there of every entry that is, and all that was durable when it began is in
// it. Commits go on all the while. Release it; a start of the store does so
// too. Errors: ErrSnapshot, queue.ErrFull.
func (s *Store) Snapshot(ctx context.Context) (*Snapshot, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	select {
	case s.snapshots <- struct{}{}:
	default:
		return nil, ErrSnapshot
	}
	snapshot := &Snapshot{store: s}
	if err := snapshot.make(); err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot: %w", fullError(err)), snapshot.Release())
	}
	return snapshot, nil
}

func (n *Snapshot) make() error {
	s, files := n.store, n.store.options.FS
	dir := s.path(snapshotName)
	if err := files.RemoveAll(dir); err != nil {
		return err
	}
	if err := s.checkSpace(s.options.Reserve + s.logSize()); err != nil {
		return err
	}
	bodies := files.PathJoin(dir, bodiesName)
	if err := files.MkdirAll(bodies, 0o700); err != nil {
		return err
	}
	s.reclaimer.freeing.Lock()
	defer s.reclaimer.freeing.Unlock()
	if err := s.checkpoint(files.PathJoin(dir, databaseName)); err != nil {
		return err
	}
	linked, err := s.log.Link(bodies)
	if err != nil {
		return err
	}
	if n.Files, err = databaseFiles(files, dir); err != nil {
		return err
	}
	for _, one := range linked {
		n.Files = append(n.Files, File{
			Name: path.Join(bodiesName, one.Name), Path: files.PathJoin(bodies, one.Name), Size: one.Size, Fixed: !one.Active,
		})
	}
	n.Files = append(n.Files, File{Name: madeName, Path: s.path(madeName), Fixed: true})
	return nil
}

// logSize is what the logs of the database take, which a checkpoint copies.
func (s *Store) logSize() (size int64) {
	return int64(s.db.Metrics().WAL.PhysicalSize)
}

// Release removes the snapshot.
func (n *Snapshot) Release() error {
	err := n.store.options.FS.RemoveAll(n.store.path(snapshotName))
	<-n.store.snapshots
	return err
}

// databaseFiles lists the files of the database in a directory. Tables are
// never written again; logs are written over by a later start.
func databaseFiles(files vfs.FS, dir string) ([]File, error) {
	database := files.PathJoin(dir, databaseName)
	names, err := files.List(database)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []File
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		p := files.PathJoin(database, name)
		info, err := files.Stat(p)
		if err != nil {
			return nil, err
		}
		fixed := strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
		list = append(list, File{Name: path.Join(databaseName, name), Path: p, Size: info.Size(), Fixed: fixed})
	}
	return list, nil
}

// Files lists the files of a store that nobody has open, and keeps it so
// until the lock is closed. It reads none of them: they may be damaged.
func Files(dir string, o Options) (list []File, lock io.Closer, err error) {
	s := newStore(dir, o)
	if lock, err = s.lockToRead(); err == nil {
		if list, err = s.allFiles(); err != nil {
			err = errors.Join(err, lock.Close())
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("queue in %s: %w", dir, err)
	}
	return list, lock, nil
}

func (s *Store) allFiles() ([]File, error) {
	if err := s.checkFormat(); err != nil {
		return nil, err
	}
	files := s.options.FS
	list, err := databaseFiles(files, s.dir)
	if err != nil {
		return nil, err
	}
	bodies, err := seglog.Files(files, s.path(bodiesName))
	if err != nil {
		return nil, err
	}
	for _, p := range bodies {
		info, err := files.Stat(p)
		if err != nil {
			return nil, err
		}
		list = append(list, File{Name: path.Join(bodiesName, files.PathBase(p)), Path: p, Size: info.Size(), Fixed: true})
	}
	if made, err := s.exists(madeName); err != nil {
		return nil, err
	} else if made {
		list = append(list, File{Name: madeName, Path: s.path(madeName), Fixed: true})
	}
	return list, nil
}
