package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
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

// The names of the files of a Store.
const (
	storeSuffix   = ".pem"         // a key and its certificate
	requestSuffix = ".request.pem" // a key and the request that waits for its certificate
	recordsFile   = "records.json"
)

// maxStored bounds the certificates of a Store.
const maxStored = 1000

// Reasons for which a Store refuses what it is asked.
var (
	ErrNotFound = errors.New("there is no such certificate; `postern cert list` shows them")
	ErrExists   = errors.New("there is one of that name already")
	ErrName     = errors.New("is no name for a certificate: write up to 32 of the characters a-z, 0-9, hyphen and underscore")
	ErrFull     = fmt.Errorf("there are %d certificates already; remove those that nobody uses", maxStored)
	ErrInUse    = errors.New("it is assigned to a listener")
	ErrNoKey    = errors.New("its key is not here: no request of that name waits for it")
	ErrCA       = errors.New("it is that of an authority, which no server shows")
	ErrNotCA    = errors.New("it is not that of an authority; `postern cert ca init` makes one")
	ErrPending  = errors.New("it is a request; import the certificate that an authority has made of it")
)

// Store is a directory of certificates with their keys, a file each, that commands
// make. Another process may change it, too: each change is made under a lock, on what is there then.
// It is safe for use by several goroutines.
type Store struct {
	dir   privatedir.Dir
	clock mail.Clock

	// content is replaced as a whole, so that no handshake waits for a disk.
	content atomic.Pointer[content]

	changing sync.Mutex  // held while the directory is read or changed
	read     stamp.Stamp // of the directory
}

// content is what a directory holds. It is not changed once others see it.
type content struct {
	entries map[string]*Entry
	records records
}

// Entry is what a Store has by one name.
type Entry struct {
	Name string
	// Certificate is what can be used; nil if there is a request alone, or the file was
	// wrong from the beginning.
	Certificate *tls.Certificate
	// Request waits for its certificate; nil: none does.
	Request *x509.CertificateRequest
	// Err is why a file cannot be used; nil if it can.
	Err error
}

// records are what is known of certificates beside what stands in them.
type records struct {
	// Assigned are the certificates of listeners that name none, by their names.
	Assigned map[string][]string `json:"assigned,omitempty"`
	// Warned are those of whose end it was warned, by fingerprint.
	Warned map[string]warning `json:"warned,omitempty"`
}

// warning is that somebody was told that a certificate ends within so many days.
type warning struct {
	Days int       `json:"days"`
	Ends time.Time `json:"ends"`
}

// OpenStore reads a directory; one that is not there is empty. A file that is wrong
// is an Entry with an error, and keeps nobody from the others. It fails when the directory
// or the records cannot be read.
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
	if before := s.content.Load(); before != nil {
		c.keep(before)
	}
	s.read = at
	s.content.Store(c)
	return nil
}

// keep keeps in use what was read before of files that cannot be used now: without it,
// a listener would offer TLS no more.
func (c *content) keep(before *content) {
	for name, e := range c.entries {
		if was := before.entries[name]; e.Err != nil && e.Certificate == nil && was != nil {
			e.Certificate = was.Certificate
		}
	}
}

func (s *Store) readDir() (*content, error) {
	c := &content{entries: make(map[string]*Entry)}
	files, err := os.ReadDir(string(s.dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) { // who says so is asked for data_dir
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("certs: %w", err)
	}
	for _, f := range files {
		name, isRequest := strings.CutSuffix(f.Name(), requestSuffix)
		isStored := isRequest
		if !isRequest {
			name, isStored = strings.CutSuffix(name, storeSuffix)
		}
		if !isStored || CheckName(name) != nil {
			continue
		}
		e := c.entries[name]
		if e == nil {
			e = &Entry{Name: name}
			c.entries[name] = e
		}
		s.readEntry(e, f.Name(), isRequest)
	}
	return c, s.readRecords(&c.records)
}

func (s *Store) readEntry(e *Entry, file string, isRequest bool) {
	path := filepath.Join(string(s.dir), file)
	data, _, err := read(path, s.clock.Now())
	if err == nil && isRequest {
		e.Request, err = parseRequest(path, data)
	} else if err == nil {
		e.Certificate, err = parseBoth(path, data)
	}
	e.Err = errors.Join(e.Err, err)
}

// parseBoth reads a certificate and its key from one file. It may have expired: no
// record keeps a server from starting.
func parseBoth(path string, data []byte) (*tls.Certificate, error) {
	chain, leaf, err := parseChain(path, data)
	if err != nil {
		return nil, err
	}
	key, err := parseKeyPEM(path, data)
	if err != nil {
		return nil, err
	}
	if !matches(leaf, key) {
		return nil, &Error{File: path, Reason: ErrMismatch, Detail: "the certificate in it is for another key"}
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

func parseRequest(path string, data []byte) (*x509.CertificateRequest, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
			continue
		}
		r, err := x509.ParseCertificateRequest(block.Bytes)
		if err == nil {
			err = r.CheckSignature()
		}
		if err != nil {
			return nil, &Error{File: path, Reason: ErrFormat, Detail: "its request is damaged: " + err.Error(), Cause: err}
		}
		return r, nil
	}
	return nil, &Error{File: path, Reason: ErrFormat, Detail: "no PEM request in it; it must begin with -----BEGIN CERTIFICATE REQUEST-----"}
}

func (s *Store) readRecords(r *records) error {
	path := filepath.Join(string(s.dir), recordsFile)
	data, _, err := stamp.Read(path, maxFile, s.clock.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, r)
	}
	if err != nil {
		return fmt.Errorf("certs: %s: %w", path, err)
	}
	return nil
}

// CheckName refuses what cannot be the name of a certificate, with ErrName.
func CheckName(name string) error {
	other := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	if name == "" || len(name) > 32 || strings.ContainsFunc(name, other) {
		return fmt.Errorf("%.50q %w", name, ErrName)
	}
	return nil
}

// Look reads the directory again if it has changed: another process can. When that
// fails, what was read before stays so. It tells what has changed.
func (s *Store) Look() ([]Event, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.read.Stands(string(s.dir)) {
		return nil, nil
	}
	before := s.content.Load()
	if err := s.readAgain(); err != nil {
		return nil, err
	}
	c := s.content.Load()
	var events []Event
	for _, name := range slices.Sorted(maps.Keys(c.entries)) {
		is, was := c.entries[name], before.entries[name]
		if is.Certificate == nil {
			continue
		}
		e := Event{Name: name, File: s.file(name, storeSuffix), New: is.Certificate}
		if was != nil && was.Certificate != nil {
			e.Old = was.Certificate
		}
		if is.Err != nil && was != nil && was.Err == nil {
			e.Err = is.Err
		}
		if e.Err != nil || e.Old == nil || !sameChain(e.Old, e.New) {
			events = append(events, e)
		}
	}
	return events, nil
}

func (s *Store) file(name, suffix string) string { return filepath.Join(string(s.dir), name+suffix) }

// Entries returns all that is there, in order of names.
func (s *Store) Entries() []Entry {
	c := s.content.Load()
	var list []Entry
	for _, name := range slices.Sorted(maps.Keys(c.entries)) {
		list = append(list, *c.entries[name])
	}
	return list
}

// Entry returns what is there by a name. Errors: ErrNotFound.
func (s *Store) Entry(name string) (Entry, error) {
	return s.content.Load().entry(name)
}

func (c *content) entry(name string) (Entry, error) {
	if e := c.entries[name]; e != nil {
		return *e, nil
	}
	return Entry{}, fmt.Errorf("%.50s: %w", name, ErrNotFound)
}

// Named is the Source of the certificate of a name, as long as there is one.
func (s *Store) Named(name string) Source { return ofName{s, name} }

type ofName struct {
	store *Store
	name  string
}

// Certificates returns the certificate if it is there and can be used.
func (n ofName) Certificates() []*tls.Certificate {
	e, err := n.store.Entry(n.name)
	if err != nil || e.Certificate == nil {
		return nil
	}
	return []*tls.Certificate{e.Certificate}
}

// AssignedTo is the Source of what is assigned to a listener at any time.
func (s *Store) AssignedTo(listener string) Source { return assigned{s, listener} }

type assigned struct {
	store    *Store
	listener string
}

// Certificates returns those that are assigned, and can be used.
func (a assigned) Certificates() []*tls.Certificate {
	c := a.store.content.Load()
	var list []*tls.Certificate
	for _, name := range c.records.Assigned[a.listener] {
		if e := c.entries[name]; e != nil && e.Certificate != nil {
			list = append(list, e.Certificate)
		}
	}
	return list
}

// Assigned returns the names of the certificates that are assigned to a listener, the
// first of which is for clients that ask for no name.
func (s *Store) Assigned(listener string) []string {
	return slices.Clone(s.content.Load().records.Assigned[listener])
}

// Listeners returns those to which a certificate is assigned, in order.
func (s *Store) Listeners(name string) []string {
	return s.content.Load().records.listeners(name)
}

func (r *records) listeners(name string) []string {
	var list []string
	for listener, names := range r.Assigned {
		if slices.Contains(names, name) {
			list = append(list, listener)
		}
	}
	slices.Sort(list)
	return list
}
