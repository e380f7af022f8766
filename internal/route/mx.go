package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"postern/internal/dns"
	"postern/internal/mail"
)

// MXOptions say how mail goes directly to its domain. Port and the resolver
// are required.
type MXOptions struct {
	Lookup
	// Name is that of the transport; "" is "mx".
	Name string
	// Port is where the servers listen: 25 (RFC 5321 4.5.4.2) but for tests.
	Port uint16
	// IsName reports whether a name, in any form, is this server's own; nil: none is.
	IsName func(name string) bool
	// Lane is what the lanes to all servers have in common.
	Lane Lane
}

// MX sends mail to the servers that its domain names (RFC 5321 5.1). It is
// safe for use by several goroutines.
type MX struct {
	options MXOptions
}

const (
	// maxExchangers bounds how many servers of a domain are looked up, the
	// preferred first: an attempt would never reach the rest.
	maxExchangers = 30
	// maxOfExchanger bounds how many addresses of one are tried, so that one
	// that is down leaves room in an attempt for the next.
	maxOfExchanger = 5
)

// NewMX returns the route that asks DNS for each domain.
func NewMX(o MXOptions) *MX {
	o.complete = true
	o.Name = cmp.Or(o.Name, "mx")
	if o.IsName == nil {
		o.IsName = func(string) bool { return false }
	}
	return &MX{options: o}
}

// The ways in which there is no way to a domain.
var (
	errBadDomain = mail.Refuse(550, "5.1.2", "The domain is not a name that DNS could hold")
	errNoDomain  = mail.Refuse(550, "5.1.2", "The domain does not exist")
	errNullMX    = mail.Refuse(556, "5.1.10", "The domain takes no mail")
	errNoServer  = mail.Refuse(550, "5.4.4", "The domain has no server for mail")
	errLoop      = mail.Refuse(554, "5.4.6", "The domain's mail comes to this server, which does not know the domain")
	errNoAnswer  = mail.Refuse(451, "4.4.3", "No answer from DNS for the domain")
	errNoBetter  = mail.Refuse(451, "4.4.4", "This server is a backup for the domain, and the servers before it do not resolve")
)

// errNoName is why an exchanger is passed over (RFC 5321 5.1: the data of an
// MX record must be a name that has an address).
var errNoName = errors.New("it is no name of a host")

// exchanger is a server of a domain, and where it is.
type exchanger struct {
	dns.MX
	found
	// literal says that it is an address literal, implicit that it is the
	// domain itself, which has no MX records.
	literal, implicit bool
}

// Route asks for the servers of the domain now. They are returned by
// preference, in random order among equals; those without an address are
// passed over as long as another has one. A domain without MX records is its
// own server. If this server is one of them, it and all that are not preferred
// to it are left out: they would send the mail back.
//
// Errors. Permanent: 550 5.1.2 when the domain does not exist or could not;
// 556 5.1.10 when it says that it takes no mail (RFC 7505); 550 5.4.4 when DNS
// is certain that none of its servers has an address; 554 5.4.6 when this
// server is the one preferred. Temporary: 451 4.4.3 when DNS gave no answer,
// and 451 4.4.4 when those preferred to this server have no address.
func (m *MX) Route(ctx context.Context, q Question) (Route, error) {
	list, err := m.exchangers(ctx, q.Destination)
	if err != nil {
		return Route{Name: m.options.Name}, err
	}
	m.find(ctx, list)
	usable, err := m.withoutSelf(list)
	if err != nil {
		return Route{Name: m.options.Name}, err
	}
	r := Route{Name: m.options.Name, Site: m.options.Name + ":" + site(usable, m.options.Port)}
	m.shuffleEquals(usable)
	for _, x := range usable {
		r.Partial = r.Partial || errors.Is(x.err, dns.ErrTemporary)
		if len(x.addresses) > 0 {
			r.Hops = append(r.Hops, Hop{Addresses: x.addresses, FromMX: !x.implicit && !x.literal, Lane: m.options.Lane.to(m.options.Name, x.Host, m.options.Port)})
		}
	}
	if len(r.Hops) == 0 {
		return Route{Name: m.options.Name}, noWay(usable, len(usable) < len(list))
	}
	return r, nil
}

// exchangers returns the servers of a destination, the preferred first, each
// once.
func (m *MX) exchangers(ctx context.Context, d mail.Destination) ([]exchanger, error) {
	if ip, ok := (mail.Address{Domain: string(d)}).LiteralIP(); ok {
		return []exchanger{{MX: dns.MX{Host: ip.String()}, literal: true}}, nil
	}
	domain, err := mail.ASCIIDomain(string(d))
	if err != nil {
		return nil, errBadDomain.Because(err)
	}
	records, err := m.options.Resolver.LookupMX(ctx, domain+".")
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return []exchanger{{MX: dns.MX{Host: domain}, implicit: true}}, nil
	case err != nil:
		return nil, errNoAnswer.Because(err)
	}
	if list := named(records); len(list) > 0 {
		return list[:min(len(list), maxExchangers)], nil
	}
	return nil, errNullMX
}

// named are the exchangers of MX records, sorted. One that has no name is no
// server: it says that there is none (RFC 7505 3).
func named(records []dns.MX) []exchanger {
	var list []exchanger
	for _, mx := range records {
		if mx.Host != "" {
			list = append(list, exchanger{MX: mx})
		}
	}
	slices.SortFunc(list, func(a, b exchanger) int {
		return cmp.Or(cmp.Compare(a.Preference, b.Preference), cmp.Compare(a.Host, b.Host))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(x exchanger) bool {
		again := seen[x.Host]
		seen[x.Host] = true
		return again
	})
}

// find looks all exchangers up at the same time.
func (m *MX) find(ctx context.Context, list []exchanger) {
	var running sync.WaitGroup
	for i := range list {
		running.Go(func() { list[i].found = m.findOne(ctx, &list[i]) })
	}
	running.Wait()
}

func (m *MX) findOne(ctx context.Context, x *exchanger) found {
	if m.options.IsName(x.Host) {
		return found{self: true, err: fmt.Errorf("%s: %w", x.Host, errSelf)}
	}
	h := mail.HostPort{Host: x.Host, Port: m.options.Port}
	if _, address := h.IP(); !x.literal && (address || mail.CheckDomain(x.Host) != nil) {
		return found{err: fmt.Errorf("%s: %w", x.Host, errNoName)}
	}
	return m.options.find(ctx, h, maxOfExchanger)
}

// withoutSelf leaves out this server and all that are not preferred to it
// (RFC 5321 5.1).
func (m *MX) withoutSelf(list []exchanger) ([]exchanger, error) {
	self := slices.IndexFunc(list, func(x exchanger) bool { return x.self })
	if self < 0 {
		return list, nil
	}
	others := list[:self]
	for len(others) > 0 && others[len(others)-1].Preference == list[self].Preference {
		others = others[:len(others)-1]
	}
	if len(others) == 0 {
		return nil, errLoop.Because(fmt.Errorf("%s: %w", list[self].Host, errSelf))
	}
	return others, nil
}

// noWay gives the failures of all exchangers one reply. Where one is not
// known, it may be the one that works; backup says that others than these were
// left out.
func noWay(list []exchanger, backup bool) error {
	failures := make([]error, len(list))
	for i := range list {
		failures[i] = list[i].err
	}
	cause := errors.Join(failures...)
	switch {
	case errors.Is(cause, dns.ErrTemporary):
		return errNoAnswer.Because(cause)
	case backup:
		return errNoBetter.Because(cause)
	case list[0].implicit && errors.Is(cause, dns.ErrNoName):
		return errNoDomain.Because(cause)
	}
	return errNoServer.Because(cause)
}

// site names the servers whatever they resolve to now, in an order that no
// shuffling changes: a comma between equals, a semicolon before those that
// come after.
func site(list []exchanger, port uint16) string {
	var b strings.Builder
	for i := range list {
		separator := ","
		switch {
		case i == 0:
			separator = ""
		case list[i].Preference != list[i-1].Preference:
			separator = ";"
		}
		b.WriteString(separator)
		b.WriteString(mail.HostPort{Host: list[i].Host, Port: port}.String())
	}
	return b.String()
}

// shuffleEquals spreads the load over servers of the same preference
// (RFC 5321 5.1).
func (m *MX) shuffleEquals(list []exchanger) {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Preference == list[0].Preference {
			n++
		}
		m.options.shuffle(n, func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[n:]
	}
}
