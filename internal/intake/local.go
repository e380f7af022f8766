package intake

import (
	"context"
	"net/netip"
	"slices"

	"postern/internal/directory"
	"postern/internal/mail"
)

// Local knows which addresses mean this host, and whom they stand for.
//
// A recipient at one of the host's own names or addresses, or in a domain of the
// directory, is local: mail for it is never sent on as it is, because the next server
// would send it straight back. It stands for what the directory says (see Expand).
// There are no mailboxes, so that a user of the directory whose address is no alias
// has nobody there, like an address that nobody has. Postmaster is always somebody.
type Local struct {
	// Names are the host's own domains, the first of which is its own name;
	// "localhost" is always one.
	Names []string
	// Addresses are the host's addresses as others see them, for user@[address].
	// Loopback addresses, and the one a client connected to, always count.
	Addresses []netip.Addr
	// Postmaster gets the mail for postmaster (RFC 5321 4.5.1), where the directory has
	// nobody else for it.
	Postmaster mail.Address
	// Postmasters returns who gets it at a domain instead, which need not be one of this
	// host otherwise: null for nobody. Nil: nobody ever does.
	Postmasters func(domain string) mail.Address
	// IsUser reports whether a name is that of a user of this host; nil: none
	// is. Mail that such users send each other is for the Postmaster.
	IsUser func(name string) bool
	// Directory has the local domains besides Names, and who is in all of them. Nil:
	// there is none.
	Directory Directory
	// Elsewhere reports whether an explicit route takes the mail for a local address to another
	// server: from somebody here if known, else from nobody (route.Rules). Nil: none does.
	Elsewhere func(r mail.Routing, known bool) bool
	// Sources are asked in their order about addresses that the directory does not have.
	Sources []Source
}

// Directory is what is known of the addresses of this host, in memory.
type Directory interface {
	// IsLocal reports whether a domain is local.
	IsLocal(domain string) bool
	// ResolveFor returns what an address stands for, one step of it: in what the user
	// with the login sends, if that is not empty.
	ResolveFor(login string, a mail.Address) (directory.Resolution, bool)
}

// Source is another place where it is known for whom addresses of local domains are.
type Source interface {
	// Resolve returns what an address stands for, and whether the source has it. An
	// error says that it cannot tell at present: the address may well be somebody's.
	Resolve(ctx context.Context, a mail.Address) (r directory.Resolution, found bool, err error)
}

// Is reports whether a means this host, for a client that connected to
// the given address (which may be the zero Addr).
func (l *Local) Is(a mail.Address, connected netip.Addr) bool {
	if a.Domain == "" {
		return !a.IsNull()
	}
	if _, other := l.postmasterAt(a); other {
		return true
	}
	if ip, ok := a.LiteralIP(); ok {
		return l.Has(ip) || ip.Unmap() == connected.Unmap().WithZone("")
	}
	return l.HasName(a.Domain)
}

// postmaster returns who gets the mail for postmaster at the domain of an address.
func (l *Local) postmaster(a mail.Address) mail.Address {
	if to, other := l.postmasterAt(a); other {
		return to
	}
	return l.Postmaster
}

// postmasterAt returns who gets the mail of an address because it is that of postmaster
// at a domain that has one of its own. One that is its own postmaster is not led anywhere.
func (l *Local) postmasterAt(a mail.Address) (to mail.Address, other bool) {
	if !a.IsPostmaster() || l.Postmasters == nil {
		return mail.Address{}, false
	}
	to = l.Postmasters(a.Domain)
	same := to.IsPostmaster() && mail.SameDomain(to.Domain, a.Domain)
	return to, !to.IsNull() && !same
}

// HasName reports whether a domain is a name of this host, or one of its domains.
func (l *Local) HasName(domain string) bool {
	same := func(name string) bool { return mail.SameDomain(name, domain) }
	return same("localhost") || slices.ContainsFunc(l.Names, same) || l.Directory != nil && l.Directory.IsLocal(domain)
}

// Has reports whether an IP address is one of this host.
func (l *Local) Has(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsUnspecified() || slices.Contains(l.Addresses, ip)
}

// lookup returns what a local address stands for, in what the user with the login
// sends. What a domain has for all else comes after everybody who is named anywhere;
// so it is not known while a source cannot tell.
func (l *Local) lookup(ctx context.Context, login string, a mail.Address) (directory.Resolution, bool, error) {
	a.Domain = l.domainOf(a)
	var first directory.Resolution
	var found bool
	if l.Directory != nil {
		if first, found = l.Directory.ResolveFor(login, a); found && !first.CatchAll {
			return first, true, nil
		}
	}
	for _, s := range l.Sources {
		if r, has, err := s.Resolve(ctx, a); has || err != nil {
			return r, has, err
		}
	}
	return first, found, nil
}

// Owner returns the login of the user of the directory whose own address it is; "" if
// it is anything else.
func (l *Local) Owner(a mail.Address) string {
	if l.Directory == nil {
		return ""
	}
	a.Domain = l.domainOf(a)
	if r, found := l.Directory.ResolveFor("", a); found && r.Kind == directory.KindUser {
		return r.Login
	}
	return ""
}

// domainOf returns the domain under which a local address is recorded: that of the
// host's name, if the address has none, or has it in other words.
func (l *Local) domainOf(a mail.Address) string {
	_, literal := a.LiteralIP()
	if len(l.Names) > 0 && (literal || a.Domain == "" || mail.SameDomain(a.Domain, "localhost")) {
		return l.Names[0]
	}
	return a.Domain
}

// Leads returns where mail goes that the server itself sends to an address that the
// administrator has named: nowhere if it is one of this host that is nobody's. Of one
// that cannot be looked up at present the postmaster is told.
func (l *Local) Leads(a mail.Address) []mail.Address { return l.leads(a, Sending{Ours: true}) }

// Reports returns where a report goes to the sender of a message. It is Leads, but the
// members of a list do not get what a stranger has put into a report.
func (l *Local) Reports(a mail.Address) []mail.Address {
	return l.leads(a, Sending{Ours: true, Report: true})
}

func (l *Local) leads(a mail.Address, by Sending) []mail.Address {
	x, err := l.Expand(context.Background(), a, by)
	switch {
	case err != nil && mail.ReplyOf(err).Temporary():
		return []mail.Address{l.Postmaster}
	case err != nil:
		return nil
	case x == nil:
		return []mail.Address{a}
	}
	list := make([]mail.Address, len(x.Members))
	for i := range x.Members {
		list[i] = x.Members[i].Address
	}
	return list
}
