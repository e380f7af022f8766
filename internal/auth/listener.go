package auth

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"postern/internal/mail"
)

// How a client is known that has not said AUTH.
const (
	ByCertificate = "certificate"
	ByAddress     = "address"
)

// Listener is how the clients of one listener can authenticate.
type Listener struct {
	// Mechanisms are those that may be offered; none: AUTH is not.
	Mechanisms []string
	// Sources names those to ask, in order.
	Sources []string
	// Proxies are the networks of those before it. With an address of theirs comes whoever
	// they do not tell.
	Proxies []netip.Prefix
}

// masked reports whether the address of a client tells nobody who it is.
func (a *Authenticator) masked(o *mail.Origin) bool {
	client := o.Client.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(a.Listeners[o.Listener].Proxies, func(p netip.Prefix) bool { return p.Contains(client) }) ||
		a.Masks != nil && a.Masks(client) != ""
}

// Addresses knows users by the address of their client: applications that cannot log in.
type Addresses interface {
	// Address returns whose address it is.
	Address(client netip.Addr) (mail.Principal, bool)
}

// Offered returns the mechanisms that a client is offered, the best first: those of its
// listener that one of the listener's sources can verify.
func (a *Authenticator) Offered(o mail.Origin) []string {
	l := a.Listeners[o.Listener]
	var names []string
	for i := range begin {
		if m := &begin[i]; slices.Contains(l.Mechanisms, m.name) && m.possible(&o) && a.verifies(l, m.needs) {
			names = append(names, m.name)
		}
	}
	return names
}

// verifies reports whether a source of a listener can do something.
func (a *Authenticator) verifies(l Listener, needs func(*Methods) bool) bool {
	return slices.ContainsFunc(l.Sources, func(name string) bool {
		m, known := a.Options.Sources[name]
		return known && needs(&m)
	})
}

// Refuse refuses a client that connects to a listener at which passwords can be guessed,
// and that is banned.
func (a *Authenticator) Refuse(o mail.Origin) mail.Reply {
	if a.Guard == nil || len(a.Listeners[o.Listener].Mechanisms) == 0 {
		return mail.Reply{}
	}
	return a.Guard.Refuse(o.Client.Addr())
}

// Implied returns who a client is that has said nothing: by its certificate, or else by
// its address, where that tells who it is. known is false for nobody. Errors are those of
// a source that does not answer: it is not known who it is.
func (a *Authenticator) Implied(ctx context.Context, o mail.Origin) (who mail.Principal, known bool, err error) {
	if o.TLS != nil && o.TLS.Certificate != nil {
		for _, name := range a.Listeners[o.Listener].Sources {
			c := a.Options.Sources[name].Certificates
			if c == nil {
				continue
			}
			who, err := c.Certificate(ctx, *o.TLS.Certificate, o.TLS.Verified)
			if errors.Is(err, ErrUnknown) {
				continue
			}
			if errors.Is(err, ErrInvalid) { // it is somebody's who must not be let in
				break
			}
			who.Source, who.Mechanism = name, ByCertificate
			return who, err == nil, err
		}
	}
	if a.Addresses == nil || a.masked(&o) {
		return mail.Principal{}, false, nil
	}
	who, known = a.Addresses.Address(o.Client.Addr())
	who.Mechanism = ByAddress
	return who, known, nil
}
