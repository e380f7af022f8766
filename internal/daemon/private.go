package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/admin"
	"postern/internal/backup"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/credentials"
	"postern/internal/directory"
	"postern/internal/dkim"
	"postern/internal/mail"
	"postern/internal/privatedir"
	"postern/internal/queue"
)

// This file has the part of a backup that is private: the directory, and the files with keys.

// The names of what has keys, in a data directory and in a backup.
const (
	keysName           = "dkim"
	certificatesName   = "certificates"
	acmeName           = "acme"
	credentialsKeyName = "credentials.key"
)

// copiesName is the directory, in a data directory, of the copies that a backup is made of. It is gone
// when the backup has ended, and cleared at each start.
const copiesName = "snapshot"

func copiesDir(c *config.Config) string { return filepath.Join(c.DataDir, copiesName) }

// privateCopies are copies of what is private, which stay as they are until they are removed.
type privateCopies struct {
	dir   string
	files []admin.SnapshotFile
	// keyFile is the key file of credentials that is not among them, although something is sealed
	// under it; "" for none.
	keyFile string
}

// copyPrivate makes copies of the directory d, which may be nil, and of the files with keys. There is one
// backup at a time, because the store has one snapshot.
func copyPrivate(ctx context.Context, c *config.Config, d *directory.Directory, o admin.SnapshotOrder) (p *privateCopies, err error) {
	p = &privateCopies{dir: copiesDir(c)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	if err := p.begin(c); err != nil {
		return p, err
	}
	for name, dir := range map[string]string{keysName: keysDir(c), certificatesName: certificatesDir(c)} {
		err := privatedir.Dir(dir).ReadAll(func(file string, data []byte) error { return p.add(name+"/"+file, data) })
		if err != nil {
			return p, err
		}
	}
	issued, err := certs.ReadACME(ctx, acmeDir(c))
	if err != nil {
		return p, err
	}
	for _, name := range slices.Sorted(maps.Keys(issued)) {
		if err := p.add(acmeName+"/"+name, issued[name]); err != nil {
			return p, err
		}
	}
	if d == nil {
		return p, nil
	}
	return p, p.addRecords(ctx, d, c.CredentialsKey(), o.KeyFile)
}

// roomForRecords refuses a copy of the directory after which less than the reserve would be free for
// a server that goes on: queue.ErrFull.
func roomForRecords(c *config.Config, reserve int64) error {
	need := reserve
	for _, file := range []string{directory.File, directory.File + "-wal"} {
		if info, err := os.Stat(filepath.Join(directoryDir(c), file)); err == nil {
			need += info.Size()
		}
	}
	if err := backup.Room(c.DataDir, need); err != nil {
		return fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return nil
}

// begin makes the directory anew: one that a crash has left behind is replaced. What root makes
// can be removed by the server.
func (p *privateCopies) begin(c *config.Config) error {
	give, err := ownerOf(c.DataDir)
	if err != nil {
		return err
	}
	if err := p.remove(); err != nil {
		return err
	}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return err
	}
	return give(p.dir)
}

func (p *privateCopies) remove() error { return os.RemoveAll(p.dir) }

// add makes the copy of one file. It need not survive a crash.
func (p *privateCopies) add(name string, data []byte) error {
	path := filepath.Join(p.dir, fmt.Sprint(len(p.files)))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // no link is followed that somebody has put there
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	p.files = append(p.files, admin.SnapshotFile{Name: name, Path: path, Size: int64(len(data))})
	return nil
}

// addRecords makes the copy of the directory, and of the key file if it is to be there.
func (p *privateCopies) addRecords(ctx context.Context, d *directory.Directory, keyFile string, withKeys bool) error {
	path := filepath.Join(p.dir, directory.File)
	if !withKeys {
		if credentials.HasSealed(d) {
			p.keyFile = keyFile
		}
		if err := d.Snapshot(ctx, path); err != nil {
			return err
		}
		return p.addFile(directoryName+"/"+directory.File, path)
	}
	text, err := copiedWith(credentials.NewKeyring(keyFile).Read, func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return d.Snapshot(ctx, path)
	})
	if err == nil {
		err = p.addFile(directoryName+"/"+directory.File, path)
	}
	if err != nil || text == nil { // nothing was ever sealed
		return err
	}
	return p.add(credentialsKeyName, text)
}

// addFile adds a copy that is there, and is never written again.
func (p *privateCopies) addFile(name, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	p.files = append(p.files, admin.SnapshotFile{Name: name, Path: path, Size: info.Size(), Fixed: true})
	return nil
}

// keyFileTries is how often a copy of the directory is begun anew because the key file has changed
// meanwhile.
const keyFileTries = 5

// copiedWith copies a directory, and returns the key file that belongs to the copy. A rekey writes the file
// before and after all that it seals anew: what is copied while the file stays the same is sealed under the keys in it.
func copiedWith(keyFile func() ([]byte, error), copyDirectory func() error) ([]byte, error) {
	before, err := keyFile()
	if err != nil {
		return nil, err
	}
	for range keyFileTries {
		if err := copyDirectory(); err != nil {
			return nil, err
		}
		after, err := keyFile()
		if err != nil || bytes.Equal(before, after) {
			return after, err
		}
		before = after
	}
	return nil, &admin.Problem{Status: http.StatusConflict, Title: "Busy", Detail: "the key file of credentials changes all the while: try again when it does no more"}
}

// copyPrivate makes copies of what is private of this server, for which there must be room.
func (d *Daemon) copyPrivate(ctx context.Context, o admin.SnapshotOrder) (*privateCopies, error) {
	g := d.inForce()
	if err := roomForRecords(g.config, reserve(g)); err != nil {
		return nil, err
	}
	return copyPrivate(ctx, g.config, d.directory, o)
}

// copyPrivate makes copies of what is private of a server that does not run.
func (m Maintenance) copyPrivate(ctx context.Context, o admin.SnapshotOrder) (p *privateCopies, err error) {
	dir := directoryDir(m.Config)
	if _, err := os.Stat(filepath.Join(dir, directory.File)); errors.Is(err, fs.ErrNotExist) {
		return copyPrivate(ctx, m.Config, nil, o)
	}
	d, err := directory.Open(ctx, directory.Options{Dir: dir, Logger: m.Logger})
	if err != nil {
		return nil, err
	}
	p, err = copyPrivate(ctx, m.Config, d, o)
	if closed := d.Close(); closed != nil && err == nil {
		err = errors.Join(closed, p.remove())
	}
	return p, err
}

// verifyPrivate says which keys in a copy of a data directory cannot be used. It fails when the directory
// in it is damaged.
func verifyPrivate(ctx context.Context, dir string) (faults []string, err error) {
	if err := directory.VerifyFiles(ctx, filepath.Join(dir, directoryName)); err != nil {
		return nil, err
	}
	found := func(err error) {
		if err != nil {
			faults = append(faults, strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
		}
	}
	if keys, err := dkim.OpenStore(filepath.Join(dir, keysName), mail.SystemClock{}); err != nil {
		found(err)
	} else {
		for _, e := range keys.Entries() {
			found(e.Err)
		}
	}
	if store, err := certs.OpenStore(filepath.Join(dir, certificatesName), mail.SystemClock{}); err != nil {
		found(err)
	} else {
		for _, e := range store.Entries() {
			found(e.Err)
		}
	}
	found(certs.VerifyACME(filepath.Join(dir, acmeName)))
	if key := filepath.Join(dir, credentialsKeyName); exists(key) {
		err := unsealable(ctx, dir, key)
		found(err)
	}
	return faults, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// unsealable fails with why the secrets in the directory below a data directory cannot be unsealed.
func unsealable(ctx context.Context, dataDir, keyFile string) error {
	d, err := directory.View(ctx, filepath.Join(dataDir, directoryName))
	if err != nil {
		return err
	}
	return credentials.NewKeyring(keyFile).Verify(d)
}
