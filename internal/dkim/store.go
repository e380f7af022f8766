package dkim

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/internal/mail"
	"postern/internal/privatedir"
	"postern/internal/stamp"
)

// State is what becomes of a key.
type State string

// The states, in their order.
const (
	Waiting  State = "waiting"  // its record is to be published; nothing is signed by it yet
	Active   State = "active"   // mail is signed by it
	Retiring State = "retiring" // nothing is signed by it; its record is needed for mail that is on its way
)

// The names of the files of a Store.
const (
	keySuffix   = ".pem"
	recordsFile = "records.json"
)

// The bounds of a Store: how many keys, and how large a file.
const (
	maxKeys = 1000
	maxFile = 8 << 20
)

// Reasons for which a Store refuses what it is asked, and for which mail is not signed.
var (
	ErrNotFound = errors.New("there is no such key; `postern dkim key list` shows them")
	ErrNoDomain = errors.New("there is no key of this domain; `postern dkim key add` makes one")
	ErrExists   = errors.New("there is a key of that name already")
	ErrActive   = errors.New("mail is signed by it; rotate to another first, or say --force")
	ErrHasKey   = errors.New("the domain has a key of that kind already; `postern dkim rotate` makes the next one")
	ErrFull     = fmt.Errorf("there are %d keys already; remove those that nobody uses", maxKeys)
	ErrUnusable = errors.New("the key cannot be used")
)

// Store is a directory of keys, a file each, that commands make. Another process may
// change it, too. It is safe for use by several goroutines.
type Store struct {
	dir   privatedir.Dir
	clock mail.Clock

	// content is replaced as a whole, so that no message waits for a disk.
	content atomic.Pointer[content]

	changing sync.Mutex  // held while the directory is read or changed
	read     stamp.Stamp // of the directory
}

// content is what a directory holds. It is not changed once others see it.
type content struct {
	entries map[string]*Entry   // by the names of their records
	signing map[string][]*Entry // the active ones by domain, RSA first
}

// Entry is what a Store has of one key. Its Private is nil if it cannot be used.
type Entry struct {
	Key
	Noted
	// Kind is that of the key, also of one that cannot be used.
	Kind Algorithm
	// Err is why the file cannot be used; nil if it can.
	Err error
}

// Noted is what is known of a key beside what stands in its file.
type Noted struct {
	State   State     `json:"state"`
	Created time.Time `json:"created"`
	// Since is from when it is in its state; Until is when a retiring key is removed.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// record is what is known of one key.
type record struct {
	Domain    string    `json:"domain"`
	Selector  string    `json:"selector"`
	Algorithm Algorithm `json:"algorithm"`
	Noted
}

// records are what is known of all keys.
type records struct {
	Keys []record `json:"keys"`
}

// OpenStore reads a directory; one that is not there is empty. A file that is wrong is an
// Entry with an error, and keeps nobody from the others. It fails when the directory, or what is
// known of its keys, cannot be read.
func OpenStore(dir string, clock mail.Clock) (*Store, error) {
	s := &Store{dir: privatedir.Dir(dir), clock: clock}
	if err := s.readAgain(); err != nil {
		return nil, err
	}
	return s, nil
}

// readAgain reads the directory. changing is held, if there is anybody else.
func (s *Store) readAgain() error {
	at := stamp.Of(string(s.dir), s.clock.Now())
	c, err := s.readDir()
	if err != nil {
		return err
	}
	c.index()
	s.read = at
	s.content.Store(c)
	return nil
}

// index finds the keys by which mail is signed.
func (c *content) index() {
	c.signing = make(map[string][]*Entry)
	for _, name := range slices.Sorted(maps.Keys(c.entries)) {
		if e := c.entries[name]; e.State == Active {
			c.signing[e.Domain] = append(c.signing[e.Domain], e)
		}
	}
	for _, list := range c.signing {
		slices.SortStableFunc(list, func(a, b *Entry) int { return slices.Index(Algorithms, a.Kind) - slices.Index(Algorithms, b.Kind) })
	}
}

func (s *Store) readDir() (*content, error) {
	c := &content{entries: make(map[string]*Entry)}
	var r records
	data, _, err := stamp.Read(filepath.Join(string(s.dir), recordsFile), maxFile, s.clock.Now())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // who says so is asked for data_dir
		return c, s.orphaned()
	case err == nil:
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("dkim: %s: %w", filepath.Join(string(s.dir), recordsFile), err)
	}
	for _, n := range r.Keys {
		e := &Entry{Key: Key{Domain: n.Domain, Selector: n.Selector}, Kind: n.Algorithm, Noted: n.Noted}
		e.Private, e.Err = s.readKey(e)
		c.entries[e.Name()] = e
	}
	return c, nil
}

// orphaned fails when there are keys of which nothing is known: their domains would be
// signed for no more, and nobody would hear of it.
func (s *Store) orphaned() error {
	files, err := os.ReadDir(string(s.dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), keySuffix) {
			return fmt.Errorf("dkim: %s has keys, but %s, which says what they are for, is missing; put it back, or move the keys away", s.dir, recordsFile)
		}
	}
	return err
}

func (s *Store) readKey(e *Entry) (private crypto.Signer, err error) {
	path := filepath.Join(string(s.dir), e.Name()+keySuffix)
	data, _, err := stamp.Read(path, maxFile, s.clock.Now())
	if err == nil {
		private, err = ParseKey(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return private, nil
}

// Look reads the directory again if it has changed: another process can. When that
// fails, what was read before stays so.
func (s *Store) Look() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.read.Stands(string(s.dir)) {
		return nil
	}
	return s.readAgain()
}

// Entries returns all keys, by domain and then by name.
func (s *Store) Entries() []Entry {
	c := s.content.Load()
	list := make([]Entry, 0, len(c.entries))
	for _, e := range c.entries {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return strings.Compare(a.Domain+"\x00"+a.Selector, b.Domain+"\x00"+b.Selector)
	})
	return list
}

// Of returns the keys of a domain. Errors: ErrNoDomain.
func (s *Store) Of(domain string) ([]Entry, error) {
	list := slices.DeleteFunc(s.Entries(), func(e Entry) bool { return e.Domain != domain })
	if len(list) == 0 {
		return nil, fmt.Errorf("%.253s: %w", domain, ErrNoDomain)
	}
	return list, nil
}

// active returns the keys by which a domain's mail is signed; none if it is not. Errors:
// ErrUnusable.
func (s *Store) active(domain string) ([]Key, error) {
	var keys []Key
	for _, e := range s.content.Load().signing[domain] {
		if e.Private == nil {
			return nil, fmt.Errorf("%s: %w: %w", e.Name(), ErrUnusable, e.Err)
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// idle reports whether nobody's mail is signed.
func (s *Store) idle() bool { return len(s.content.Load().signing) == 0 }

// change lets f change the entries that are there now, and writes what it has changed:
// the files that it returns, by name, nil for one that is removed, and then what is known of the keys.
func (s *Store) change(f func(*content) (map[string][]byte, error)) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.dir.Change(func() error {
		c, err := s.readDir()
		if err != nil {
			return err
		}
		files, err := f(c)
		if err != nil {
			return err
		}
		// A key is there before it is known of, and known of until it is gone.
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if files[name] != nil {
				err = errors.Join(err, s.dir.Write(name, files[name]))
			}
		}
		if err == nil {
			err = s.writeRecords(c)
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if files[name] == nil && err == nil {
				err = s.dir.Write(name, nil)
			}
		}
		return errors.Join(err, s.readAgain())
	})
}

func (s *Store) writeRecords(c *content) error {
	var r records
	for _, name := range slices.Sorted(maps.Keys(c.entries)) {
		e := c.entries[name]
		r.Keys = append(r.Keys, record{e.Domain, e.Selector, e.Kind, e.Noted})
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("dkim: %w", err)
	}
	return s.dir.Write(recordsFile, append(data, '\n'))
}

// missing reports whether a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
