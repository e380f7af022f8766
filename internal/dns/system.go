package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// System asks the name servers of the machine (/etc/resolv.conf), after
// /etc/hosts, with Go's own resolver. It is safe for use by several
// goroutines.
type System struct {
	options  Options
	resolver *net.Resolver
}

// Options are the settings of System.
type Options struct {
	// Timeout bounds one question, tries of several servers included. Zero
	// means 10 seconds.
	Timeout time.Duration
}

const defaultTimeout = 10 * time.Second

// NewSystem returns the resolver of the machine.
func NewSystem(o Options) *System {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &System{options: o, resolver: &net.Resolver{PreferGo: true}}
}

// LookupAddr asks for the A and the AAAA records of host at the same time.
// One good answer is enough: servers that fail for AAAA alone are common.
//
// A name with a dot is complete as it stands. Only a single label, such as
// "relay", is tried with the search domains of /etc/resolv.conf.
func (s *System) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()

	var v6 []netip.Addr
	var err6 error
	done := make(chan struct{})
	go func() {
		defer close(done)
		v6, err6 = s.lookup(ctx, "ip6", host)
	}()
	v4, err4 := s.lookup(ctx, "ip4", host)
	<-done

	if addresses := append(v4, v6...); len(addresses) > 0 {
		return addresses, nil
	}
	if errors.Is(err4, ErrTemporary) {
		return nil, err4
	}
	return nil, err6
}

// lookup asks for the addresses of one family, "ip4" or "ip6".
func (s *System) lookup(ctx context.Context, family, host string) ([]netip.Addr, error) {
	name := host
	if strings.Contains(name, ".") && !strings.HasSuffix(name, ".") {
		name += "."
	}
	addresses, err := s.resolver.LookupNetIP(ctx, family, name)
	if err != nil {
		return nil, classify(host, err)
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, host)
	}
	for i, a := range addresses {
		addresses[i] = a.Unmap()
	}
	return addresses, nil
}

// classify tells "there is nothing" from "nobody knows". What is not
// certainly the first is the second, so that no mail is refused by mistake.
func classify(host string, err error) error {
	kind := ErrTemporary
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound && !e.IsTimeout && !e.IsTemporary {
		kind = ErrNotFound
	}
	return fmt.Errorf("%w: %s: %w", kind, host, err)
}
