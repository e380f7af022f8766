package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// Memory is a Resolver that knows what it was told, the twin of Client for
// tests. The zero value knows no name. It is safe for use by several
// goroutines.
type Memory struct {
	mu         sync.Mutex
	addresses  map[string][]netip.Addr
	exchangers map[string][]MX
	names      map[string][]string // by ReverseName
	texts      map[string][]string
	failures   map[string]error
}

// Set makes host have these addresses, in this order; without any it has none
// any more.
func (m *Memory) Set(host string, addresses ...netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.addresses == nil {
		m.addresses = make(map[string][]netip.Addr)
	}
	put(m.addresses, canonical(host), addresses)
	delete(m.failures, canonical(host))
}

// SetMX makes domain have these mail exchangers; without any it has none any
// more.
func (m *Memory) SetMX(domain string, exchangers ...MX) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.exchangers == nil {
		m.exchangers = make(map[string][]MX)
	}
	put(m.exchangers, canonical(domain), exchangers)
	delete(m.failures, canonical(domain))
}

// SetNames makes an address lead to these names; without any to none any more.
func (m *Memory) SetNames(ip netip.Addr, names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names == nil {
		m.names = make(map[string][]string)
	}
	put(m.names, canonical(ReverseName(ip)), names)
	delete(m.failures, canonical(ReverseName(ip)))
}

// SetText makes a name have these texts; without any it has none any more.
func (m *Memory) SetText(name string, texts ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.texts == nil {
		m.texts = make(map[string][]string)
	}
	put(m.texts, canonical(name), texts)
	delete(m.failures, canonical(name))
}

func put[T any](known map[string][]T, name string, values []T) {
	if len(values) == 0 {
		delete(known, name)
		return
	}
	known[name] = slices.Clone(values)
}

// Fail makes every question for the name fail with err, which is ErrNotFound,
// ErrNoName or ErrTemporary, until the next Set, SetMX, SetNames or SetText of it.
func (m *Memory) Fail(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failures == nil {
		m.failures = make(map[string]error)
	}
	m.failures[canonical(name)] = err
}

// LookupAddr returns what was told of host. A name it never heard of is
// ErrNoName; a context that has ended is ErrTemporary, as with Client.
func (m *Memory) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails(ctx, host); err != nil {
		return nil, err
	}
	return known(m.addresses, host, m.exchangers[canonical(host)] != nil)
}

// LookupMX returns what was told of domain, as LookupAddr does.
func (m *Memory) LookupMX(ctx context.Context, domain string) ([]MX, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails(ctx, domain); err != nil {
		return nil, err
	}
	return known(m.exchangers, domain, m.addresses[canonical(domain)] != nil)
}

// LookupName returns what was told of an address, as LookupAddr does.
func (m *Memory) LookupName(ctx context.Context, ip netip.Addr) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := ReverseName(ip)
	if err := m.fails(ctx, name); err != nil {
		return nil, err
	}
	return known(m.names, name, false)
}

// LookupIPv4 returns the IPv4 addresses of what was told of a name, as LookupAddr
// does.
func (m *Memory) LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error) {
	all, err := m.LookupAddr(ctx, name)
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(all, func(ip netip.Addr) bool { return !ip.Is4() })
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return list, nil
}

// LookupText returns what was told of a name, as LookupAddr does.
func (m *Memory) LookupText(ctx context.Context, name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails(ctx, name); err != nil {
		return nil, err
	}
	return known(m.texts, name, m.addresses[canonical(name)] != nil)
}

// fails returns the failure that a question for the name is to have. mu is
// held.
func (m *Memory) fails(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrTemporary, name, err)
	}
	if err := m.failures[canonical(name)]; err != nil {
		return fmt.Errorf("%w: %s", err, name)
	}
	return nil
}

// known returns the records of a name. exists says that it has others.
func known[T any](records map[string][]T, name string, exists bool) ([]T, error) {
	values := records[canonical(name)]
	switch {
	case len(values) > 0:
		return slices.Clone(values), nil
	case exists:
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return nil, fmt.Errorf("%w: %s", ErrNoName, name)
}
