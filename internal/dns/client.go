package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postern/internal/mail"
)

// Options are the settings of a Client; the zero value asks the servers of
// the machine.
type Options struct {
	// Servers are asked in this order. None means those of ResolvConf, which
	// is read again when it changes.
	Servers []netip.AddrPort
	// Timeout bounds one question, with all tries of all servers (10 s).
	Timeout time.Duration
	// ResolvConf and Hosts are the files of the machine (/etc/resolv.conf,
	// /etc/hosts).
	ResolvConf, Hosts string

	Clock mail.Clock
}

const (
	defaultTimeout = 10 * time.Second
	// maxEntries bounds the cache: some 5 MiB of usual answers.
	maxEntries = 10_000
	// maxServers bounds how many are asked: each has a share of the time.
	maxServers = 8
	// rounds is how often every server is asked before the question fails.
	rounds = 2
)

// Client asks name servers that look up everything (recursive ones), after
// the file of host names of the machine. It is safe for use by several
// goroutines.
type Client struct {
	options Options
	cache   *cache
	hosts   *watched[hostNames]
	machine *watched[resolvConf]
}

// NewClient returns a client. It asks nothing yet.
func NewClient(o Options) *Client {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	if o.Hosts == "" {
		o.Hosts = "/etc/hosts"
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	return &Client{
		options: o,
		cache:   newCache(maxEntries, o.Clock),
		hosts:   watch(o.Hosts, o.Clock, parseHosts),
		machine: watch(o.ResolvConf, o.Clock, parseResolvConf),
	}
}

// LookupAddr returns what the machine's file of host names says of host, and
// if that is nothing asks for its A and AAAA records (RFC 1035 3.4.1,
// RFC 3596) at the same time. One good answer is enough: servers that fail for
// AAAA alone are common.
//
// A name with a dot is complete as it stands. Only a single label, such as
// "relay", is tried with the search domains of /etc/resolv.conf first, and
// only while the servers are those of that file.
func (c *Client) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	if known := c.hosts.get()[canonical(host)]; len(known) > 0 {
		return append([]netip.Addr(nil), known...), nil
	}
	var err error
	for _, name := range c.candidates(host) {
		var found []netip.Addr
		if found, err = c.lookupAddr(ctx, name); !isNotFound(err) {
			return found, err
		}
	}
	return nil, err
}

// candidates are the complete names that host may stand for.
func (c *Client) candidates(host string) []string {
	var names []string
	if !strings.Contains(host, ".") && len(c.options.Servers) == 0 {
		for _, domain := range c.machine.get().search {
			names = append(names, host+"."+dns.Fqdn(domain))
		}
	}
	return append(names, dns.Fqdn(host))
}

func (c *Client) lookupAddr(ctx context.Context, name string) ([]netip.Addr, error) {
	var v6 answer
	var asking sync.WaitGroup
	asking.Go(func() { v6 = c.lookup(ctx, name, dns.TypeAAAA) })
	v4 := c.lookup(ctx, name, dns.TypeA)
	asking.Wait()

	var addresses []netip.Addr
	for _, rr := range append(v4.records[:len(v4.records):len(v4.records)], v6.records...) {
		if ip, ok := addressOf(rr); ok {
			addresses = append(addresses, ip)
		}
	}
	switch {
	case len(addresses) > 0:
		return addresses, nil
	case v4.err != nil && !isNotFound(v4.err):
		return nil, v4.err
	case v6.err != nil:
		return nil, v6.err
	}
	return nil, fmt.Errorf("%w: %s has no address", ErrTemporary, name)
}

// LookupMX asks for the MX records of domain (RFC 1035 3.3.9).
func (c *Client) LookupMX(ctx context.Context, domain string) ([]MX, error) {
	a := c.lookup(ctx, dns.Fqdn(domain), dns.TypeMX)
	if a.err != nil {
		return nil, a.err
	}
	list := make([]MX, 0, len(a.records))
	for _, rr := range a.records {
		if mx, ok := rr.(*dns.MX); ok {
			list = append(list, MX{Host: canonical(mx.Mx), Preference: mx.Preference})
		}
	}
	return list, nil
}

// LookupName asks for the names of an address, its PTR records
// (RFC 1035 3.5), and returns them in lower case, without the final dot.
func (c *Client) LookupName(ctx context.Context, ip netip.Addr) ([]string, error) {
	a := c.lookup(ctx, ReverseName(ip), dns.TypePTR)
	if a.err != nil {
		return nil, a.err
	}
	names := make([]string, 0, len(a.records))
	for _, rr := range a.records {
		if ptr, ok := rr.(*dns.PTR); ok {
			names = append(names, canonical(ptr.Ptr))
		}
	}
	return names, nil
}

// LookupIPv4 asks for the A records of a complete name (RFC 1035 3.4.1). No file of
// the machine and no search domain has a say.
func (c *Client) LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error) {
	a := c.lookup(ctx, dns.Fqdn(name), dns.TypeA)
	if a.err != nil {
		return nil, a.err
	}
	list := make([]netip.Addr, 0, len(a.records))
	for _, rr := range a.records {
		if ip, ok := addressOf(rr); ok {
			list = append(list, ip)
		}
	}
	return list, nil
}

// LookupText asks for the TXT records of a complete name (RFC 1035 3.3.14). The
// strings of a record are one text.
func (c *Client) LookupText(ctx context.Context, name string) ([]string, error) {
	a := c.lookup(ctx, dns.Fqdn(name), dns.TypeTXT)
	if a.err != nil {
		return nil, a.err
	}
	list := make([]string, 0, len(a.records))
	for _, rr := range a.records {
		if txt, ok := rr.(*dns.TXT); ok {
			list = append(list, strings.Join(txt.Txt, ""))
		}
	}
	return list, nil
}

// LookupAlias asks where a complete name leads that is an alias, its CNAME record (RFC 1035
// 3.3.1), and returns that in lower case, without the final dot. One that is none fails with ErrNotFound.
func (c *Client) LookupAlias(ctx context.Context, name string) (string, error) {
	a := c.lookup(ctx, dns.Fqdn(name), dns.TypeCNAME)
	if a.err != nil {
		return "", a.err
	}
	for _, rr := range a.records {
		if alias, ok := rr.(*dns.CNAME); ok {
			return canonical(alias.Target), nil
		}
	}
	return "", fmt.Errorf("%w: %s is no alias", ErrNotFound, name)
}

// lookup finds the records of a name, along aliases of which the servers did
// not say where they end.
func (c *Client) lookup(ctx context.Context, name string, kind uint16) answer {
	first := question{strings.ToLower(name), kind}
	if _, ok := dns.IsDomainName(name); !ok {
		return answer{err: fmt.Errorf("%w: %s: not a name that DNS could hold", ErrNoName, first)}
	}
	q := first
	for range maxAliases {
		a := c.cache.get(ctx, q, c.ask)
		if a.alias == "" {
			return a
		}
		q.name = a.alias
	}
	return answer{err: fmt.Errorf("%w: %s: %w", ErrTemporary, first, errLoop)}
}

// ask asks the servers, one after the other and in two rounds, until one has
// an answer.
func (c *Client) ask(ctx context.Context, q question) answer {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	servers := c.servers()
	if len(servers) == 0 {
		return answer{err: fmt.Errorf("%w: %s: no name server is known", ErrTemporary, q)}
	}
	share := c.options.Timeout / time.Duration(rounds*len(servers))
	failures := make([]error, len(servers)) // of the last try of each
	for try := range rounds * len(servers) {
		i := try % len(servers)
		a, err := askServer(ctx, servers[i], q, share)
		if err == nil {
			return a
		}
		failures[i] = fmt.Errorf("%s: %w", servers[i], err)
		if ctx.Err() != nil {
			break
		}
	}
	return answer{err: fmt.Errorf("%w: %s: %w", ErrTemporary, q, errors.Join(failures...))}
}

func (c *Client) servers() []netip.AddrPort {
	servers := c.options.Servers
	if len(servers) == 0 {
		servers = c.machine.get().servers
	}
	return servers[:min(len(servers), maxServers)]
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
