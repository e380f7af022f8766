package certs

import (
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mail"
	"postern/internal/stamp"
)

// PoolFile is a file of certificates that are trusted, which is read again when it
// changes. It is safe for use by several goroutines.
type PoolFile struct {
	file    string
	clock   mail.Clock
	current atomic.Pointer[pool]

	mu    sync.Mutex // held while the file is looked at
	read  stamp.Stamp
	wrong error // why the file cannot be used; nil if current is what it is
	since time.Time
}

// pool is what a file held: the certificates, and how many there are.
type pool struct {
	certificates *x509.CertPool
	count        int
}

// PoolEvent is that a file of authorities has changed.
type PoolEvent struct {
	File string
	// Count is how many certificates are in force, and Before how many were.
	Count, Before int
	// Err is why what is there now cannot be used: what was before stays in force.
	Err error
}

// OpenPool reads a PEM file of certificates that are trusted. It fails with an *Error.
func OpenPool(file string, clock mail.Clock) (*PoolFile, error) {
	p, read, err := loadPool(file, clock.Now())
	if err != nil {
		return nil, err
	}
	f := &PoolFile{file: file, clock: clock, read: read}
	f.current.Store(p)
	return f, nil
}

// Name returns the path of the file.
func (f *PoolFile) Name() string { return f.file }

// Pool returns what is in force. It is never changed: when the file has other
// certificates, there is another.
func (f *PoolFile) Pool() *x509.CertPool { return f.current.Load().certificates }

// Look reads the file again if it has changed, and returns what there is to tell, nil if
// nothing. What is good is in force at once; if it is not, what was before stays so.
func (f *PoolFile) Look() *PoolEvent {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read.Stands(f.file) {
		return nil
	}
	now, old := f.clock.Now(), f.current.Load()
	p, read, err := loadPool(f.file, now)
	if errors.Is(err, stamp.ErrWriting) {
		return nil // it is looked at again
	}
	f.read = read
	switch {
	case err != nil:
		return f.fail(err, now)
	case p.certificates.Equal(old.certificates):
		f.wrong = nil
		return nil
	}
	f.wrong = nil
	f.current.Store(p)
	return &PoolEvent{File: f.file, Count: p.count, Before: old.count}
}

// fail notes why the file cannot be used, and tells of it unless it has. mu is held.
func (f *PoolFile) fail(err error, now time.Time) *PoolEvent {
	before := f.wrong
	f.wrong = err
	if before != nil && before.Error() == err.Error() {
		return nil
	}
	if before == nil {
		f.since = now
	}
	count := f.current.Load().count
	return &PoolEvent{File: f.file, Count: count, Before: count, Err: err}
}

// Stale says since when, and why, the file is not what is in force; nil if it is.
func (f *PoolFile) Stale() *Stale {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wrong == nil {
		return nil
	}
	return &Stale{Name: f.file, File: f.file, Since: f.since, Err: f.wrong}
}
