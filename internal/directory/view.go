package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"postern/internal/mail"
)

// View reads the directory in dir as it is now. It makes, locks and changes nothing, so
// that a server may have it open; what it returns answers look-ups, and nothing else. One
// that is not there is empty. It fails with ErrDamaged or ErrNewer, wrapped.
func View(ctx context.Context, dir string) (*Directory, error) {
	return view(ctx, dir, func(*Directory) error { return nil })
}

// VerifyFiles reads and compares everything in the directory in dir, as View does and then
// Verify.
func VerifyFiles(ctx context.Context, dir string) error {
	_, err := view(ctx, dir, func(d *Directory) error { return d.Verify(ctx) })
	return err
}

// view reads a directory, and calls look while its database is open.
func view(ctx context.Context, dir string, look func(*Directory) error) (*Directory, error) {
	file := filepath.Join(dir, File)
	d := &Directory{clock: mail.SystemClock{}, image: newImage(0, 0), closed: true, writing: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	d.writing <- struct{}{}
	d.keeper = idleKeeper(d)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return d, nil
	} else if err != nil {
		return nil, err
	}
	d.dialect = sqliteIn(file)
	if err := d.readOnce(ctx, file, look); err != nil {
		return nil, fmt.Errorf("directory %s: %w", file, d.dialect.explain(err))
	}
	return d, nil
}

// idleKeeper is one that writes nothing, because nothing can be written.
func idleKeeper(d *Directory) *keeper {
	k := &keeper{d: d, done: make(chan struct{}), end: func() {}, wake: make(chan struct{}, 1), users: map[string]bool{}, bans: map[string]bool{}}
	close(k.done)
	return k
}

// readOnce reads the database into the image.
func (d *Directory) readOnce(ctx context.Context, file string, look func(*Directory) error) (err error) {
	if d.reader, err = sql.Open("sqlite", readOnlyName(file)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.reader.Close()) }()
	if err := look(d); err != nil {
		return err
	}
	version := 0
	if err := d.reader.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`).Scan(&version); err != nil {
		return err
	}
	if version > len(schema) {
		return fmt.Errorf("%w: its schema is %d, this release knows %d", ErrNewer, version, len(schema))
	}
	d.image, err = d.load(ctx, version)
	return err
}

// readOnlyName names a database that is opened to read. Without a log beside it nobody has
// it open, and SQLite must not make one.
func readOnlyName(file string) string {
	values := url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", busy), "query_only(1)"}, "mode": {"ro"}}
	if _, err := os.Stat(file + "-wal"); errors.Is(err, fs.ErrNotExist) {
		values.Set("immutable", "1")
	}
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: values.Encode()}
	return name.String()
}
