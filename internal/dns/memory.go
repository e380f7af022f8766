package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Memory is a Resolver that knows what it was told, the twin of System for
// tests. The zero value knows no name. It is safe for use by several
// goroutines.
type Memory struct {
	mu      sync.Mutex
	answers map[string]answer
}

type answer struct {
	addresses []netip.Addr
	err       error
}

// Set makes host have these addresses, in this order; without any it exists
// no more.
func (m *Memory) Set(host string, addresses ...netip.Addr) {
	a := answer{addresses: slices.Clone(addresses)}
	if len(addresses) == 0 {
		a.err = ErrNotFound
	}
	m.put(host, a)
}

// Fail makes questions for host fail with err, which is ErrNotFound or
// ErrTemporary, until the next Set.
func (m *Memory) Fail(host string, err error) { m.put(host, answer{err: err}) }

func (m *Memory) put(host string, a answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil {
		m.answers = make(map[string]answer)
	}
	m.answers[canonical(host)] = a
}

// LookupAddr returns what was told of host. A name it never heard of is
// ErrNotFound; a context that has ended is ErrTemporary, as with System.
func (m *Memory) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTemporary, host, err)
	}
	m.mu.Lock()
	a, known := m.answers[canonical(host)]
	m.mu.Unlock()
	if !known {
		a.err = ErrNotFound
	}
	if a.err != nil {
		return nil, fmt.Errorf("%w: %s", a.err, host)
	}
	return slices.Clone(a.addresses), nil
}

// canonical is a name as DNS compares it: without case, and without the dot
// that may end it.
func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
