package intake

import (
	"net/netip"
	"slices"

	"postern/internal/mail"
)

// Local knows which addresses mean this host.
//
// A recipient at one of the host's own names or addresses is local: mail for
// it is never sent on, because the next server would send it straight back.
// There are no mailboxes, so every local recipient but postmaster is
// unknown; postmaster is redirected to Postmaster.
type Local struct {
	// Names are the host's own domains; "localhost" is always one.
	Names []string
	// Addresses are the host's addresses as others see them, for user@[address].
	// Loopback addresses, and the one a client connected to, always count.
	Addresses []netip.Addr
	// Postmaster gets the mail for postmaster (RFC 5321 4.5.1).
	Postmaster mail.Address
	// IsUser reports whether a name is that of a user of this host; nil: none
	// is. See ResolveUser.
	IsUser func(name string) bool
}

// Is reports whether a means this host, for a client that connected to
// the given address (which may be the zero Addr).
func (l *Local) Is(a mail.Address, connected netip.Addr) bool {
	if a.Domain == "" {
		return !a.IsNull()
	}
	if ip, ok := a.LiteralIP(); ok {
		return l.Has(ip) || ip.Unmap() == connected.Unmap().WithZone("")
	}
	same := func(name string) bool { return mail.SameDomain(name, a.Domain) }
	return same("localhost") || slices.ContainsFunc(l.Names, same)
}

// Has reports whether an IP address is one of this host.
func (l *Local) Has(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsUnspecified() || slices.Contains(l.Addresses, ip)
}

var errUnknownUser = mail.Refuse(550, "5.1.1", "No such user here")

// Resolve returns the address to which mail for a is to go: a itself when it
// is elsewhere, the Postmaster for postmaster here. Errors: 550 5.1.1 for any
// other address here.
func (l *Local) Resolve(a mail.Address, connected netip.Addr) (mail.Address, error) {
	switch {
	case !l.Is(a, connected):
		return a, nil
	case a.IsPostmaster():
		return l.Postmaster, nil
	}
	return mail.Address{}, errUnknownUser
}

// ResolveUser is Resolve for mail that a user of this host has sent, or that
// is for one: what is for a user of the host goes to the Postmaster too. There
// are no mailboxes, and whoever looks after the host wants to read it.
func (l *Local) ResolveUser(a mail.Address, connected netip.Addr) (mail.Address, error) {
	to, err := l.Resolve(a, connected)
	if err != nil && l.IsUser != nil && l.IsUser(a.Local) {
		return l.Postmaster, nil
	}
	return to, err
}
