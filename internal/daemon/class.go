package daemon

import (
	"postern/internal/directory"
	"postern/internal/mail"
)

// class is the priority class of a message, as far as policy says nothing: that of the
// user's record, that which the message gives itself, or that of the listener.
func (g *graph) class(o *mail.Origin, own *mail.Class) mail.Class {
	if a, d := o.Account, g.records(); a != nil && d != nil && a.Source == directory.Source {
		if u, _ := d.User(a.Name); u.Class != "" {
			if class, err := mail.ParseClass(u.Class); err == nil {
				return class
			}
		}
	}
	if own != nil {
		return *own
	}
	if at := g.listener(o.Listener); at >= 0 {
		return g.config.Listeners[at].Class
	}
	return mail.Normal
}

// ownClass reports whether what a client sends may give itself a class: it must be known
// who that is.
func (g *graph) ownClass(o *mail.Origin) bool {
	if !g.config.Message.ClassFromHeader {
		return false
	}
	if o.Account != nil || o.User != nil {
		return true
	}
	trusted, _ := g.policy.Trusts(o.Listener, o.Client.Addr())
	return trusted
}
