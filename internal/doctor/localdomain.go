package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"postern/internal/config"
	"postern/internal/dns"
)

// MailResolver is what LocalDomains asks.
type MailResolver interface {
	LookupAddr(ctx context.Context, host string) ([]netip.Addr, error)
	LookupMX(ctx context.Context, domain string) ([]dns.MX, error)
}

// LocalDomains asks DNS where the world sends the mail of domains that are local here.
type LocalDomains struct {
	Resolver MailResolver
	// IsName reports whether a name is that of this host.
	IsName func(host string) bool
	// Addresses are those of this host, and of a router before it.
	Addresses []netip.Addr
}

const (
	// maxLocalDomains bounds how many domains are asked about, and localDomainsAtOnce how
	// many of them at a time.
	maxLocalDomains    = 1000
	localDomainsAtOnce = 10
	// maxTrapServers is how many servers of a domain are looked up, and named.
	maxTrapServers = 5
)

// Check returns a problem for each domain whose mail the world sends elsewhere: what
// this host is given for it stays here. A domain of which DNS knows no server, or of which
// it cannot be told, has none.
func (l LocalDomains) Check(ctx context.Context, domains []string) []config.Problem {
	domains = domains[:min(len(domains), maxLocalDomains)]
	found := make([]string, len(domains))
	places := make(chan struct{}, localDomainsAtOnce)
	var asking sync.WaitGroup
	for i, domain := range domains {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			found[i] = l.Trap(ctx, domain)
		})
	}
	asking.Wait()
	var problems []config.Problem
	for i, wrong := range found {
		if wrong != "" {
			problems = append(problems, config.Problem{Message: wrong, Hint: "if it is not meant so: postern domain delete " + domains[i]})
		}
	}
	return problems
}

// Trap says that the mail of a local domain would be trapped here, and names the servers
// that should have it; "" if it would not, or if nobody knows.
func (l LocalDomains) Trap(ctx context.Context, domain string) string {
	servers, err := l.Resolver.LookupMX(ctx, domain+".")
	if err != nil {
		return "" // no server, or no answer
	}
	slices.SortFunc(servers, func(a, b dns.MX) int {
		return cmp.Or(cmp.Compare(a.Preference, b.Preference), cmp.Compare(a.Host, b.Host))
	})
	servers = slices.DeleteFunc(servers, func(x dns.MX) bool { return x.Host == "" }) // the null MX
	if len(servers) == 0 {
		return ""
	}
	var names []string
	for _, x := range servers[:min(len(servers), maxTrapServers)] {
		if l.own(ctx, x.Host) {
			return ""
		}
		names = append(names, x.Host)
	}
	if more := len(servers) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("the domain %s is local here, but the world sends its mail to %s: what this host is given for it is TRAPPED here, and never gets there",
		domain, strings.Join(names, ", "))
}

// own reports whether a server is this host, as far as DNS tells.
func (l LocalDomains) own(ctx context.Context, host string) bool {
	if l.IsName(host) {
		return true
	}
	at, err := l.Resolver.LookupAddr(ctx, host+".")
	if err != nil && !errors.Is(err, dns.ErrNotFound) {
		return true // nobody knows; it is no time to cry
	}
	return slices.ContainsFunc(at, func(ip netip.Addr) bool { return slices.Contains(l.Addresses, ip) })
}
