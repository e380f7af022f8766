// Package backup is the form of a backup on the disk, and the making and
// checking of one: a directory laid out as a data directory is, with a list
// of its files in it.
//
//	backup.json  what it is of, and the size of each file; written last
//	queue/       the store
//	journal/     the journal
//	directory/   the directory: users, domains, aliases, lists
//
// Beside these there is whatever else its caller names.
//
// It copies files, and knows nothing of what is in them; who calls it names
// them, and keeps them from going away. A directory is written under its name
// with ".partial" behind it, synced, and only then gets its name: under that
// name there is a whole backup or none.
//
// It fails when a file cannot be read or written, and leaves nothing behind
// then; what a crash leaves behind goes with the next backup to that place.
package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"postern/internal/crashpoint"
)

// File is a file that belongs to a backup.
type File struct {
	Name string `json:"name"` // in the backup, with slashes
	Size int64  `json:"size"` // in octets
	// Path is where it lies now; Fixed says that it is never written again.
	Path  string `json:"-"`
	Fixed bool   `json:"-"`
}

// Manifest says what a backup is of.
type Manifest struct {
	Version int       `json:"postern_backup"`
	Made    time.Time `json:"made"`
	Host    string    `json:"host"`
	By      string    `json:"by"` // the version of the program
	// Flaws is in how many places the store was damaged already.
	Flaws int    `json:"flaws,omitempty"`
	Files []File `json:"files"`
}

// parts are what lies at the top of the backup, in the order in which a restore gives names
// to it: with the last there is a store.
func (m *Manifest) parts() []string {
	others := make(map[string]bool)
	for i := range m.Files {
		top, _, _ := strings.Cut(m.Files[i].Name, "/")
		others[top] = true
	}
	for _, part := range Parts {
		delete(others, part)
	}
	return slices.Concat(slices.Sorted(maps.Keys(others)), Parts)
}

// Octets is the size of the whole backup.
func (m *Manifest) Octets() (octets int64) {
	for i := range m.Files {
		octets += m.Files[i].Size
	}
	return octets
}

const (
	version      = 1 // of the form
	manifestName = "backup.json"
	partial      = ".partial"
	// mark is a file in a directory that is being written.
	mark = ".postern-backup"
)

// Write makes a backup in a directory that is not there yet. check looks at
// what was written before it gets its name; what it returns becomes Flaws.
func Write(ctx context.Context, dir string, m Manifest, check func(dir string) (flaws int, err error), progress func(octets int64)) (Manifest, error) {
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(dir); err == nil {
		return m, fmt.Errorf("%s exists already; name a directory that does not", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	m.Version = version
	w := dir + partial
	if err := prepare(w); err != nil {
		return m, err
	}
	err := Copy(ctx, w, m.Files, Hard, progress)
	if err == nil {
		m.Flaws, err = check(w)
	}
	if err == nil {
		err = m.write(w)
	}
	if err == nil {
		err = errors.Join(crashpoint.Remove(filepath.Join(w, mark)), SyncDirectory(w))
	}
	if err == nil {
		err = rename(w, dir)
	}
	if err != nil {
		return m, errors.Join(err, os.RemoveAll(w))
	}
	return m, nil
}

// prepare makes the directory anew. One that is there is removed if a backup
// was being written to it.
func prepare(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		if _, err := os.Lstat(filepath.Join(dir, mark)); err != nil {
			names, listErr := os.ReadDir(dir)
			if listErr != nil || len(names) > 0 {
				return fmt.Errorf("%s exists already, and is no backup that was cut short; remove it, or name another directory", dir)
			}
		}
		err = errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))
	}
	if err != nil {
		return err
	}
	f, err := crashpoint.OpenFile(filepath.Join(dir, mark), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// write writes the manifest, and makes the names in the directory durable.
func (m *Manifest) write(dir string) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := crashpoint.OpenFile(filepath.Join(dir, manifestName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Sync(), f.Close(), SyncDirectory(dir))
}

// rename gives a directory its name, durably.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDirectory(filepath.Dir(to))
}

// Open reads the manifest of a backup, and sees to it that all its files are
// there, with Path set. It does not read them.
func Open(dir string) (Manifest, error) {
	path := filepath.Join(dir, manifestName)
	m, err := readManifest(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%s is no backup: it has no %s", dir, manifestName)
	}
	if err != nil {
		return m, err
	}
	for i := range m.Files {
		f := &m.Files[i]
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return m, fmt.Errorf("%s: files: %q is not within the backup", path, f.Name)
		}
		f.Path = filepath.Join(dir, filepath.FromSlash(f.Name))
		info, err := os.Lstat(f.Path)
		if err != nil {
			return m, err
		}
		if !info.Mode().IsRegular() || info.Size() < f.Size {
			return m, fmt.Errorf("%s: it has %d octets; %s says %d", f.Path, info.Size(), manifestName, f.Size)
		}
	}
	return m, nil
}

func readManifest(path string) (Manifest, error) {
	var m Manifest
	data, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	if m.Version != version {
		return m, fmt.Errorf("%s: postern_backup: format %d; this program knows format %d", path, m.Version, version)
	}
	return m, nil
}

// Links says whether files may share what they hold with those they are of.
type Links bool

// A file gets another name where it can (Hard), or is copied (None).
const (
	None Links = false
	Hard Links = true
)

// Copy copies files to a directory, by their names, and makes them durable.
// Files that are written again are always copied.
func Copy(ctx context.Context, dir string, files []File, links Links, progress func(octets int64)) error {
	made := []string{dir}
	known := map[string]bool{dir: true}
	for i := range files {
		f := &files[i]
		to := filepath.Join(dir, filepath.FromSlash(f.Name))
		for parent := filepath.Dir(to); !known[parent]; parent = filepath.Dir(parent) {
			known[parent] = true
			made = append(made, parent)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if links == Hard && f.Fixed && os.Link(f.Path, to) == nil { // else it is on another file system, or of another user
			progress(f.Size)
		} else if err := copyFile(ctx, f, to, progress); err != nil {
			return err
		}
	}
	for _, path := range made {
		if err := SyncDirectory(path); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// copyFile copies as much of a file as belongs to it, durably.
func copyFile(ctx context.Context, f *File, to string, progress func(octets int64)) (err error) {
	from, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	out, err := crashpoint.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	counted := &counting{ctx: ctx, to: out, progress: progress}
	n, err := io.Copy(counted, io.LimitReader(from, f.Size))
	if err == nil && n < f.Size {
		err = fmt.Errorf("%s: it has %d octets, not %d: %w", f.Path, n, f.Size, io.ErrUnexpectedEOF)
	}
	return errors.Join(err, out.Sync(), out.Close())
}

// counting counts what is copied, until ctx ends.
type counting struct {
	ctx      context.Context
	to       io.Writer
	progress func(octets int64)
}

func (c *counting) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.to.Write(p)
	c.progress(int64(n))
	return n, err
}

// SyncDirectory makes the names in a directory durable.
func SyncDirectory(path string) error {
	f, err := crashpoint.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Room fails when a file system has less room than a copy of the files takes,
// and a reserve.
func Room(dir string, need int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return nil // not every file system tells
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < need {
		return fmt.Errorf("%d MiB are free in %s, and it takes %d MiB", free>>20, dir, need>>20)
	}
	return nil
}
