// Package blocklist asks block lists in DNS (DNSBL, RFC 5782) about clients and
// domains: who is listed, by which lists, and with which weight together.
//
// It decides nothing: what becomes of a client that is listed is its caller's. A list
// never holds mail up for longer than Options.Timeout, and none that fails counts: a
// list that does not answer, refuses to, or lists the whole world is left out for a
// while, which is told once. No function here fails.
package blocklist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/limit"
	"postern/internal/mail"
)

// Resolver is what a Set asks. It remembers answers, also that there are none, for as
// long as they say, and shares questions that are under way: dns.Client does. It
// should be one of its own, because every client is a question for every list.
type Resolver interface {
	// LookupIPv4 fails with dns.ErrNotFound or dns.ErrTemporary.
	LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error)
	LookupText(ctx context.Context, name string) ([]string, error)
}

// Options are what a Set needs. Resolver is required.
type Options struct {
	Resolver Resolver
	// Timeout bounds one question, to all lists together (3 s).
	Timeout time.Duration
	// Tell is told when a list is left out, and when it answers again. It may be
	// called by several goroutines at a time.
	Tell    func(Event)
	Clock   mail.Clock
	Logger  *slog.Logger
	Metrics *Metrics
}

const defaultTimeout = 3 * time.Second

// Set is the block lists of a configuration. It is safe for use by several
// goroutines.
type Set struct {
	options Options
	lists   []*member
}

// member is a list with what is known of how it answers.
type member struct {
	config.BlockList
	health *limit.Breaker // shared with the member that this one follows
}

// New returns a Set that has asked nothing yet.
func New(c []config.BlockList, o Options) *Set {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	s := &Set{options: o}
	for _, l := range c {
		s.lists = append(s.lists, &member{l, &limit.Breaker{First: firstPause, Longest: longPause, Tolerated: maxFailures - 1}})
	}
	return s
}

// Follow makes the Set the one after another: lists of the same zone that were left
// out stay so. It must be called before the Set is used by anybody.
func (s *Set) Follow(before *Set) {
	for _, m := range s.lists {
		for _, old := range before.lists {
			if old.Zone == m.Zone && old.Kind == m.Kind {
				m.health = old.health
			}
		}
	}
}

// Ask makes the Set ask a Resolver, such as one that remembers answers already. It
// must be called before the Set is used by anybody.
func (s *Set) Ask(r Resolver) { s.options.Resolver = r }

// Result is what the lists say.
type Result struct {
	// Score is the weights of the lists together.
	Score int
	// Hits are those that list, in the order of the configuration.
	Hits []Hit
}

// Lists returns the names of the lists that list.
func (r Result) Lists() []string {
	var names []string
	for _, h := range r.Hits {
		names = append(names, h.Name)
	}
	return names
}

// Hit is that a list lists.
type Hit struct {
	// Name is that of the list, Whom who is listed.
	Name, Whom string
	// Answers are those that count; Weight is the largest of theirs.
	Answers []netip.Addr
	Weight  int
	Removal string // how to be taken off; may be empty
	name    string // that DNS was asked for
}

// CheckClient asks all lists of addresses about a client, at the same time. Nobody is
// asked about addresses that are not public, or about those that a list is not to be
// asked of.
func (s *Set) CheckClient(ctx context.Context, client netip.Addr) Result {
	client = client.Unmap().WithZone("")
	if !isPublic(client) {
		return Result{}
	}
	return s.check(ctx, config.BlockAddresses, client.String(), func(m *member) string {
		for _, p := range m.Exempt {
			if p.Contains(client) {
				return ""
			}
		}
		return reversed(client) + m.Zone
	})
}

// CheckDomain asks all lists of domains about a domain, such as that of a sender.
// What is no domain with a dot is in no list.
func (s *Set) CheckDomain(ctx context.Context, domain string) Result {
	domain, err := mail.ASCIIDomain(strings.ToLower(strings.TrimSuffix(domain, ".")))
	if err != nil || strings.HasPrefix(domain, "[") || !strings.Contains(domain, ".") {
		return Result{}
	}
	return s.check(ctx, config.BlockDomains, domain, func(m *member) string { return domain + "." + m.Zone })
}

// check asks all lists of a kind about whom. name is what to ask a list for, empty for
// nothing.
func (s *Set) check(ctx context.Context, kind config.BlockListKind, whom string, name func(*member) string) Result {
	asking, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	hits := make([]*Hit, len(s.lists))
	var lists sync.WaitGroup
	for i, m := range s.lists {
		at := ""
		if m.Kind == kind {
			at = name(m)
		}
		if at == "" || !m.health.Begin(s.options.Clock.Now()) {
			continue
		}
		lists.Go(func() {
			hit, err := s.ask(asking, m, at)
			if ctx.Err() != nil {
				m.health.Abandon() // whoever asked has gone: that says nothing of the list
				return
			}
			s.settle(m, err)
			hits[i] = hit
		})
	}
	lists.Wait()
	return gather(hits, whom)
}

func gather(hits []*Hit, whom string) Result {
	var r Result
	for _, h := range hits {
		if h != nil {
			h.Whom = whom
			r.Hits = append(r.Hits, *h)
			r.Score += h.Weight
		}
	}
	return r
}

// The ways in which a list fails.
var (
	errRefuses = errors.New("the answer says that something is wrong, such as that the list does not answer this name server")
	errLies    = errors.New("it lists what no list has, so that it would list everybody")
	errSilent  = errors.New("it does not answer in time")
)

// ask asks one list, and nil is that it lists nobody. What it lists is believed only if
// it does not also list what must not be listed.
func (s *Set) ask(ctx context.Context, m *member, name string) (*Hit, error) {
	hit, err := s.lookup(ctx, m, name)
	if hit == nil || err != nil {
		return nil, err
	}
	wrong, err := s.lookup(ctx, m, m.neverListed())
	switch {
	case err != nil:
		return nil, err
	case wrong != nil:
		return nil, fmt.Errorf("%w (%s)", errLies, m.neverListed())
	}
	return hit, nil
}

// neverListed and alwaysListed are the names by which a list shows that it works
// (RFC 5782 5).
func (m *member) neverListed() string {
	if m.Kind == config.BlockDomains {
		return "invalid." + m.Zone
	}
	return "1.0.0.127." + m.Zone
}

func (m *member) alwaysListed() string {
	if m.Kind == config.BlockDomains {
		return "test." + m.Zone
	}
	return "2.0.0.127." + m.Zone
}

// lookup asks a list for one name, and reads its answers.
func (s *Set) lookup(ctx context.Context, m *member, name string) (*Hit, error) {
	answers, err := s.options.Resolver.LookupIPv4(ctx, name)
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return nil, nil
	case err != nil && ctx.Err() != nil:
		return nil, errSilent
	case err != nil:
		return nil, err
	}
	hit := Hit{Name: m.Title(), Removal: m.Removal, name: name}
	for _, ip := range answers {
		if !config.IsBlockAnswer(ip) {
			return nil, fmt.Errorf("%w (%s)", errRefuses, ip)
		}
		if weight := m.weight(ip); weight > 0 {
			hit.Answers = append(hit.Answers, ip)
			hit.Weight = max(hit.Weight, weight)
		}
	}
	if hit.Weight == 0 {
		return nil, nil
	}
	return &hit, nil
}

// weight is that of an answer, 0 if it does not count.
func (m *member) weight(ip netip.Addr) int {
	most := 0
	for _, a := range m.Answers {
		if weight := a.Weight; a.Counts(ip) {
			if weight == 0 {
				weight = m.Weight
			}
			most = max(most, weight)
		}
	}
	return most
}

// shared is what nobody has alone, and no list has (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

func isPublic(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !shared.Contains(ip)
}

// reversed is an address as block lists are asked for it: the octets of IPv4 or the
// nibbles of IPv6, the last one first (RFC 5782 2.1, 2.4).
func reversed(ip netip.Addr) string {
	name := dns.ReverseName(ip)
	for _, end := range []string{"in-addr.arpa.", "ip6.arpa."} {
		name = strings.TrimSuffix(name, end)
	}
	return name
}
