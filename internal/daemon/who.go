package daemon

import (
	"net/netip"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/intake"
)

// This file says what follows from accounts and names for the way in.

// disclosures are the words for what VRFY tells.
var disclosures = map[config.VRFY]intake.Disclosure{
	config.VRFYVague: intake.TellNothing, config.VRFYTell: intake.TellUsers, config.VRFYRefuse: intake.TellOff,
}

// disclosure is what a listener tells of addresses; users of this host are told nothing.
func (g *graph) disclosure(listener string) intake.Disclosure {
	at := g.listener(listener)
	if at < 0 {
		return intake.TellNothing
	}
	return disclosures[g.config.Listeners[at].VRFY]
}

// clientResolver is asked for the names of clients: that of block lists, of which each
// client is a question as well.
func (d *Daemon) clientResolver() dns.Resolver { return d.inForce().blockResolver }

// clientName begins to look up the name of a client.
func (d *Daemon) clientName(ip netip.Addr) func() string { return d.namer.Begin(ip).Name }
