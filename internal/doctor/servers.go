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

// NextServer is a server to which mail goes, as a setting names it.
type NextServer struct {
	// Key and Place are of the setting.
	Key   string
	Place mail.Place
	Host  mail.HostPort
	// MX says that it is named by the MX records of the name, if there are any.
	MX bool
}

// NextServers are those that the configuration names. Resolver looks names up as
// deliveries do.
type NextServers struct {
	Resolver MailResolver
	Servers  []NextServer
	// Own are the addresses of this host, and Ports those it listens at.
	Own   []netip.Addr
	Ports []uint16
}

// lookUpsAtOnce is how many servers are looked up at a time.
const lookUpsAtOnce = 20

// Check looks up every server that is a name, several at the same time, and
// returns what is wrong or unwise about each, in their order. What is behind a Unix socket is not
// looked up, nor what would be when ctx has ended.
func (s NextServers) Check(ctx context.Context) []config.Problem {
	found := make([][]config.Problem, len(s.Servers))
	places := make(chan struct{}, lookUpsAtOnce)
	var asking sync.WaitGroup
	for i := range s.Servers {
		server := &s.Servers[i]
		if _, literal := server.Host.IP(); literal || server.Host.Socket != "" {
			continue
		}
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		asking.Go(func() {
			defer func() { <-places }()
			found[i] = s.checkOne(ctx, server)
			for j := range found[i] {
				found[i][j].Place = server.Place
			}
		})
	}
	asking.Wait()
	return slices.Concat(found...)
}

// checkOne looks one server up.
func (s NextServers) checkOne(ctx context.Context, n *NextServer) []config.Problem {
	if !n.MX {
		return s.checkHost(ctx, n, n.Host, "")
	}
	servers, err := s.Resolver.LookupMX(ctx, n.Host.Host+".")
	switch {
	case errors.Is(err, dns.ErrNotFound): // it is a server itself (RFC 5321 5.1)
		return s.checkHost(ctx, n, n.Host, "")
	case err != nil:
		return unknown(n.Key, "the servers of "+n.Host.Host, err)
	case len(servers) == 1 && servers[0].Host == "":
		return about(n.Key, fmt.Sprintf("%s takes no mail, as DNS says (a null MX record): mail comes back", n.Host.Host), "name a domain that takes mail")
	}
	var found []config.Problem
	for _, x := range servers {
		found = append(found, s.checkHost(ctx, n, mail.HostPort{Host: x.Host, Port: n.Host.Port}, ", a server of "+n.Host.Host+" by its MX records,")...)
	}
	return found
}

// checkHost looks up the addresses of a host; what says for whom it is one.
func (s NextServers) checkHost(ctx context.Context, n *NextServer, h mail.HostPort, what string) []config.Problem {
	at, err := s.Resolver.LookupAddr(ctx, h.Host)
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return about(n.Key, fmt.Sprintf("%s%s has no address in DNS: mail waits, or goes to the others", h.Host, what), "write a name that has one")
	case err != nil:
		return unknown(n.Key, h.Host+what, err)
	case slices.ContainsFunc(at, func(ip netip.Addr) bool { return slices.Contains(s.Own, ip) }) && slices.Contains(s.Ports, h.Port):
		return about(n.Key, fmt.Sprintf("%s%s leads to this server itself, which is passed over", h, what), "name the server that comes next")
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
