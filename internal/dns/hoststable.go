package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mail"
	"postern/internal/stamp"
)

// Hosts is a Resolver that looks addresses up in a file of host names before it asks
// another. It is safe for use by several goroutines.
type Hosts struct {
	Resolver
	file    string
	clock   mail.Clock
	current atomic.Pointer[hostNames]

	mu      sync.Mutex // held while the file is looked at
	read    stamp.Stamp
	trouble stamp.Trouble
}

// HostsEvent is that a file of host names has changed.
type HostsEvent struct {
	File string
	// Names is how many names are in force, and Before how many were.
	Names, Before int
	// Err is why what is there now cannot be used: what was before stays in force.
	Err error
}

// NewHosts returns a Resolver that knows the names of a file in the form of hosts(5), as it is
// now. Of one that cannot be used it knows nothing; see Look.
func NewHosts(file string, clock mail.Clock, behind Resolver) *Hosts {
	h := &Hosts{Resolver: behind, file: file, clock: clock}
	h.current.Store(&hostNames{})
	h.Look()
	return h
}

// LookupAddr returns what the file says of host, and if that is nothing what the Resolver
// behind it does.
func (h *Hosts) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	if known := (*h.current.Load())[canonical(host)]; len(known) > 0 {
		return append([]netip.Addr(nil), known...), nil
	}
	return h.Resolver.LookupAddr(ctx, host)
}

// Look reads the file again if it has changed, and returns what there is to tell, nil if
// nothing. What is good is in force at once; if a line is not, all stays as it was before.
func (h *Hosts) Look() *HostsEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.read.Stands(h.file) {
		return nil
	}
	now := h.clock.Now()
	names, read, err := readHosts(h.file, now)
	if errors.Is(err, stamp.ErrWriting) {
		return nil // it is looked at again
	}
	h.read = read
	before := len(*h.current.Load())
	if err != nil {
		if !h.trouble.Note(err, now) {
			return nil
		}
		return &HostsEvent{File: h.file, Names: before, Before: before, Err: err}
	}
	if ended := h.trouble.End(); !ended && names.equal(*h.current.Load()) {
		return nil
	}
	h.current.Store(&names)
	return &HostsEvent{File: h.file, Names: len(names), Before: before}
}

// Stale says since when, and why, the file is not what is in force; err is nil if it is.
func (h *Hosts) Stale() (since time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trouble.Since, h.trouble.Err
}

// File is the path of the file.
func (h *Hosts) File() string { return h.file }

// HostsError is a line of a file of host names that is none.
type HostsError struct {
	Place   mail.Place
	Problem string
}

// Error returns the place and what is wrong there.
func (e *HostsError) Error() string { return e.Place.String() + ": " + e.Problem }

// CheckHosts says why a file of host names cannot be used: with an error of package fs, one of
// stamp, or a *HostsError for its first line that is wrong.
func CheckHosts(file string, now time.Time) error {
	_, _, err := readHosts(file, now)
	return err
}

func readHosts(file string, now time.Time) (hostNames, stamp.Stamp, error) {
	data, read, err := stamp.Read(file, maxFile, now)
	if err != nil {
		return nil, read, err
	}
	line := 0
	for text := range strings.Lines(string(data)) {
		line++
		if _, _, wrong := hostLine(text); wrong != "" {
			return nil, read, &HostsError{mail.Place{File: file, Line: line}, wrong}
		}
	}
	return parseHosts(data), read, nil
}

// String tells the event in a line.
func (e *HostsEvent) String() string {
	if e.Err != nil {
		return fmt.Sprintf("table of hosts (%s), with its %d names of before: %v", e.File, e.Before, e.Err)
	}
	return fmt.Sprintf("table of hosts (%s): %d names, were %d", e.File, e.Names, e.Before)
}
