// Package pebblefile reads what can be read of the files of a Pebble
// database, whatever is damaged: tables block by block, logs record by record.
// It is for checking and for salvage, when Pebble itself refuses to open the
// database or would stop at the first damaged octet.
//
// It knows nothing of levels and versions: it returns every Row that stands in
// a file, current or not. Who wants the current value of a key takes the row
// with the highest sequence number. It writes nothing, and damage is no error:
// each place is returned as a Damage, and reading goes on behind it. An error
// is one of the file system.
//
// It relies on what this project's databases are: the default comparer, point
// keys only, no range deletions, values inside the tables.
package pebblefile

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Row is one version of one key. Key and Value are good until the visit ends.
type Row struct {
	Key, Value []byte
	Seq        uint64 // versions with a higher one are newer
	Gone       bool   // the key was deleted by this version
}

// Damage is a stretch of a file that cannot be read.
type Damage struct {
	Path   string
	Offset int64 // where it begins, in octets
	// Lower and Upper are the keys before and behind what stood there, in a
	// table; nil is the beginning or end of all keys. In a log any key may be
	// concerned, and both are nil.
	Lower, Upper []byte
	Cause        string
}

// Error tells the place and what is wrong there.
func (d *Damage) Error() string {
	return fmt.Sprintf("%s, offset %d: %s", d.Path, d.Offset, d.Cause)
}

// Touches reports whether a key from lower up to, not including, upper may be
// concerned; a nil upper is the end of all keys.
func (d *Damage) Touches(lower, upper []byte) bool {
	return (d.Upper == nil || string(lower) < string(d.Upper)) && (upper == nil || d.Lower == nil || string(d.Lower) < string(upper))
}

// Kind is what a file of a database is.
type Kind int

// The kinds of files that hold data. All others can be made anew.
const (
	Other    Kind = iota
	Table         // rows, sorted
	Log           // rows, in the order in which they came
	Manifest      // which tables and logs there are
)

// File is a file of a database.
type File struct {
	Path   string
	Kind   Kind
	Number uint64 // in its name
	Size   int64  // in octets
}

// list returns the files of a database that hold data, in order of their
// numbers.
func list(files vfs.FS, dir string) ([]File, error) {
	names, err := files.List(dir)
	if err != nil {
		return nil, err
	}
	var all []File
	for _, name := range names {
		kind, number := parseName(name)
		if kind == Other {
			continue
		}
		path := files.PathJoin(dir, name)
		info, err := files.Stat(path)
		if err != nil {
			return nil, err
		}
		all = append(all, File{Path: path, Kind: kind, Number: number, Size: info.Size()})
	}
	slices.SortFunc(all, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Kind, b.Kind))
	})
	return all, nil
}

// TableFile is the file of a table with that number; its size is not filled
// in.
func TableFile(files vfs.FS, dir string, number uint64) File {
	return File{Path: files.PathJoin(dir, fmt.Sprintf(tableName, number)), Kind: Table, Number: number}
}

// tableName is the form of a table's name.
const tableName = "%06d.sst"

// parseName tells a file by its name.
func parseName(name string) (Kind, uint64) {
	for _, form := range []struct {
		format string
		kind   Kind
	}{{tableName, Table}, {"%06d.log", Log}, {"MANIFEST-%06d", Manifest}} {
		var n uint64
		if _, err := fmt.Sscanf(name, form.format, &n); err == nil && fmt.Sprintf(form.format, n) == name {
			return form.kind, n
		}
	}
	return Other, 0
}

// HoldsData reports whether a file of that name holds data of a database.
func HoldsData(name string) bool {
	kind, _ := parseName(name)
	return kind != Other
}

// contents reads a file whole. Tables and logs are small enough for that.
func contents(files vfs.FS, path string) ([]byte, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	n, err := io.ReadFull(io.NewSectionReader(f, 0, info.Size()), data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	return data[:n], nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is how Pebble stores a CRC32C.
func masked(sum uint32) uint32 { return (sum>>15 | sum<<17) + 0xa282ead8 }
