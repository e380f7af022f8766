package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"postern/internal/blocklist"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/doctor"
	"postern/internal/mail"
)

// Checked is what Check found; nothing if all is well.
type Checked struct {
	Problems []config.Problem // with these the server does not start
	Warnings []config.Problem // of what is allowed but unwise
}

// Check builds everything that the configuration names, as New and Run do, and
// looks at the machine around it. It starts nothing, makes nothing, and
// connects to nobody. Whether an address is free it cannot tell: a running
// server has it. What depends on who starts the server is a warning.
func Check(c *config.Config, o Options) Checked {
	g := newGraph(c, mail.SystemClock{})
	found := Checked{Warnings: slices.Clone(c.Warnings)}
	if err := g.readDirectory(); errors.Is(err, fs.ErrPermission) {
		found.Warnings = append(found.Warnings, problemsOf(err)...) // the server may be another user's
	} else {
		found.Problems = problemsOf(err)
	}
	for _, p := range problemsOf(g.load()) {
		if _, absent := errors.AsType[absentError](p); absent {
			found.Warnings = append(found.Warnings, p)
		} else {
			found.Problems = append(found.Problems, p)
		}
	}
	if len(found.Problems) == 0 {
		found.Problems = append(found.Problems, runCases(c, g.records())...)
	}
	g.lists.LookInDirectory()
	found.Warnings = append(found.Warnings, g.adviseRecords()...)
	found.Warnings = append(found.Warnings, g.adviseCredentials()...)
	wrong, unwise := doctor.Storage(c)
	found.Problems = append(found.Problems, wrong...)
	found.Warnings = slices.Concat(found.Warnings, unwise, doctor.Memory(c), doctor.Files(c), adviseTrust(c, g.lists, g.around), g.adviseLists(), doctor.Listeners(c, g.local.Addresses), doctor.Sources(c, g.local.Addresses))
	found.Warnings = append(found.Warnings, g.adviseKeys()...)
	for i := range c.Listeners {
		found.Warnings = append(found.Warnings, g.adviseLogin(i)...)
		found.Warnings = append(found.Warnings, doctor.Certificates(&c.Listeners[i], g.shown(i), c.Hostname, g.clock.Now())...)
	}
	return found
}

// problemsOf returns the errors that were joined, as problems.
func problemsOf(err error) []config.Problem {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var problems []config.Problem
		for _, e := range joined.Unwrap() {
			problems = append(problems, problemsOf(e)...)
		}
		return problems
	}
	if p, ok := err.(config.Problem); ok {
		return []config.Problem{p}
	}
	return []config.Problem{{Message: err.Error(), Cause: err}}
}

// CheckDNS asks DNS whether other servers will find this one as they expect, by each name and
// address under which mail leaves,
// whether the servers that the configuration names have addresses, whether each name server answers, and each
// block list as it must.
// It takes a few questions of at most dns.timeout each, some at the same time, and 12 times that in all: what
// would be asked later is not.
func CheckDNS(ctx context.Context, c *config.Config, o Options) []config.Problem {
	most := checkingDNS * c.DNS.Timeout
	asking, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	found := checkDNS(asking, c)
	if asking.Err() != nil && ctx.Err() == nil {
		found = append(found, c.Problem("dns.servers", fmt.Sprintf("in %v not all was answered that is to be asked, and the rest was not asked", most),
			"see what else is said of the name servers, and ask again later"))
	}
	return found
}

// checkingDNS bounds CheckDNS, in times of dns.timeout: where no name server answers, each of a thousand
// servers would be waited for.
const checkingDNS = 12

func checkDNS(ctx context.Context, c *config.Config) []config.Problem {
	g := newGraph(c, mail.SystemClock{})
	if err := g.loadLocal(); err != nil {
		return problemsOf(err)
	}
	alone := g.newResolver(dns.Options{Hosts: os.DevNull}) // the machine's own file says what nobody else knows
	var ports []uint16
	for _, l := range c.Listeners {
		ports = append(ports, l.Address.Port())
	}
	found := doctor.NameServers{Servers: c.DNS.Servers, Only: g.only, Name: c.Hostname}.Check(ctx)
	for i := range found {
		found[i].Place = c.PlaceOf(found[i].Key)
	}
	g.resolver = g.newResolver(dns.Options{})
	next := doctor.NextServers{Resolver: g.outgoing(), Servers: nextServers(c), Own: g.local.Addresses, Ports: ports}
	found = append(found, next.Check(ctx)...)
	found = append(found, g.adviseAlignment(ctx, alone)...)
	found = append(found, g.checkIdentities(ctx, alone)...)
	if g.readDirectory() == nil { // check has told what is wrong with it
		found = append(found, g.trappedDomains(ctx)...)
	}
	blockLists := blocklist.New(c.BlockLists, blocklist.Options{Resolver: alone})
	return append(found, blockLists.Verify(ctx)...)
}

// nextServers are all servers that the configuration names, in its order. The mailhub and the router
// are among them, being transports.
func nextServers(c *config.Config) []doctor.NextServer {
	var list []doctor.NextServer
	for _, h := range c.Delivery.Smarthosts {
		list = append(list, doctor.NextServer{Key: "delivery.smarthosts", Place: c.Places["delivery.smarthosts"], Host: h})
	}
	for i := range c.Transports {
		t := &c.Transports[i]
		at := t.Problem("transport.hosts", "", "").Place
		for _, h := range t.Hosts {
			list = append(list, doctor.NextServer{Key: "transport.hosts", Place: at, Host: h, MX: t.LookupMX})
		}
	}
	for i := range c.Targets {
		t := &c.Targets[i]
		key := "target.name"
		if t.MX != "" {
			key = "target.mx"
		}
		list = append(list, doctor.NextServer{Key: key, Place: t.Problem(key, "", "").Place, Host: t.Where(), MX: t.MX != ""})
	}
	return list
}

// only returns a resolver that asks one server alone.
func (g *graph) only(server netip.AddrPort) doctor.Resolver {
	return g.newResolver(dns.Options{Servers: []netip.AddrPort{server}, Hosts: os.DevNull})
}
