package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postern/internal/crashpoint"
)

// Restoring is the directory, below a data directory, in which a restore is
// made ready. While it is there no server may start.
const Restoring = "restoring"

// Parts are the directories of every backup, in the order in which a restore gives
// them their names, behind all else: with the last there is a store.
var Parts = []string{"directory", "journal", "queue"}

// Into is where a backup is restored, and how. All is required but Reserve.
type Into struct {
	// DataDir is the data directory, which holds nothing of the kind yet.
	DataDir string
	// Reserve is what must be free besides, in octets.
	Reserve int64
	// Ready makes the copy fit for a start; what it has made must be durable.
	Ready func(dir string, m Manifest) error
	// Progress is told of octets that were copied.
	Progress func(octets int64)
}

// Restore copies a backup into a data directory. When it is cut short, it goes on when it is
// repeated with the same backup.
func Restore(ctx context.Context, from string, into Into) (Manifest, error) {
	m, err := Open(from)
	if err != nil {
		return m, err
	}
	r := restore{Into: into, dir: filepath.Join(into.DataDir, Restoring), parts: m.parts()}
	if err := r.begin(); err != nil {
		return m, err
	}
	defer r.lock.Close()
	whole, err := r.isReady(m)
	if err != nil {
		return m, err
	}
	if !whole {
		if err := r.makeReady(ctx, m); err != nil {
			return m, errors.Join(err, r.abandon())
		}
	}
	return m, r.finish()
}

// restore is one under way.
type restore struct {
	Into
	dir   string
	parts []string // of the backup
	lock  *os.File // dir
}

// begin takes the data directory, unless it holds something.
func (r *restore) begin() error {
	if _, err := os.Lstat(r.dir); errors.Is(err, fs.ErrNotExist) {
		for _, part := range r.parts {
			if _, err := os.Lstat(filepath.Join(r.DataDir, part)); err == nil {
				return fmt.Errorf("data_dir %s has a %s already; a restore never goes over one: set another data_dir, or move it away", r.DataDir, part)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	var err error
	if r.lock, err = os.Open(r.dir); err != nil {
		return err
	}
	if err = syscall.Flock(int(r.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("%s: another restore is under way: %w", r.dir, err)
	} else {
		err = errors.Join(SyncDirectory(r.DataDir), SyncDirectory(filepath.Dir(r.DataDir)))
	}
	if err != nil {
		r.lock.Close()
	}
	return err
}

// isReady reports whether an earlier restore got as far as to give names.
func (r *restore) isReady(m Manifest) (bool, error) {
	path := filepath.Join(r.dir, manifestName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return r.isOver()
	}
	was, err := readManifest(path)
	if err == nil && !was.Made.Equal(m.Made) {
		err = fmt.Errorf("%s: a restore of another backup, of %s, was cut short; repeat that", r.dir, was.Made.Local().Format("2006-01-02 15:04:05"))
	}
	return err == nil, err
}

// isOver reports whether all parts have their names: no server starts while
// there is a restore, and none begins where there are parts.
func (r *restore) isOver() (bool, error) {
	for _, part := range r.parts {
		if _, err := os.Lstat(filepath.Join(r.DataDir, part)); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *restore) makeReady(ctx context.Context, m Manifest) error {
	if err := r.clear(); err != nil {
		return err
	}
	if err := Room(r.dir, m.Octets()+r.Reserve); err != nil {
		return err
	}
	if err := Copy(ctx, r.dir, m.Files, None, r.Progress); err != nil {
		return err
	}
	for _, part := range Parts {
		if err := os.MkdirAll(filepath.Join(r.dir, part), 0o700); err != nil {
			return err
		}
	}
	if err := r.Ready(r.dir, m); err != nil {
		return err
	}
	if err := r.give(); err != nil {
		return err
	}
	m.Files = nil
	return m.write(r.dir)
}

// give gives everything to the owner of the data directory, if root restores:
// the server may run as another user.
func (r *restore) give() error {
	info, err := os.Stat(r.DataDir)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return filepath.WalkDir(r.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

// clear removes what an earlier restore had copied.
func (r *restore) clear() error {
	names, err := os.ReadDir(r.dir)
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(r.dir, name.Name())))
	}
	return err
}

// abandon leaves the data directory as it was found.
func (r *restore) abandon() error {
	return errors.Join(os.RemoveAll(r.dir), SyncDirectory(r.DataDir))
}

// finish gives the parts their names. Each step is durable before the next.
func (r *restore) finish() error {
	for _, part := range r.parts {
		from, to := filepath.Join(r.dir, part), filepath.Join(r.DataDir, part)
		if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			continue // done before
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
		if err := errors.Join(SyncDirectory(r.DataDir), SyncDirectory(r.dir)); err != nil {
			return err
		}
	}
	err := crashpoint.Remove(filepath.Join(r.dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // done before
	}
	return errors.Join(err, os.Remove(r.dir), SyncDirectory(r.DataDir))
}
