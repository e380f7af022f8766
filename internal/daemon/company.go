package daemon

import (
	"cmp"
	"errors"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/route"
)

// This file tells whose mail is whose, where several companies share the server.

// companies are those of the configuration, by the domains of their senders: those that
// are named themselves, and those below which all are meant. A look-up takes a step for
// each label.
type companies struct {
	exact, below map[string]*config.Company
	hosts        map[string]*config.Company // by their hostnames, of those that have one
}

func newCompanies(list []config.Company) companies {
	c := companies{exact: make(map[string]*config.Company), below: make(map[string]*config.Company), hosts: make(map[string]*config.Company)}
	for i := range list {
		if name := list[i].Hostname; name != "" && c.hosts[name] == nil {
			c.hosts[name] = &list[i]
		}
		for _, name := range list[i].Domains {
			if parent, below := strings.CutPrefix(name, "."); below {
				c.below[parent] = &list[i]
			} else {
				c.exact[name] = &list[i]
			}
		}
	}
	return c
}

// of returns the company to which a domain of senders belongs; nil for none.
func (c companies) of(domain string) *config.Company {
	if len(c.exact)+len(c.below) == 0 || domain == "" {
		return nil
	}
	name, err := mail.ASCIIDomain(domain)
	if err != nil {
		return nil
	}
	name = strings.ToLower(name)
	if company := c.exact[name]; company != nil {
		return company
	}
	for _, rest, more := strings.Cut(name, "."); more; _, rest, more = strings.Cut(rest, ".") {
		if company := c.below[rest]; company != nil {
			return company
		}
	}
	return nil
}

// whose returns the company of what a sender sends to a domain. What has the null
// sender is a report, or like one: it is sent in the name of whoever runs the server for
// its recipient.
func (c companies) whose(sender mail.Address, to string) *config.Company {
	if sender.IsNull() {
		return c.of(to)
	}
	return c.of(sender.Domain)
}

// postmaster returns the postmaster of the company that has a domain, or speaks under
// that name; null where it has none of its own.
func (c companies) postmaster(domain string) mail.Address {
	if company := cmp.Or(c.of(domain), c.hosts[strings.ToLower(domain)]); company != nil {
		return company.Postmaster
	}
	return mail.Address{}
}

// company is what mail of a sender shows of the server.
func (g *graph) company(sender mail.Address) mail.Company {
	shown := mail.Company{Hostname: g.config.Hostname, Postmaster: g.config.Postmaster}
	if c := g.companies.of(sender.Domain); c != nil {
		shown.Name = c.Name
		shown.Hostname = cmp.Or(c.Hostname, shown.Hostname)
		if !c.Postmaster.IsNull() {
			shown.Postmaster = c.Postmaster
		}
	}
	return shown
}

// identityOf is what servers of a transport are told, whoever sends.
func identityOf(t *config.Transport) route.Identity {
	return route.Identity{Hostname: t.Hello, IPv4: t.SourceIPv4, IPv6: t.SourceIPv6}
}

// finishIdentity puts into a lane what is of the company whose mail it is, where the
// transport has nothing of its own. The addresses go together: with that of the transport
// for one family, and that of the company for the other, a server could be reached over
// both, though each of the two was to use one alone.
func (g *graph) finishIdentity(l *route.Lane, q route.Question) {
	c := g.companies.whose(q.Sender, q.Destination.Domain())
	if c == nil {
		return
	}
	if l.TLS.Certificate == nil {
		l.TLS.Certificate = g.tlsOut.companies[c]
	}
	l.From.Hostname = cmp.Or(l.From.Hostname, c.Hostname)
	if !l.From.Bound() {
		l.From.IPv4, l.From.IPv6 = c.SourceIPv4, c.SourceIPv6
	}
}

// nearDomains are those that are near for all mail, and for that of some companies.
type nearDomains struct {
	all func(domain string) (entry string, is bool)
	of  map[*config.Company]func(domain string) (entry string, is bool)
}

// loadNear reads the near domains. Lists come before it.
func (g *graph) loadNear() (near nearDomains, err error) {
	near = nearDomains{of: make(map[*config.Company]func(string) (string, bool))}
	near.all, err = route.NearDomains("routing.near", g.config.Routing.Near, g.lists)
	for i := range g.config.Companies {
		c := &g.config.Companies[i]
		if len(c.Near) > 0 {
			var wrong error
			near.of[c], wrong = route.NearDomains("company.near", c.Near, g.lists)
			err = errors.Join(err, wrong)
		}
	}
	return near, err
}

// isNear reports whether a domain is near for mail of a sender, and by which entry.
func (g *graph) isNear(sender mail.Address, domain string) (entry string, is bool) {
	if g.near.all == nil { // nothing was read for routes
		return "", false
	}
	if entry, is = g.near.all(domain); is {
		return entry, true
	}
	if own := g.near.of[g.companies.whose(sender, domain)]; own != nil {
		return own(domain)
	}
	return "", false
}
