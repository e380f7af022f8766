package certs

import (
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mail"
	"postern/internal/stamp"
)

// halfReplaced is how long a certificate and a key that do not belong together may be
// two files of which one is still to come.
const halfReplaced = 30 * time.Second

// Files is a certificate in a pair of files, which is read again when one of them
// changes. It is safe for use by several goroutines.
type Files struct {
	name    string
	pair    Pair
	clock   mail.Clock
	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // held while the files are looked at
	read    stamps
	trouble stamp.Trouble
}

// Event is that a certificate has changed.
type Event struct {
	Name, File string
	// Old and New are what was and is in force; Old is nil if it is the first.
	Old, New *tls.Certificate
	// Err is why what is there now cannot be used: then New is Old.
	Err error
}

// Stale is a certificate whose files are not what is in force.
type Stale struct {
	Name, File string
	Since      time.Time
	Err        error
}

// OpenFiles reads a pair; name is what others call it. It fails with an *Error.
func OpenFiles(name string, p Pair, clock mail.Clock) (*Files, error) {
	c, read, err := load(p, clock.Now())
	if err != nil {
		return nil, err
	}
	f := &Files{name: name, pair: p, clock: clock, read: read}
	f.current.Store(&c)
	return f, nil
}

// Name returns what others call it.
func (f *Files) Name() string { return f.name }

// Pair returns its files.
func (f *Files) Pair() Pair { return f.pair }

// Certificate returns what is in force.
func (f *Files) Certificate() *tls.Certificate { return f.current.Load() }

// Certificates returns what is in force.
func (f *Files) Certificates() []*tls.Certificate { return []*tls.Certificate{f.current.Load()} }

// Look reads the files again if one has changed, and returns what there is to tell, nil
// if nothing. What is good is in force at once; if it is not, what was before stays so. A key that
// does not belong to the certificate is told only when neither has changed for a while.
func (f *Files) Look() *Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read.certificate.Stands(f.pair.Certificate) && f.read.key.Stands(f.pair.Key) {
		return nil
	}
	now, old := f.clock.Now(), f.current.Load()
	c, read, err := load(f.pair, now)
	if errors.Is(err, stamp.ErrWriting) || errors.Is(err, ErrMismatch) && read.changedWithin(halfReplaced, now) {
		return nil // it is looked at again
	}
	f.read = read
	if err != nil {
		if !f.trouble.Note(err, now) {
			return nil
		}
		return &Event{Name: f.name, File: f.pair.Certificate, Old: old, New: old, Err: err}
	}
	if ended := f.trouble.End(); !ended && sameChain(old, &c) {
		return nil
	}
	f.current.Store(&c)
	return &Event{Name: f.name, File: f.pair.Certificate, Old: old, New: &c}
}

func (s stamps) changedWithin(d time.Duration, now time.Time) bool {
	return now.Sub(s.certificate.Changed()) < d || now.Sub(s.key.Changed()) < d
}

// Stale says since when, and why, the files are not what is in force; nil if they are.
func (f *Files) Stale() *Stale {
	f.mu.Lock()
	defer f.mu.Unlock()
	return stale(f.name, f.pair.Certificate, f.trouble)
}

// stale is the trouble with what has a name; nil if there is none.
func stale(name, file string, t stamp.Trouble) *Stale {
	if t.Err == nil {
		return nil
	}
	return &Stale{Name: name, File: file, Since: t.Since, Err: t.Err}
}

// sameChain reports whether two certificates and those of their issuers are the same.
func sameChain(a, b *tls.Certificate) bool {
	return slices.EqualFunc(a.Certificate, b.Certificate, slices.Equal)
}
