package certs

import (
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"

	"postern/internal/mail"
	"postern/internal/stamp"
)

// PoolFile is a file of certificates that are trusted, which is read again when it
// changes. It is safe for use by several goroutines.
type PoolFile struct {
	file    string
	clock   mail.Clock
	current atomic.Pointer[pool]

	mu      sync.Mutex // held while the file is looked at
	read    stamp.Stamp
	trouble stamp.Trouble
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
	if err != nil {
		if !f.trouble.Note(err, now) {
			return nil
		}
		return &PoolEvent{File: f.file, Count: old.count, Before: old.count, Err: err}
	}
	ended := f.trouble.End()
	switch {
	case !p.certificates.Equal(old.certificates):
		f.current.Store(p)
	case !ended:
		return nil
	}
	return &PoolEvent{File: f.file, Count: p.count, Before: old.count}
}

// Stale says since when, and why, the file is not what is in force; nil if it is.
func (f *PoolFile) Stale() *Stale {
	f.mu.Lock()
	defer f.mu.Unlock()
	return stale(f.file, f.file, f.trouble)
}
