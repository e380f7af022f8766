package dkim

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
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

// keySuffix is that of the files of a Store.
const keySuffix = ".pem"

// maxKeys bounds the keys of a Store.
const maxKeys = 1000

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
	files *privatedir.Store[records, content]
	clock mail.Clock
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
	files, err := privatedir.Open(dir, clock, privatedir.Form[records, content]{Read: readContent, Records: (*content).records})
	if err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	return &Store{files: files, clock: clock}, nil
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

func readContent(f *privatedir.Found[records], _ *content) (*content, error) {
	c := &content{entries: make(map[string]*Entry)}
	if !f.Noted {
		return c, orphaned(f)
	}
	for _, n := range f.Records.Keys {
		e := &Entry{Key: Key{Domain: n.Domain, Selector: n.Selector}, Kind: n.Algorithm, Noted: n.Noted}
		e.Private, e.Err = readKey(f.Dir.Path(e.Name()+keySuffix), f.Now)
		c.entries[e.Name()] = e
	}
	c.index()
	return c, nil
}

// orphaned fails when there are keys of which nothing is known: their domains would be
// signed for no more, and nobody would hear of it.
func orphaned(f *privatedir.Found[records]) error {
	if !slices.ContainsFunc(f.Names, func(name string) bool { return strings.HasSuffix(name, keySuffix) }) {
		return nil
	}
	return fmt.Errorf("%s has keys, but %s, which says what they are for, is missing; put it back, or move the keys away", f.Dir, privatedir.RecordsFile)
}

func readKey(path string, now time.Time) (private crypto.Signer, err error) {
	data, _, err := stamp.Read(path, privatedir.MaxFile, now)
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
	_, err := s.files.Look()
	return err
}

// Entries returns all keys, by domain and then by name.
func (s *Store) Entries() []Entry {
	c := s.files.Content()
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
	for _, e := range s.files.Content().signing[domain] {
		if e.Private == nil {
			return nil, fmt.Errorf("%s: %w: %w", e.Name(), ErrUnusable, e.Err)
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// idle reports whether nobody's mail is signed.
func (s *Store) idle() bool { return len(s.files.Content().signing) == 0 }

// records are what is noted of the keys.
func (c *content) records() records {
	var r records
	for _, name := range slices.Sorted(maps.Keys(c.entries)) {
		e := c.entries[name]
		r.Keys = append(r.Keys, record{e.Domain, e.Selector, e.Kind, e.Noted})
	}
	return r
}

// missing reports whether a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
