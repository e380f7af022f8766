// Package dns asks the domain name system for what mail needs of it.
//
// It knows nothing of routes: which name to ask for, and what a failure
// means for a message, its callers decide. It is a stub: it asks servers that
// look everything up, believes of an answer only what belongs to the question,
// and remembers it for as long as the answer says.
//
// A question fails in one of two ways, and they are never mixed up:
// ErrNotFound, when the answer is that there is nothing, and ErrTemporary,
// when there was no answer, or none that can be believed.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// The ways a question fails.
var (
	// ErrNotFound says that the name does not exist, or has no record of the
	// kind asked for.
	ErrNotFound = errors.New("not in DNS")
	// ErrNoName says, of the two, that the name does not exist (NXDOMAIN). It
	// is an ErrNotFound.
	ErrNoName = fmt.Errorf("%w: no such name", ErrNotFound)
	// ErrTemporary says that nobody knows: no server answered in time, or
	// those that did had failed, refused, or said what cannot be.
	ErrTemporary = errors.New("DNS gave no answer")
)

// MX is a mail exchanger of a domain (RFC 5321 5.1).
type MX struct {
	// Host is its name in lower case, without the final dot: as DNS has it,
	// which may be no name of a host. It is empty for the root, the null MX of
	// RFC 7505.
	Host string
	// Preference says which is tried first: the lowest.
	Preference uint16
}

// Resolver asks for the records of a name. A name with a dot at its end, or
// within, is complete. Its implementations are Client and, in memory, Memory.
//
// Every method fails with ErrNotFound or ErrTemporary, wrapped with the name
// and the cause.
type Resolver interface {
	// LookupAddr returns the IPv4 addresses of host, then its IPv6
	// addresses; at least one.
	LookupAddr(ctx context.Context, host string) ([]netip.Addr, error)
	// LookupMX returns the mail exchangers of domain in no order; at least one.
	LookupMX(ctx context.Context, domain string) ([]MX, error)
	// LookupName returns the names of an address, in lower case, in no order;
	// at least one.
	LookupName(ctx context.Context, ip netip.Addr) ([]string, error)
}

// ReverseName is the name at which DNS has the names of an address: of
// 192.0.2.1 it is 1.2.0.192.in-addr.arpa (RFC 1035 3.5, RFC 3596 2.5). It is
// empty for an address that is none.
func ReverseName(ip netip.Addr) string {
	name, _ := dns.ReverseAddr(ip.Unmap().WithZone("").String()) // fails for what is no address
	return name
}

// canonical is a name as DNS compares it: without case, and without the dot
// that may end it.
func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
