package daemon

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/dns"
	"postern/internal/doctor"
	"postern/internal/mail"
)

// This file asks DNS whether the mail of a local domain is trapped here, because the
// world sends it elsewhere.

const (
	// trappedEvery is how often all local domains are asked about, and trappedAfter how
	// long after the start and after a change the first time.
	trappedEvery = 6 * time.Hour
	trappedAfter = 10 * time.Second
	// adviseTime bounds the questions about one domain.
	adviseTime = 10 * time.Second
)

// trapped is what was found out last.
type trapped struct {
	mu    sync.Mutex
	found []string
}

func (t *trapped) list() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found
}

// set notes what was found, and returns what of it is new.
func (t *trapped) set(found []string) (fresh []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, text := range found {
		if !slices.Contains(t.found, text) {
			fresh = append(fresh, text)
		}
	}
	t.found = found
	return fresh
}

// localDomains asks about the mail of domains. The machine's own file of names says what
// nobody else knows.
func (g *graph) localDomains() doctor.LocalDomains {
	return doctor.LocalDomains{
		Resolver: g.newResolver(dns.Options{Hosts: os.DevNull}), Addresses: g.local.Addresses,
		IsName: func(host string) bool { return mail.SameDomain(host, g.config.Hostname) },
	}
}

// adviseDomain says what is unwise about a local domain.
func (g *graph) adviseDomain(ctx context.Context, domain string) []string {
	var advice []string
	if mail.SameDomain(g.config.Postmaster.Domain, domain) {
		advice = append(advice, "the setting postmaster: "+postmasterHere(g.config.Postmaster))
	}
	ctx, cancel := context.WithTimeout(ctx, adviseTime)
	defer cancel()
	if trap := g.localDomains().Trap(ctx, domain); trap != "" {
		advice = append(advice, trap)
	}
	return advice
}

// trappedDomains are the local domains whose mail is trapped here.
func (g *graph) trappedDomains(ctx context.Context) []config.Problem {
	r := g.records()
	if r == nil {
		return nil
	}
	var names []string
	for _, domain := range r.Domains() {
		names = append(names, domain.Name)
	}
	return g.localDomains().Check(ctx, names)
}

// watchDomains asks about all local domains now and then, until ctx ends.
func (d *Daemon) watchDomains(ctx context.Context) {
	changed := make(chan struct{}, 1)
	defer d.directory.Watch(func(keys []directory.Key) {
		if slices.ContainsFunc(keys, func(k directory.Key) bool { return k.Kind == directory.KindDomain }) {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})()
	timer := time.NewTimer(trappedAfter)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			timer.Reset(trappedAfter)
			continue
		case <-timer.C:
		}
		d.lookForTrapped(ctx)
		timer.Reset(trappedEvery)
	}
}

// lookForTrapped asks about all local domains, and tells of what is new.
func (d *Daemon) lookForTrapped(ctx context.Context) {
	var found []string
	for _, p := range d.inForce().trappedDomains(ctx) {
		found = append(found, p.Message+"; "+p.Hint)
	}
	if ctx.Err() != nil {
		return
	}
	for _, text := range d.trapped.set(found) {
		d.Logger.Warn(text)
	}
}
