package seglog

import (
	"errors"
	"io/fs"
	"syscall"
)

// Linked is a file of the log that was given another name.
type Linked struct {
	Name string // of the file, in either directory
	// Size is how many octets of it were written by then.
	Size int64
	// Active says that more is being written to it, under both names.
	Active bool
}

// Link gives every segment and file another name, in a directory on the same
// file system: what they hold stays readable there, whatever becomes of them
// here. Until it returns nothing that was needed may be freed.
func (l *Log) Link(dir string) ([]Linked, error) {
	all := l.linking()
	linked := all[:0]
	for _, one := range all {
		err := l.options.FS.Link(l.path(one.Name), l.options.FS.PathJoin(dir, one.Name))
		if errors.Is(err, fs.ErrNotExist) && !l.has(one.Name) {
			continue // it held nothing that was ever referred to
		}
		if err != nil {
			return nil, err
		}
		linked = append(linked, one)
	}
	return linked, nil
}

// linking lists what there is. The file of a segment that is linked is not
// written over any more.
func (l *Log) linking() []Linked {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Linked
	for _, g := range l.segments {
		g.linked = true
		all = append(all, Linked{Name: segmentName(g.number), Size: g.size, Active: !g.closed})
	}
	for id, f := range l.files {
		all = append(all, Linked{Name: ownName(id), Size: f.size})
	}
	return all
}

func (l *Log) has(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	number, id, kind := parseName(name)
	if kind == segmentFile {
		return l.segments[number] != nil
	}
	return l.files[id] != nil
}

// hasOtherNames reports whether a file has a name elsewhere, as one that is in
// a backup has. Not every file system tells.
func (l *Log) hasOtherNames(name string) bool {
	info, err := l.options.FS.Stat(l.path(name))
	if err != nil {
		return false
	}
	system, ok := info.Sys().(*syscall.Stat_t)
	return ok && system.Nlink > 1
}
