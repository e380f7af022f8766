package daemon

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/dns"
	"postern/internal/explain"
	"postern/internal/mail"
	"postern/internal/pressure"
)

// Explainer returns a server that a message can be walked through: the policy and the
// door of a configuration, as a start would make them of it now. It starts nothing,
// and needs neither certificates nor secrets. Block lists are asked if askDNS says so.
// It fails with all that is wrong in what it needs.
func Explainer(c *config.Config, askDNS bool) (*explain.Server, error) {
	r, err := directory.View(context.Background(), directoryDir(c))
	if err != nil {
		return nil, err
	}
	return explainerOf(c, r, askDNS)
}

// explainerOf is Explainer with the records of a directory.
func explainerOf(c *config.Config, r *directory.Directory, askDNS bool) (*explain.Server, error) {
	g := newGraph(c, mail.SystemClock{})
	g.resolver = g.newResolver(dns.Options{})
	g.lasting.offline = !askDNS
	g.lasting.directory = func() *directory.Directory { return r }
	g.lasting.masks = func(client netip.Addr) string { return g.around.Masks(client) }
	if err := g.loadSigning(); err != nil && g.keys != nil {
		return nil, err
	}
	if err := errors.Join(g.loadLocal(), g.loadLists(), g.loadRoutes(), g.loadPolicy()); err != nil {
		return nil, err
	}
	_ = g.loadTLSOut()                  // which files it cannot read matters to connections alone
	g.lasting.credentials = g.newBook() // what is secret stays sealed
	g.lists.LookInDirectory()
	g.around = lookAround(g.local.Addresses)
	return g.explainer(), nil
}

// explainer is the graph as explain needs it.
func (g *graph) explainer() *explain.Server {
	o := g.doorOptions()
	o.Room = g.room()
	return &explain.Server{
		Engine: g.policy, Door: o, Listeners: g.config.Listeners, Sendmail: g.config.Submission,
		Account: g.account, Route: g.leaves, BlockLists: !g.lasting.offline,
		Router: g.router(), Resolve: !g.lasting.offline, OffersRequireTLS: g.offersRequireTLS,
		Outgoing:   explain.Outgoing{Servers: g.servers, Limits: g.limits, Login: g.proves, Whose: g.whose, LosesTLS: g.losesTLS},
		Signatures: g.signatures,
	}
}

// room says whether there is room for a message on the disk now; nil where there is
// no directory yet that tells.
func (g *graph) room() func(int64) error {
	if _, err := os.Stat(g.config.DataDir); err != nil {
		return nil
	}
	limits := pressureLimits(g)
	limits.MaxMemory = 0 // that of the server, which this is not
	return pressure.New(pressure.Options{
		Directories: []pressure.Directory{{Path: g.config.DataDir, Contents: true}}, Limits: limits,
	}).Refuse
}
