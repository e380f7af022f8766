package route

import (
	"context"
	"errors"

	"postern/internal/config"
	"postern/internal/lists"
	"postern/internal/mail"
)

// General is the way of all mail that no explicit route takes, and no user's own: to the
// mailhub, through the firewall, or directly. Direct is required.
type General struct {
	// Mailhub gets all of it; nil: there is none.
	Mailhub Transport
	// Router gets mail whose domain does not resolve, and with Firewall all but that for
	// near domains; nil: there is none.
	Router   Transport
	Firewall bool
	// Near reports whether a domain is near for mail of a sender, and by which entry. Nil:
	// none is.
	Near func(sender mail.Address, domain string) (what string, near bool)
	// Direct carries mail to the servers of its domain.
	Direct Transport
	// IsLocal reports whether a domain is one of this host; nil: none is.
	IsLocal func(domain string) bool
}

// NearDomains reads the near domains that a setting has. It fails with config.Problems,
// joined.
func NearDomains(setting string, values []config.Text, book *lists.Book) (near func(domain string) (string, bool), err error) {
	r := reader{book: book}
	e := r.read(setting, values, lists.Domains, lists.Domains)
	return e.domain, errors.Join(r.problems...)
}

// errHere is that of mail that waits for an address of this host: its domain has become one
// since it was accepted, or a route that took it is gone.
var errHere = mail.Refuse(451, "4.3.5", "The domain is one of this server now, and no route leads to another that has the address")

// step is where General sends the mail of a domain, and why.
type step struct {
	first Transport
	// last is for when DNS is certain that first has no server; nil: there is none.
	last Transport
	why  string
}

// step decides about mail of a sender to a domain. Nothing is asked for it.
func (g *General) step(sender mail.Address, domain string) (step, error) {
	if g.IsLocal != nil && g.IsLocal(domain) {
		return step{}, errHere
	}
	switch near, isNear := g.near(sender, domain); {
	case g.Mailhub != nil:
		return step{first: g.Mailhub, why: "the mailhub gets all other mail"}, nil
	case g.Router == nil:
		return step{first: g.Direct, why: "directly: there is neither mailhub nor router"}, nil
	case !g.Firewall:
		return step{g.Direct, g.Router, "directly, and by the router if the domain does not resolve"}, nil
	case isNear:
		return step{g.Direct, g.Router, "directly, because the domain is near (" + near + "), and by the router if it does not resolve"}, nil
	}
	return step{first: g.Router, why: "by the router through the firewall, because the domain is not near"}, nil
}

func (g *General) near(sender mail.Address, domain string) (string, bool) {
	if g.Near == nil || !g.Firewall {
		return "", false
	}
	return g.Near(sender, domain)
}

// Route returns the way for a domain. Its errors are those of the transport that it asks; of
// mail for a domain of this host 451 4.3.5. The router is asked in the place of the
// servers of the domain only when DNS is certain that there are none: 550 5.1.2 and 5.4.4.
// Whatever fails for now waits, and so does what the router does not take.
func (g *General) Route(ctx context.Context, q Question) (Route, error) {
	s, err := g.step(q.Sender, q.Destination.Domain())
	if err != nil {
		return Route{}, err
	}
	r, err := s.first.Route(ctx, q)
	if err != nil && s.last != nil && doesNotResolve(err) {
		return s.last.Route(ctx, q)
	}
	return r, err
}

// doesNotResolve reports whether DNS is certain that a domain has no server. One that says
// that it takes no mail does resolve (RFC 7505), and so does one whose mail leads back here.
func doesNotResolve(err error) bool {
	e, ok := errors.AsType[*mail.Error](err)
	return ok && (e.Reply == errNoDomain.Reply || e.Reply == errNoServer.Reply)
}
