package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
)

// Smarthosts are the servers that take all mail. Resolver looks names up as
// deliveries do.
type Smarthosts struct {
	Resolver Resolver
	Delivery *config.Delivery
	// Own are the addresses of this host, and Ports those it listens at.
	Own   []netip.Addr
	Ports []uint16
}

const smarthosts = "delivery.smarthosts" // the setting

// Check looks up every smarthost that is a name, all at the same time, and
// returns what is wrong or unwise about each, in their order.
func (s Smarthosts) Check(ctx context.Context) []config.Problem {
	found := make([][]config.Problem, len(s.Delivery.Smarthosts))
	var asking sync.WaitGroup
	for i, h := range s.Delivery.Smarthosts {
		if _, literal := h.IP(); !literal {
			asking.Go(func() { found[i] = s.checkOne(ctx, h) })
		}
	}
	asking.Wait()
	return slices.Concat(found...)
}

func (s Smarthosts) checkOne(ctx context.Context, h mail.HostPort) []config.Problem {
	at, err := s.Resolver.LookupAddr(ctx, h.Host)
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return about(smarthosts, fmt.Sprintf("%s has no address in DNS: mail waits, or goes to the others", h.Host), "write a name that has one")
	case err != nil:
		return unknown(smarthosts, h.Host, err)
	case slices.ContainsFunc(at, func(ip netip.Addr) bool { return slices.Contains(s.Own, ip) }) && slices.Contains(s.Ports, h.Port):
		return about(smarthosts, fmt.Sprintf("%s leads to this server itself, which is passed over", h), "name the server that comes next")
	}
	return nil
}

// NameServers are those that the configuration names.
type NameServers struct {
	Servers []netip.AddrPort
	// Only returns a Resolver that asks that server alone.
	Only func(netip.AddrPort) Resolver
	// Name is looked up; whether it exists is no matter.
	Name string
}

// Check asks each server, all at the same time, and returns those that do not
// answer.
func (n NameServers) Check(ctx context.Context) []config.Problem {
	found := make([][]config.Problem, len(n.Servers))
	var asking sync.WaitGroup
	for i, server := range n.Servers {
		asking.Go(func() {
			if _, err := n.Only(server).LookupAddr(ctx, n.Name+"."); err != nil && !errors.Is(err, dns.ErrNotFound) {
				found[i] = about("dns.servers", fmt.Sprintf("%s does not answer a question for %s: every lookup waits for it", server, n.Name),
					"leave it out, or see why it does not answer")
			}
		})
	}
	asking.Wait()
	return slices.Concat(found...)
}
