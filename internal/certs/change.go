package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"time"

	"postern/internal/privatedir"
)

// This file changes what a Store holds.

type files = privatedir.Files

// Put stores a certificate with its key. Another of that name is replaced if replace
// says so. Errors: ErrName, ErrExists, ErrFull.
func (s *Store) Put(name string, certificate *tls.Certificate, replace bool) error {
	text, err := encodeBoth(certificate)
	if err != nil {
		return err
	}
	return s.files.Change(func(c *content) (files, error) {
		return files{name + storeSuffix: text}, c.allow(name, replace)
	})
}

// allow refuses a name for something new.
func (c *content) allow(name string, replace bool) error {
	if err := CheckName(name); err != nil {
		return err
	}
	e := c.entries[name]
	switch {
	case e == nil && len(c.entries) >= maxStored:
		return ErrFull
	case e != nil && !replace:
		return fmt.Errorf("%s: %w", name, ErrExists)
	}
	return nil
}

// PutRequest stores a key with the request for its certificate, and keeps what is in
// use by that name until that is there. Errors: ErrName, ErrFull.
func (s *Store) PutRequest(name string, request []byte, key crypto.Signer) error {
	text, err := EncodeKey(key)
	if err != nil {
		return err
	}
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})...)
	return s.files.Change(func(c *content) (files, error) {
		return files{name + requestSuffix: text}, c.allow(name, true)
	})
}

// Answer stores the certificate that an authority has made of the request of a name, or
// has renewed for the key that is in use. Errors: ErrNotFound, ErrNoKey.
func (s *Store) Answer(name string, chain [][]byte, leaf *x509.Certificate) error {
	return s.files.Change(func(c *content) (files, error) {
		e, err := c.entry(name)
		if err != nil {
			return nil, err
		}
		list := files{}
		key, err := s.keyFor(&e, leaf, list)
		if err != nil {
			return nil, err
		}
		list[name+storeSuffix], err = encodeBoth(&tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf})
		return list, err
	})
}

// keyFor finds the key of a certificate, and has the request removed that it answers.
func (s *Store) keyFor(e *Entry, leaf *x509.Certificate, list files) (crypto.Signer, error) {
	if e.Request != nil {
		key, _, err := loadKey(s.file(e.Name, requestSuffix), s.clock.Now())
		if err != nil {
			return nil, err
		}
		if matches(leaf, key) {
			list[e.Name+requestSuffix] = nil
			return key, nil
		}
	}
	if e.Certificate != nil {
		if key, ok := e.Certificate.PrivateKey.(crypto.Signer); ok && matches(leaf, key) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", e.Name, ErrNoKey)
}

// Remove removes a certificate with its key, and its request. Errors: ErrNotFound,
// ErrInUse.
func (s *Store) Remove(name string) error {
	return s.files.Change(func(c *content) (files, error) {
		e, err := c.entry(name)
		if err != nil {
			return nil, err
		}
		if used := c.records.listeners(name); len(used) > 0 {
			return nil, fmt.Errorf("%s: %w, %s; assign another first", name, ErrInUse, used[0])
		}
		list := files{}
		if e.Request != nil {
			list[name+requestSuffix] = nil
		}
		if _, err := os.Stat(s.file(name, storeSuffix)); err == nil {
			list[name+storeSuffix] = nil
		}
		return list, nil
	})
}

// Assign gives certificates to a listener, in the place of those that it has: the first is
// for clients that ask for no name; none takes all away. Errors: ErrNotFound, ErrCA, ErrPending.
func (s *Store) Assign(listener string, names []string) error {
	return s.files.Change(func(c *content) (files, error) {
		for _, name := range names {
			e, err := c.entry(name)
			switch {
			case err != nil:
				return nil, err
			case e.Certificate == nil && e.Err != nil:
				return nil, e.Err
			case e.Certificate == nil:
				return nil, fmt.Errorf("%s: %w", name, ErrPending)
			case e.Certificate.Leaf.IsCA:
				return nil, fmt.Errorf("%s: %w", name, ErrCA)
			}
		}
		if c.records.Assigned == nil {
			c.records.Assigned = make(map[string][]string)
		}
		if len(names) == 0 {
			delete(c.records.Assigned, listener)
		} else {
			c.records.Assigned[listener] = names
		}
		return nil, nil
	})
}

// keepWarned is how long after the end of a certificate it is known that it was warned
// of it.
const keepWarned = 90 * 24 * time.Hour

// Warn notes that somebody is told that a certificate ends within so many days, and
// reports whether that is new.
func (s *Store) Warn(c *x509.Certificate, days int) (bool, error) {
	fingerprint := Fingerprint(c)
	if was, is := s.files.Content().records.Warned[fingerprint]; is && was.Days <= days {
		return false, nil
	}
	return true, s.files.Change(func(all *content) (files, error) {
		r := &all.records
		if r.Warned == nil {
			r.Warned = make(map[string]warning)
		}
		now := s.clock.Now()
		maps.DeleteFunc(r.Warned, func(_ string, w warning) bool { return now.Sub(w.Ends) > keepWarned })
		r.Warned[fingerprint] = warning{Days: days, Ends: c.NotAfter}
		return nil, nil
	})
}
