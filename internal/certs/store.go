package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/privatedir"
)

// The names of the files of a Store.
const (
	storeSuffix   = ".pem"         // a key and its certificate
	requestSuffix = ".request.pem" // a key and the request that waits for its certificate
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
// make. Another process may change it, too: each change is made on what is there then.
// It is safe for use by several goroutines.
type Store struct {
	files *privatedir.Store[records, content]
	clock mail.Clock
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
	files, err := privatedir.Open(dir, clock, privatedir.Form[records, content]{
		Read: readContent, Records: func(c *content) records { return c.records },
	})
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return &Store{files: files, clock: clock}, nil
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

func readContent(f *privatedir.Found[records], before *content) (*content, error) {
	c := &content{entries: make(map[string]*Entry), records: f.Records}
	for _, file := range f.Names {
		name, isRequest := strings.CutSuffix(file, requestSuffix)
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
		e.read(f.Dir.Path(file), isRequest, f.Now)
	}
	if before != nil {
		c.keep(before)
	}
	return c, nil
}

func (e *Entry) read(path string, isRequest bool, now time.Time) {
	data, _, err := read(path, now)
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
	before, err := s.files.Look()
	if before == nil || err != nil {
		return nil, err
	}
	c := s.files.Content()
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

func (s *Store) file(name, suffix string) string { return s.files.Dir().Path(name + suffix) }

// Entries returns all that is there, in order of names.
func (s *Store) Entries() []Entry {
	c := s.files.Content()
	var list []Entry
	for _, name := range slices.Sorted(maps.Keys(c.entries)) {
		list = append(list, *c.entries[name])
	}
	return list
}

// Entry returns what is there by a name. Errors: ErrNotFound.
func (s *Store) Entry(name string) (Entry, error) {
	return s.files.Content().entry(name)
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
	c := a.store.files.Content()
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
	return slices.Clone(s.files.Content().records.Assigned[listener])
}

// Listeners returns those to which a certificate is assigned, in order.
func (s *Store) Listeners(name string) []string {
	return s.files.Content().records.listeners(name)
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
