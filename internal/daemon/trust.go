package daemon

import (
	"context"
	"net/netip"
	"os"
	"slices"

	"postern/internal/config"
	"postern/internal/container"
	"postern/internal/intake"
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

// networks are those whose clients a listener trusts, for one client: none if its
// address does not tell who it is. Why it does not is for the client and the log.
func (d *Daemon) networks(l *config.Listener, client netip.Addr) (trust []netip.Prefix, why string) {
	if l.TrustGateway || !intake.Trusts(l.Trust, client) {
		return l.Trust, ""
	}
	if why := d.around.Load().Masks(client); why != "" {
		return nil, why
	}
	return l.Trust, ""
}

// trusts reports whether a listener trusts a client by its address.
func (d *Daemon) trusts(l *config.Listener, client netip.Addr) bool {
	trust, _ := d.networks(l, client)
	return intake.Trusts(trust, client)
}

// handler lets the door answer what an SMTP server is asked at a listener.
func (d *Daemon) handler(door *intake.Intake, l *config.Listener) smtpserver.Handler {
	return smtpserver.HandlerFunc(func(ctx context.Context, o mail.Origin) (smtpserver.Session, mail.Reply) {
		if refusal := door.Greeting(); !refusal.IsZero() {
			return nil, refusal
		}
		trust, why := d.networks(l, o.Client.Addr())
		s := door.Session(o, trust)
		if why != "" {
			s.Distrust(why)
			d.tellMasked(l, o.Client.Addr(), why)
		}
		return s, s.Begin(ctx)
	})
}

// tellMasked logs once for each address and listener why it is not trusted. There are
// as many of these as the machine has gateways and addresses.
func (d *Daemon) tellMasked(l *config.Listener, client netip.Addr, why string) {
	if _, told := d.masked.LoadOrStore(l.Name+" "+client.WithZone("").String(), true); !told {
		d.Logger.Warn("client is not trusted although trust has its address: "+why, "listener", l.Name, "client", client.String(),
			"hint", "let clients reach the server with their own addresses, or set trust_gateway; docs/lists.md")
	}
}

// adviseTrust warns of what is trusted in vain, or too much, where the server runs.
func adviseTrust(c *config.Config, around container.Surroundings) []config.Problem {
	var found []config.Problem
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if l.Address.Addr().IsLoopback() {
			continue
		}
		for _, why := range masked(l.Trust, around) {
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
	for _, p := range adviseTrust(g.config, *d.around.Load()) {
		warnings = append(warnings, p.Message)
	}
	return warnings
}
