package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
)

// This file finds the servers of targets.

const (
	// maxServers bounds the servers of a pool, maxExchangers and maxAddresses what a name
	// may have.
	maxServers    = 256
	maxExchangers = 30
	maxAddresses  = 32
	// lookupTime bounds how long a pool waits for names.
	lookupTime = 30 * time.Second
	// maxWarnings bounds what is told of a pool's names.
	maxWarnings = 20
)

// ready waits until the names of the pool were looked up once.
func (p *Pool) ready(ctx context.Context) error {
	p.set.mu.Lock()
	resolved := p.resolved
	p.set.mu.Unlock()
	if resolved {
		return nil
	}
	return p.resolve(ctx, func() bool { return p.resolved })
}

// resolve looks all names of the pool up, unless done says, with mu held, that another
// has just done so. It fails with the error of ctx.
func (p *Pool) resolve(ctx context.Context, done func() bool) error {
	select {
	case p.looking <- struct{}{}:
		defer p.set.hurry() // there may be more to do
		defer func() { <-p.looking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p.set.mu.Lock()
	if done() {
		p.set.mu.Unlock()
		return nil
	}
	targets, around := p.settings.Targets, p.set.around
	p.set.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	answers := make([]answer, len(targets))
	var running sync.WaitGroup
	for i := range targets {
		running.Go(func() { answers[i] = around.find(bounded, &targets[i]) })
	}
	running.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.set.do(func() { p.take(targets, answers) })
	return nil
}

// answer is what a target was resolved to.
type answer struct {
	servers  []found
	err      error // not all is known
	warnings []string
}

// find resolves a target.
func (a *Around) find(ctx context.Context, t *Target) answer {
	switch t.Source {
	case Address:
		ip, err := netip.ParseAddr(t.Host)
		if err != nil {
			return answer{warnings: []string{fmt.Sprintf("%q is no address", t.Host)}}
		}
		return a.places(t, t.Host, 0, []netip.Addr{ip})
	case MX:
		return a.exchangers(ctx, t)
	}
	return a.host(ctx, t, t.Host, 0)
}

// host resolves a name.
func (a *Around) host(ctx context.Context, t *Target, name string, mx uint16) answer {
	ips, err := a.Resolver.LookupAddr(ctx, name+".")
	if err == nil {
		return a.places(t, name, mx, ips)
	}
	warning := fmt.Sprintf("%s does not resolve: %v", name, err)
	if errors.Is(err, dns.ErrNotFound) {
		return answer{warnings: []string{warning}}
	}
	return answer{err: err, warnings: []string{warning}}
}

// exchangers resolves the servers of a domain, the preferred first. A domain without MX
// records is its own server (RFC 5321 5.1).
func (a *Around) exchangers(ctx context.Context, t *Target) answer {
	records, err := a.Resolver.LookupMX(ctx, t.Host+".")
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return a.host(ctx, t, t.Host, 0)
	case err != nil:
		return answer{err: err, warnings: []string{fmt.Sprintf("the servers of %s are not known: %v", t.Host, err)}}
	}
	slices.SortFunc(records, func(a, b dns.MX) int {
		return cmp.Or(cmp.Compare(a.Preference, b.Preference), cmp.Compare(a.Host, b.Host))
	})
	var all answer
	for _, mx := range records[:min(len(records), maxExchangers)] {
		if mx.Host == "" { // RFC 7505
			all.warnings = append(all.warnings, t.Host+" says in DNS that it takes no mail")
			continue
		}
		one := a.host(ctx, t, mx.Host, mx.Preference)
		all.servers = append(all.servers, one.servers...)
		all.warnings = append(all.warnings, one.warnings...)
		all.err = cmp.Or(all.err, one.err)
	}
	return all
}

// places are the addresses of one host that may be servers.
func (a *Around) places(t *Target, host string, mx uint16, ips []netip.Addr) answer {
	var all answer
	for _, ip := range ips[:min(len(ips), maxAddresses)] {
		at := netip.AddrPortFrom(ip, t.Port)
		switch {
		case ip.IsUnspecified() || ip.IsMulticast():
			all.warnings = append(all.warnings, fmt.Sprintf("%s has the address %s, which is nobody's", host, ip))
		case a.Self != nil && a.Self(at):
			all.warnings = append(all.warnings, fmt.Sprintf("%s [%s] is this server itself", host, at))
		default:
			all.servers = append(all.servers, found{target: t, host: host, at: at, mx: mx})
		}
	}
	return all
}

// take puts in force what was found. Where a name gave no answer, its servers stay as
// they were. mu is held.
func (p *Pool) take(targets []Target, answers []answer) {
	if len(targets) != len(p.settings.Targets) || !slices.EqualFunc(targets, p.settings.Targets, Target.sameServers) {
		return // they have changed meanwhile, and are looked up again
	}
	before := make(map[netip.AddrPort]*server)
	for _, v := range p.servers {
		before[v.at] = v
	}
	next := p.settings.Refresh
	p.warnings, p.unknown = nil, nil
	var servers []*server
	seen := make(map[netip.AddrPort]*server)
	for i, a := range answers {
		if a.err != nil {
			next = min(next, p.settings.ConnectRetry)
			kept := p.kept(i, a.servers)
			if len(kept) == 0 {
				p.unknown = append(p.unknown, targets[i].Host)
			}
			a.servers = append(a.servers, kept...)
		}
		for _, w := range a.warnings {
			p.warn(w)
		}
		for _, f := range a.servers {
			f.target = &p.settings.Targets[i]
			if other := seen[f.at]; other != nil {
				p.warn(fmt.Sprintf("%s is the same server as %s, and counts once", nameOf(f.target.Host, f.at), nameOf(other.target.Host, other.at)))
				continue
			}
			if len(servers) == maxServers {
				p.warn(fmt.Sprintf("there are more than %d servers; %s is left out", maxServers, nameOf(f.target.Host, f.at)))
				continue
			}
			v := p.server(before[f.at], f)
			seen[f.at] = v
			servers = append(servers, v)
		}
	}
	for _, v := range p.servers {
		if seen[v.at] != v {
			v.retire("no longer a server of the pool")
		}
	}
	p.servers = servers
	p.resolved, p.resolveAt = true, time.Now().Add(next)
}

// server returns the server that was found: the one that was there, or a new one.
func (p *Pool) server(was *server, f found) *server {
	if was == nil || was.host != f.host {
		v := newServer(p, f, p.set.Clock.Now())
		p.set.tell(v, mail.ReasonTargetChanged, "a server of the pool")
		p.back()
		return v
	}
	was.mx = f.mx
	was.adjust(f.target, p.settings.Lane.TLS)
	return was
}

// kept are the servers that a target had, and that are not among those.
func (p *Pool) kept(target int, among []found) []found {
	var list []found
	for _, v := range p.servers {
		if v.target.sameServers(p.settings.Targets[target]) && !slices.ContainsFunc(among, func(f found) bool { return f.at == v.at }) {
			list = append(list, v.found)
		}
	}
	return list
}

// warn notes what a person should know of the pool's names, and tells the log.
func (p *Pool) warn(text string) {
	if len(p.warnings) < maxWarnings {
		p.warnings = append(p.warnings, text)
		p.set.Logger.Warn("pool: "+text, "pool", p.settings.Name)
	}
}

// nameOf is a server, for a person.
func nameOf(host string, at netip.AddrPort) string { return fmt.Sprintf("%s [%s]", host, at) }
