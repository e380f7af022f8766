package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/admin"
	"postern/internal/backup"
	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// The parts of a data directory.
const (
	queueName   = "queue"
	journalName = "journal"
)

// snapshot makes a snapshot of store, directory, keys and journal, in this order: what the
// others have handed to the journal by then is in there. Who has it made, and of what, is a fact.
func (d *Daemon) snapshot(ctx context.Context, actor string, o admin.SnapshotOrder) (admin.Snapshot, error) {
	stored, err := d.snapshotStore(ctx)
	if err != nil {
		return admin.Snapshot{}, err
	}
	private, err := d.copyPrivate(ctx, o)
	if err != nil {
		return admin.Snapshot{}, errors.Join(err, stored.Release())
	}
	// The store last: the next backup begins when that is released, and has the same places for its files.
	release := func() error { return errors.Join(d.journal.Unlink(), private.remove(), stored.Release()) }
	linked, err := d.journal.Link()
	if err != nil {
		return admin.Snapshot{}, errors.Join(err, release())
	}
	s := admin.Snapshot{Files: private.files, KeyFile: private.keyFile, Release: release}
	for _, f := range stored.Files {
		s.Files = append(s.Files, admin.SnapshotFile{Name: queueName + "/" + f.Name, Path: f.Path, Size: f.Size, Fixed: f.Fixed})
	}
	for _, f := range linked {
		s.Files = append(s.Files, admin.SnapshotFile{Name: journalName + "/" + f.Name, Path: f.Path, Size: f.Size, Fixed: f.Fixed})
	}
	if err := absolute(s.Files); err != nil {
		return admin.Snapshot{}, errors.Join(err, release())
	}
	d.journal.Record(mail.Fact{Reason: mail.ReasonBackedUp, Time: d.clock.Now(), Actor: actor, Text: backedUp(o.To, s.Files)})
	return s, nil
}

// backedUp says of what a backup is, and where that goes.
func backedUp(to string, files []admin.SnapshotFile) string {
	var parts []string
	for _, f := range files {
		part, _, _ := strings.Cut(f.Name, "/")
		parts = append(parts, part)
	}
	slices.Sort(parts)
	return fmt.Sprintf("to %s: %s", cmp.Or(to, "a place that was not told"), strings.Join(slices.Compact(parts), ", "))
}

// snapshotStore gives a backup that has just ended the time to be noticed.
func (d *Daemon) snapshotStore(ctx context.Context) (*embedded.Snapshot, error) {
	for tries := 0; ; tries++ {
		stored, err := d.store.Snapshot(ctx)
		if !errors.Is(err, embedded.ErrSnapshot) {
			return stored, err
		}
		if tries >= snapshotTries {
			return nil, fmt.Errorf("%w: %w", admin.ErrBusy, err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// snapshotTries is how often, ten times a second, a snapshot is tried while
// there is another.
const snapshotTries = 20

// absolute makes paths good for another process.
func absolute(files []admin.SnapshotFile) (err error) {
	for i := range files {
		var wrong error
		files[i].Path, wrong = filepath.Abs(files[i].Path)
		err = errors.Join(err, wrong)
	}
	return err
}

// Backup is what came of a backup.
type Backup struct {
	backup.Manifest
	Octets int64 `json:"octets"`
	// Damage is what was damaged in the store, and is in the backup.
	Damage queue.Flaws `json:"damage"`
	// Keys are the parts of it that have private keys.
	Keys []string `json:"keys"`
	// KeyFile is the key file of credentials that a backup is without, although something is sealed under it.
	KeyFile string `json:"key_file,omitempty"`
	// Sealed is why what is sealed cannot be read where a backup was restored.
	Sealed string `json:"sealed,omitempty"`
}

// Backup writes a backup of the store of a server that does not run.
func (m Maintenance) Backup(ctx context.Context, dir, version string, o admin.SnapshotOrder, progress func(queue.Progress)) (b Backup, err error) {
	stored, lock, err := embedded.Files(queueDir(m.Config), m.options())
	if err != nil {
		return b, namedInUse(m.Config, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	journaled, held, err := journal.Files(journalDir(m.Config))
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	var files []admin.SnapshotFile
	for _, f := range stored {
		files = append(files, admin.SnapshotFile{Name: queueName + "/" + f.Name, Path: f.Path, Size: f.Size, Fixed: f.Fixed})
	}
	for _, f := range journaled {
		files = append(files, admin.SnapshotFile{Name: journalName + "/" + f.Name, Path: f.Path, Size: f.Size, Fixed: f.Fixed})
	}
	private, err := m.copyPrivate(ctx, o)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, private.remove()) }()
	files = append(files, private.files...)
	ready := admin.SnapshotReady{Made: time.Now(), Host: m.Config.Hostname, Version: version, KeyFile: private.keyFile}
	return m.WriteBackup(ctx, dir, ready, files, progress)
}

// WriteBackup writes files, which stay as they are, to a backup, and verifies
// that.
func (m Maintenance) WriteBackup(ctx context.Context, dir string, of admin.SnapshotReady, files []admin.SnapshotFile, progress func(queue.Progress)) (b Backup, err error) {
	b.Manifest = backup.Manifest{Made: of.Made, Host: of.Host, By: of.Version}
	for _, f := range files {
		b.Files = append(b.Files, backup.File{Name: f.Name, Size: f.Size, Path: f.Path, Fixed: f.Fixed})
	}
	b.Octets, b.KeyFile = b.Manifest.Octets(), of.KeyFile
	b.findKeys()
	done := queue.Progress{Total: 2 * b.Octets} // written, then read
	b.Manifest, err = backup.Write(ctx, dir, b.Manifest, func(written string) (int, error) {
		v, err := m.verifyCopy(ctx, written, func(p queue.Progress) {
			progress(queue.Progress{Done: b.Octets + p.Done, Total: b.Octets + max(p.Total, b.Octets)})
		})
		b.Damage = v.Flaws
		return v.Flaws.Count, err
	}, func(octets int64) {
		done.Done += octets
		progress(done)
	})
	return b, err
}

// findKeys finds the parts with private keys.
func (b *Backup) findKeys() {
	b.Keys = []string{}
	for _, part := range []string{acmeName, certificatesName, credentialsKeyName, keysName} {
		if slices.ContainsFunc(b.Files, func(f backup.File) bool { return f.Name == part || strings.HasPrefix(f.Name, part+"/") }) {
			b.Keys = append(b.Keys, part)
		}
	}
}

// verifyCopy verifies a copy of a data directory.
func (m Maintenance) verifyCopy(ctx context.Context, dir string, progress func(queue.Progress)) (queue.Verified, error) {
	faults, err := verifyPrivate(ctx, dir)
	if err != nil {
		return queue.Verified{}, err
	}
	store := filepath.Join(dir, queueName)
	v, err := embedded.Verify(ctx, store, m.options(), progress)
	if err == nil {
		err = os.Remove(filepath.Join(store, "lock")) // it is no part of a copy
	}
	for _, fault := range faults {
		v.Flaws.Add(queue.Flaw{Cause: fault})
	}
	return v, err
}

// DamagedError says that a backup is of a damaged store, or of keys that cannot be used.
type DamagedError struct{ Flaws queue.Flaws }

// Error says in how many places.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("what is in the backup is damaged in %d places", e.Flaws.Count)
}

// Restore restores a backup into the data directory, which must not have a
// store. Delivery is suspended in it. A store that is damaged is not restored,
// unless that is allowed and it is but in contents and entries: *DamagedError.
func (m Maintenance) Restore(ctx context.Context, from string, damaged bool, progress func(queue.Progress)) (b Backup, err error) {
	reserve := max(m.Config.Pressure.MinFreeSpace, embedded.DefaultReserve)
	var done queue.Progress
	ready := func(dir string, of backup.Manifest) error {
		v, err := m.verifyCopy(ctx, dir, func(p queue.Progress) {
			progress(queue.Progress{Done: of.Octets() + p.Done, Total: of.Octets() + max(p.Total, of.Octets())})
		})
		b.Damage = v.Flaws
		if err == nil && v.Flaws.Count > 0 && !damaged {
			err = &DamagedError{v.Flaws}
		}
		if err != nil {
			return err
		}
		return m.suspend(ctx, dir, of)
	}
	copied := func(octets int64) {
		done.Done += octets
		done.Total = max(done.Total, 2*done.Done)
		progress(done)
	}
	b.Manifest, err = backup.Restore(ctx, from, backup.Into{DataDir: m.Config.DataDir, Reserve: reserve, Ready: ready, Progress: copied})
	if err != nil {
		return b, err
	}
	b.Octets = b.Manifest.Octets()
	b.findKeys()
	if wrong := unsealable(ctx, m.Config.DataDir, m.Config.CredentialsKey()); wrong != nil {
		b.Sealed = wrong.Error()
		if restored := filepath.Join(m.Config.DataDir, credentialsKeyName); restored != m.Config.CredentialsKey() && exists(restored) {
			b.Sealed += "; that of the backup is " + restored
		}
	}
	return b, nil
}

// suspend suspends delivery in a store that was restored: its journal cannot
// know what was delivered since.
func (m Maintenance) suspend(ctx context.Context, dir string, of backup.Manifest) (err error) {
	c := &config.Config{DataDir: dir}
	store, err := embedded.Open(queueDir(c), m.options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	j, err := journal.Open(journalDir(c), journal.Options{Logger: m.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if err := j.Trim(ctx, queue.FactSource, store); err != nil {
		return err
	}
	if err := m.matchDirectory(ctx, dir, j); err != nil {
		return err
	}
	mark := queue.Mark{
		Kind: queue.MarkSuspendDelivery, Key: queue.All, At: time.Now(), Actor: "restore",
		Value: "restored from a backup of " + of.Made.UTC().Format("2006-01-02 15:04:05 UTC") + ": mail delivered since then would be sent again",
	}
	return store.PutMark(ctx, mark, mail.Fact{Time: mark.At, Reason: mail.ReasonMarked, Actor: mark.Actor, Text: "delivery suspended: " + mark.Value})
}

// matchDirectory numbers the facts of a directory behind those that the journal has.
func (m Maintenance) matchDirectory(ctx context.Context, dir string, j *journal.Journal) error {
	d, err := directory.Open(ctx, directory.Options{Dir: filepath.Join(dir, directoryName), Logger: m.Logger})
	if err != nil {
		return err
	}
	return errors.Join(j.Trim(ctx, directory.Source, d), d.Close())
}

// checkRestored refuses a data directory in which a restore was cut short.
func checkRestored(c *config.Config) error {
	path := filepath.Join(c.DataDir, backup.Restoring)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("data_dir %s: a restore was cut short; repeat `postern restore` with the same backup, or give it up and remove %s", c.DataDir, path)
}
