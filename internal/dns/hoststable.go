package dns

import (
	"context"
	"net/netip"
	"strings"

	"postern/internal/mail"
)

// Hosts is a Resolver that looks addresses up in a file of host names before it asks
// another. It is safe for use by several goroutines.
type Hosts struct {
	Resolver
	names *watched[hostNames]
}

// NewHosts returns a Resolver that knows the names of a file in the form of hosts(5), which
// is read again when it changes. Lines that are none are passed over, and while it cannot be
// read it says what it said before.
func NewHosts(file string, clock mail.Clock, behind Resolver) *Hosts {
	return &Hosts{behind, watch(file, clock, parseHosts)}
}

// LookupAddr returns what the file says of host, and if that is nothing what the Resolver
// behind it does.
func (h *Hosts) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	if known := h.names.get()[canonical(host)]; len(known) > 0 {
		return append([]netip.Addr(nil), known...), nil
	}
	return h.Resolver.LookupAddr(ctx, host)
}

// CheckHosts returns the first line of a file of host names that a Hosts passes over although
// it is no comment, from 1, and what is wrong with it; 0 if there is none.
func CheckHosts(data []byte) (line int, wrong string) {
	for text := range strings.Lines(string(data)) {
		line++
		if _, _, wrong = hostLine(text); wrong != "" {
			return line, wrong
		}
	}
	return 0, ""
}
