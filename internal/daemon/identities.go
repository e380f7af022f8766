package daemon

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"postern/internal/config"
	"postern/internal/doctor"
)

// This file finds out as whom the server appears to others: by which name, from which address.

// shown is a name under which mail leaves, and what says so.
type shown struct {
	doctor.Identity
	*config.Placed
}

// named is what a table says of a name and addresses.
type named struct {
	table, key string // the setting with the name is table.key
	name       string
	four, six  netip.Addr
	*config.Placed
}

// identities are all names and addresses under which mail leaves, each pair once: those of the
// server, of companies and of transports.
func (g *graph) identities() []shown {
	c := g.config
	all := []shown{{doctor.Identity{Setting: "hostname", Hostname: c.Hostname, Addresses: g.local.Addresses, Sources: g.seenAs(usualSources())}, &c.Placed}}
	var tables []named
	for i := range c.Companies {
		x := &c.Companies[i]
		tables = append(tables, named{"company", "hostname", x.Hostname, x.SourceIPv4, x.SourceIPv6, &x.Placed})
	}
	for i := range c.Transports {
		t := &c.Transports[i]
		tables = append(tables, named{"transport", "hello", t.Hello, t.SourceIPv4, t.SourceIPv6, &t.Placed})
	}
	for _, n := range tables {
		i, own := g.identity(&n)
		same := func(s shown) bool { return s.Hostname == i.Hostname && slices.Equal(s.Sources, i.Sources) }
		if own && !slices.ContainsFunc(all, same) {
			all = append(all, shown{i, n.Placed})
		}
	}
	return all
}

// identity is that of a table; own is false when it has nothing of its own.
func (g *graph) identity(n *named) (i doctor.Identity, own bool) {
	sources := g.seenAs(slices.DeleteFunc([]netip.Addr{n.four, n.six}, func(a netip.Addr) bool { return !a.IsValid() }))
	key := n.key
	switch {
	case n.name != "":
	case n.four.IsValid():
		key = "source_ipv4"
	default:
		key = "source_ipv6"
	}
	i = doctor.Identity{Setting: n.table + "." + key, Hostname: cmp.Or(n.name, g.config.Hostname), Addresses: g.local.Addresses, Sources: sources}
	return i, n.name != "" || len(sources) > 0
}

// seenAs are addresses as others see them: behind NAT that of the router, which own_addresses
// names.
func (g *graph) seenAs(sources []netip.Addr) []netip.Addr {
	var seen []netip.Addr
	for _, a := range sources {
		if !a.IsPrivate() {
			seen = append(seen, a)
			continue
		}
		for _, own := range g.config.OwnAddresses {
			if own.Is4() == a.Is4() && !own.IsPrivate() {
				seen = append(seen, own)
			}
		}
	}
	slices.SortFunc(seen, netip.Addr.Compare)
	return slices.Compact(seen)
}

// usualSources are the addresses from which the system connects to others, of each family that
// it has a way for. To ask for them sends nothing: the addresses are those of examples, which nobody has.
func usualSources() []netip.Addr {
	var sources []netip.Addr
	for _, anybody := range []string{"192.0.2.1:25", "[2001:db8::1]:25"} {
		c, err := net.Dial("udp", anybody)
		if err != nil {
			continue // there is no way
		}
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
			sources = append(sources, a.AddrPort().Addr().Unmap().WithZone(""))
		}
		c.Close()
	}
	return sources
}

// maxAtOnce bounds the identities that are asked about at a time.
const maxAtOnce = 10

// checkIdentities asks DNS what others find out about each.
func (g *graph) checkIdentities(ctx context.Context, resolver doctor.Resolver) []config.Problem {
	all := g.identities()
	found := make([][]config.Problem, len(all))
	tokens := make(chan struct{}, maxAtOnce)
	var asking sync.WaitGroup
	for i := range all {
		tokens <- struct{}{}
		asking.Go(func() {
			all[i].Resolver = resolver
			found[i] = all[i].Check(ctx)
			<-tokens
		})
	}
	asking.Wait()
	for i := range all {
		for j, p := range found[i] {
			found[i][j].Place = all[i].PlaceOf(p.Key)
		}
	}
	return slices.Concat(found...)
}
