package pebblefile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Database is the files of a database.
type Database struct {
	Files     []File // those that are to be read
	Unsettled bool   // which files are current is not known: all are in Files
	// Damage is what was found in manifest and logs.
	Damage []Damage

	files    vfs.FS
	current  File // the manifest in force
	manifest manifest
	logs     []File
}

// Check checks the manifest and the logs of the database in a directory, whose
// damage Pebble does not always see. Nobody may write to it meanwhile. Errors:
// fs.ErrNotExist when there is no database.
func Check(files vfs.FS, dir string) ([]Damage, error) {
	d := &Database{files: files}
	_, err := d.examine(dir)
	return d.Damage, err
}

// Missing is a database of which no file is left: any row may have been in it.
func Missing(files vfs.FS, dir string) *Database {
	return &Database{files: files, Unsettled: true, Damage: []Damage{{Path: dir, Cause: "the database is missing, but there are contents"}}}
}

// Open checks a database as Check does, and finds out which of its files are
// to be read. Errors: fs.ErrNotExist when there is no database.
func Open(files vfs.FS, dir string) (*Database, error) {
	d := &Database{files: files}
	all, err := d.examine(dir)
	if err != nil {
		return nil, err
	}
	return d, d.choose(dir, all)
}

// examine lists the files of a database, and checks its manifest and logs.
func (d *Database) examine(dir string) ([]File, error) {
	all, err := list(d.files, dir)
	if err != nil {
		return nil, err
	}
	about, err := pebble.Peek(dir, d.files)
	if err != nil {
		return nil, err
	}
	if !about.Exists && !slices.ContainsFunc(all, func(f File) bool { return f.Kind != Manifest }) {
		// Or one that was being made when the power went: a manifest comes
		// into force before there are logs and tables.
		return nil, fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	current := slices.IndexFunc(all, func(f File) bool { return f.Kind == Manifest && f.Path == about.ManifestFilename })
	if current < 0 {
		d.Damage = append(d.Damage, Damage{Path: dir, Cause: "the manifest is missing"})
		return all, nil
	}
	return all, d.check(all[current], all)
}

// check checks the manifest in force, and the logs that it needs.
func (d *Database) check(current File, all []File) error {
	m, damage, err := readManifest(d.files, current)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Kind == Log && f.Number >= m.oldest {
			d.logs = append(d.logs, f)
		}
	}
	first := uint64(0)
	found, err := readLogs(d.files, d.logs, func(r Row) error {
		first = cmp.Or(first, r.Seq)
		return nil
	})
	d.current, d.manifest = current, m
	if damage == nil {
		damage = m.lost(current, d.logs, first)
	}
	if damage != nil {
		d.Damage = append(d.Damage, *damage)
	}
	d.Damage = append(d.Damage, found...)
	return err
}

// choose decides which files are to be read: those in use if that can be
// told, else all.
func (d *Database) choose(dir string, all []File) error {
	live := make(map[uint64]bool)
	if d.Unsettled = len(d.Damage) > 0; !d.Unsettled {
		var err error
		if live, err = liveTables(d.files, dir); err != nil {
			d.Unsettled = true
			d.Damage = append(d.Damage, d.unopenable(dir, err))
		}
	}
	for _, f := range all {
		if f.Kind == Table && (d.Unsettled || live[f.Number]) {
			d.Files = append(d.Files, f)
		}
	}
	if d.Unsettled {
		d.logs = slices.DeleteFunc(all, func(f File) bool { return f.Kind != Log })
	}
	d.Files = append(d.Files, d.logs...)
	return nil
}

// unopenable says where the damage is that keeps Pebble from opening a
// database whose logs are whole.
func (d *Database) unopenable(dir string, err error) Damage {
	if d.manifest.torn(d.current) {
		return *d.manifest.inForce(d.current, err.Error())
	}
	return Damage{Path: dir, Cause: err.Error()}
}

// Read visits every row of the files, and returns what cannot be read: what
// Open found, and what is damaged in tables. The rows of a file come together,
// and progress is told of each file when it has been read.
func (d *Database) Read(visit func(Row) error, progress func(File)) ([]Damage, error) {
	damage := slices.Clone(d.Damage)
	for _, f := range d.Files {
		if f.Kind == Table {
			found, err := ReadTable(d.files, f, visit)
			if err != nil {
				return damage, err
			}
			damage = append(damage, found...)
			progress(f)
		}
	}
	if _, err := readLogs(d.files, d.logs, visit); err != nil { // their damage is known
		return damage, err
	}
	for _, f := range d.logs {
		progress(f)
	}
	return damage, nil
}

// liveTables returns the numbers of the tables that the database uses. Others
// are left over, or were not finished.
func liveTables(files vfs.FS, dir string) (numbers map[uint64]bool, err error) {
	db, err := pebble.Open(dir, &pebble.Options{FS: files, ReadOnly: true, Logger: silent{}, ErrorIfNotExists: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	levels, err := db.SSTables()
	if err != nil {
		return nil, err
	}
	numbers = make(map[uint64]bool)
	for _, level := range levels {
		for _, t := range level {
			numbers[uint64(t.BackingSSTNum)] = true
		}
	}
	return numbers, nil
}

// silent keeps Pebble from talking, and from ending the process.
type silent struct{}

// Infof does nothing.
func (silent) Infof(string, ...any) {}

// Errorf does nothing.
func (silent) Errorf(string, ...any) {}

// Fatalf does nothing: what was asked of Pebble fails.
func (silent) Fatalf(string, ...any) {}
