package privatedir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/internal/mail"
	"postern/internal/stamp"
)

// RecordsFile is the file of a Store that has what is noted of the others.
const RecordsFile = "records.json"

// Store is a directory as it was read, with what is noted of its files: R is that, as JSON, and
// C what a package makes of all. Another process may change the directory, too: each change is
// made under its lock, on what is there then. It is safe for use by several goroutines.
type Store[R, C any] struct {
	dir   Dir
	clock mail.Clock
	form  Form[R, C]

	// content is replaced as a whole, so that nobody who uses it waits for a disk.
	content atomic.Pointer[C]

	changing sync.Mutex  // held while the directory is read or changed
	read     stamp.Stamp // of the directory
}

// Form is what a package makes of a directory.
type Form[R, C any] struct {
	// Read makes it of what was found. A file that is wrong should keep nobody from the others.
	// before is what was in use until now: nil the first time, and for a change, which is about what is there.
	Read func(f *Found[R], before *C) (*C, error)
	// Records returns what is to be noted.
	Records func(*C) R
}

// Found is what there is in a directory.
type Found[R any] struct {
	Dir Dir
	// Records are what is noted; Noted says that there is such a file.
	Records R
	Noted   bool
	// Names are those of all files, in order.
	Names []string
	Now   time.Time
}

// Files are what a change writes, by name; nil is a file that is removed.
type Files map[string][]byte

// Open reads a directory; one that is not there is empty. It fails when the directory or its
// records cannot be read, or with the error of Form.Read.
func Open[R, C any](dir string, clock mail.Clock, form Form[R, C]) (*Store[R, C], error) {
	s := &Store[R, C]{dir: Dir(dir), clock: clock, form: form}
	if err := s.readAgain(); err != nil {
		return nil, err
	}
	return s, nil
}

// Dir returns the directory.
func (s *Store[R, C]) Dir() Dir { return s.dir }

// Content returns what is in use. It must not be changed.
func (s *Store[R, C]) Content() *C { return s.content.Load() }

// Look reads the directory again if it has changed: another process can. When that
// fails, what was read before stays in use. It returns what was in use before, nil if there is nothing new.
func (s *Store[R, C]) Look() (before *C, err error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.read.Stands(string(s.dir)) {
		return nil, nil
	}
	before = s.content.Load()
	if err := s.readAgain(); err != nil {
		return nil, err
	}
	return before, nil
}

// readAgain reads the directory. changing is held, if there is anybody else.
func (s *Store[R, C]) readAgain() error {
	at := stamp.Of(string(s.dir), s.clock.Now())
	c, err := s.readAll(s.content.Load())
	if err != nil {
		return err
	}
	s.read = at
	s.content.Store(c)
	return nil
}

func (s *Store[R, C]) readAll(before *C) (*C, error) {
	f, err := find[R](s.dir, s.clock.Now())
	if err != nil {
		return nil, err
	}
	return s.form.Read(f, before)
}

// find looks what there is.
func find[R any](dir Dir, now time.Time) (*Found[R], error) {
	f := &Found[R]{Dir: dir, Now: now}
	files, err := os.ReadDir(string(dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) { // who says so is asked for what is above it
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		f.Names = append(f.Names, file.Name())
	}
	data, _, err := stamp.Read(dir.Path(RecordsFile), MaxFile, now)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		f.Noted, err = true, json.Unmarshal(data, &f.Records)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir.Path(RecordsFile), err)
	}
	return f, nil
}

// Change lets f decide, on what is there now, which files are written, and what is noted of them: it
// may change its argument, which nobody else sees. When it fails midway, each file is as it was or as it is
// to be; one that is new may be there without being noted, and none is noted that is not there.
// It fails with the error of f, or with why something cannot be written.
func (s *Store[R, C]) Change(f func(*C) (Files, error)) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.dir.Change(func() error { return s.apply(f) })
}

// apply does the change. The directory is locked.
func (s *Store[R, C]) apply(f func(*C) (Files, error)) error {
	found, err := find[R](s.dir, s.clock.Now())
	if err != nil {
		return err
	}
	c, err := s.form.Read(found, nil)
	if err != nil {
		return err
	}
	before, err := s.encode(c)
	if err != nil {
		return err
	}
	files, err := f(c)
	if err != nil {
		return err
	}
	records, err := s.encode(c)
	if err != nil {
		return err
	}
	if bytes.Equal(before, records) {
		return errors.Join(s.write(files, nil), s.readAgain())
	}
	if !found.Noted {
		// What is cut short must not look like records that were lost.
		err = s.dir.Write(RecordsFile, before)
	}
	if err == nil {
		err = s.write(files, records)
	}
	return errors.Join(err, s.readAgain())
}

func (s *Store[R, C]) encode(c *C) ([]byte, error) {
	data, err := json.MarshalIndent(s.form.Records(c), "", "  ")
	return append(data, '\n'), err
}

// write writes what is new, then the records, unless they are nil, and then removes what goes.
func (s *Store[R, C]) write(files Files, records []byte) error {
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if files[name] == nil {
			continue
		}
		if err := s.dir.Write(name, files[name]); err != nil {
			return err
		}
	}
	if records != nil {
		if err := s.dir.Write(RecordsFile, records); err != nil {
			return err
		}
	}
	for _, name := range names {
		if files[name] != nil {
			continue
		}
		if err := s.dir.Write(name, nil); err != nil {
			return err
		}
	}
	return nil
}
