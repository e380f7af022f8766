package dkim

import (
	"fmt"
	"time"

	"postern/internal/privatedir"
)

// This file changes what a Store holds.

type files = privatedir.Files

// put stores new keys in a state. Those that become active take the places of others.
// Errors: ErrExists, ErrFull, ErrHasKey.
func (s *Store) put(state State, overlap time.Duration, keys ...Key) error {
	return s.files.Change(func(c *content) (files, error) {
		now, list := s.clock.Now(), files{}
		for _, k := range keys {
			name := k.Name()
			switch {
			case len(name) > maxName:
				return nil, fmt.Errorf("%.80s...: the name of the record has %d characters, of at most %d", name, len(name), maxName)
			case c.entries[name] != nil:
				return nil, fmt.Errorf("%s: %w", name, ErrExists)
			case len(c.entries) >= maxKeys:
				return nil, ErrFull
			}
			text, err := encodeKey(k.Private)
			if err != nil {
				return nil, err
			}
			list[name+keySuffix] = text
			e := &Entry{Key: k, Kind: k.Algorithm(), Noted: Noted{State: Waiting, Created: now, Since: now}}
			c.entries[name] = e
			if state == Active {
				c.activate(e, now, overlap)
			}
		}
		return list, nil
	})
}

// activate lets mail be signed by a key, and no longer by others of its kind.
func (c *content) activate(e *Entry, now time.Time, overlap time.Duration) {
	for _, other := range c.entries {
		if other.Domain == e.Domain && other.Kind == e.Kind && other.State == Active {
			other.State, other.Since, other.Until = Retiring, now, now.Add(overlap)
		}
	}
	e.State, e.Since, e.Until = Active, now, time.Time{}
}

// advance makes waiting keys active, by their names. One that is none any more is left as it
// is. It returns those that were changed.
func (s *Store) advance(overlap time.Duration, names ...string) ([]Entry, error) {
	var changed []Entry
	err := s.files.Change(func(c *content) (files, error) {
		for _, name := range names {
			if e := c.entries[name]; e != nil && e.State == Waiting && e.Err == nil {
				c.activate(e, s.clock.Now(), overlap)
				changed = append(changed, *e)
			}
		}
		return nil, nil
	})
	return changed, err
}

// retire removes the keys whose time is over, and returns them.
func (s *Store) retire() ([]Entry, error) {
	var gone []Entry
	err := s.files.Change(func(c *content) (files, error) {
		list := files{}
		for name, e := range c.entries {
			if e.over(s.clock.Now()) {
				gone = append(gone, *e)
				c.drop(e, list)
				delete(c.entries, name)
			}
		}
		return list, nil
	})
	return gone, err
}

func (e *Entry) over(now time.Time) bool { return e.State == Retiring && !now.Before(e.Until) }

// drop has the file of a key removed, if there is one.
func (c *content) drop(e *Entry, list files) {
	if !missing(e.Err) {
		list[e.Name()+keySuffix] = nil
	}
}

// remove removes a key. Errors: ErrNotFound, ErrActive unless force says so.
func (s *Store) remove(name string, force bool) error {
	return s.files.Change(func(c *content) (files, error) {
		e, list := c.entries[name], files{}
		switch {
		case e == nil:
			return nil, fmt.Errorf("%.253s: %w", name, ErrNotFound)
		case e.State == Active && !force:
			return nil, fmt.Errorf("%s: %w", name, ErrActive)
		}
		c.drop(e, list)
		delete(c.entries, name)
		return list, nil
	})
}
