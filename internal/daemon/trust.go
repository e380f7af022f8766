package daemon

import (
	"context"
	"net/netip"
	"os"
	"slices"

	"postern/internal/config"
	"postern/internal/container"
	"postern/internal/intake"
	"postern/internal/lists"
	"postern/internal/mail"
	"postern/internal/smtpserver"
)

// This file decides which clients are trusted by their address: those of the networks
// that a listener trusts, but not those behind an address with which everybody may
// appear.

// lookAround looks at where the server runs; own are the machine's addresses.
func lookAround(own []netip.Addr) container.Surroundings {
	return container.Look(os.DirFS("/"), os.Getenv, own)
}

// masks says why a client's address tells nobody who it is, as the machine is now.
func (d *Daemon) masks(client netip.Addr) string { return d.around.Load().Masks(client) }

// handler lets the door of a graph answer what an SMTP server is asked at a listener.
func (d *Daemon) handler(g *graph, door *intake.Intake, listener string) smtpserver.Handler {
	return smtpserver.HandlerFunc(func(ctx context.Context, o mail.Origin) (smtpserver.Session, mail.Reply) {
		if refusal := door.Greeting(); !refusal.IsZero() {
			return nil, refusal
		}
		if _, masked := g.policy.Trusts(listener, o.Client.Addr()); masked != "" {
			d.tellMasked(listener, o.Client.Addr(), masked)
		}
		s := door.Session(o)
		return s, s.Begin(ctx)
	})
}

// tellMasked logs once for each address and listener why it is not trusted. There are
// as many of these as the machine has gateways and addresses.
func (d *Daemon) tellMasked(listener string, client netip.Addr, why string) {
	if _, told := d.masked.LoadOrStore(listener+" "+client.WithZone("").String(), true); !told {
		d.Logger.Warn("client is not trusted although trust has its address: "+why, "listener", listener, "client", client.String(),
			"hint", "let clients reach the server with their own addresses, or set trust_gateway; docs/lists.md")
	}
}

// adviseTrust warns of what is trusted in vain, or too much, where the server runs.
func adviseTrust(c *config.Config, book *lists.Book, around container.Surroundings) []config.Problem {
	var found []config.Problem
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if l.Address.Addr().IsLoopback() {
			continue
		}
		for _, why := range masked(trusted(l, book), around) {
			if l.TrustGateway {
				found = append(found, l.Problem("listener.trust_gateway", why+": whoever comes through there can send mail to anywhere",
					"leave it out, unless none but your own clients can"))
				continue
			}
			found = append(found, l.Problem("listener.trust", why+": it is not trusted",
				"let clients reach the server with their own addresses (docs/lists.md), or set trust_gateway = true if none but your own can come through there"))
		}
	}
	return found
}

// trusted are the networks that a listener trusts, those of lists among them.
func trusted(l *config.Listener, book *lists.Book) []netip.Prefix {
	networks := slices.Clone(l.Trust)
	for _, name := range l.TrustLists {
		if list := book.List(name.Text).List(); list != nil {
			for p := range list.Networks() {
				networks = append(networks, p)
			}
		}
	}
	return networks
}

// masked says which of the addresses that are trusted tell nobody.
func masked(trust []netip.Prefix, around container.Surroundings) []string {
	var whys []string
	for _, p := range trust {
		for _, ip := range around.Masked(p) {
			if why := around.Masks(ip); !slices.Contains(whys, why) {
				whys = append(whys, why)
			}
		}
	}
	return whys
}

// trustWarnings are those of adviseTrust, for a server that runs.
func (d *Daemon) trustWarnings(g *graph) []string {
	var warnings []string
	for _, p := range adviseTrust(g.config, g.lists, *d.around.Load()) {
		warnings = append(warnings, p.Message)
	}
	return warnings
}
