// Package dns asks the domain name system for what mail needs of it.
//
// It knows nothing of routes: which name to ask for, and what a failure
// means for a message, its callers decide. It keeps no cache; the system's
// resolver does.
//
// A question fails in one of two ways, and they are never mixed up:
// ErrNotFound, when the answer is that there is nothing, and ErrTemporary,
// when there was no answer.
package dns

import (
	"context"
	"errors"
	"net/netip"
)

// The two ways a question fails.
var (
	// ErrNotFound says that the name does not exist, or has no record of the
	// kind asked for.
	ErrNotFound = errors.New("no such name in DNS")
	// ErrTemporary says that nobody knows: no server answered in time, or
	// the one that did had failed itself.
	ErrTemporary = errors.New("DNS gave no answer")
)

// Resolver asks for the records of a name. Its implementations are System
// and, in memory, Memory.
type Resolver interface {
	// LookupAddr returns the IPv4 addresses of host, then its IPv6
	// addresses; at least one. It fails with ErrNotFound or ErrTemporary,
	// wrapped with the name and the cause.
	LookupAddr(ctx context.Context, host string) ([]netip.Addr, error)
}
