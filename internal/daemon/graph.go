package daemon

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/internal/blocklist"
	"postern/internal/config"
	"postern/internal/container"
	"postern/internal/directory"
	"postern/internal/dkim"
	"postern/internal/dns"
	"postern/internal/httpauth"
	"postern/internal/intake"
	"postern/internal/ldap"
	"postern/internal/limit"
	"postern/internal/lists"
	"postern/internal/mail"
	"postern/internal/oidc"
	"postern/internal/policy"
	"postern/internal/pool"
	"postern/internal/pressure"
	"postern/internal/route"
	"postern/internal/submit"
)

// graph is all that follows from one configuration and the files it names. It
// is built and checked whole, and never changes; a reload replaces it. What
// lasts as long as the process (store, journal, sockets, counts) is the
// Daemon's.
type graph struct {
	config *config.Config
	clock  mail.Clock
	// generation counts the graphs that were in force, from 1; loaded is when
	// this one was built.
	generation uint64
	loaded     time.Time

	certificates certificates
	// keys are those by which mail is signed; they last as long as the process. signing says
	// which of them signs what.
	keys    *dkim.Store
	signing *dkim.Signing
	// clientAuthorities are those of the clients of the listeners, in their order; nil for
	// none.
	clientAuthorities []*x509.CertPool
	local             *intake.Local
	tlsOut            tlsOut
	companies         companies
	// credentials are those for the smarthosts.
	credentials mail.Credentials
	api         api
	resolver    *dns.Client
	lists       *lists.Book
	blockLists  *blocklist.Set
	// blockResolver is asked for block lists alone: every client is a question for
	// each of them, and would push what mail needs out of a cache.
	blockResolver *dns.Client
	// rules are the explicit routes, maps those that they name, and near the domains on this
	// side of the firewall.
	rules *route.Rules
	maps  *lists.Book
	near  func(domain string) (entry string, is bool)
	// router chooses the way of all mail, and outgoing asks for the servers on it; both
	// are made when they are asked for, after the graph has followed another.
	router   func() *route.Table
	outgoing func() dns.Resolver
	// around is where the server runs.
	around container.Surroundings
	policy *policy.Engine
	// web are the sources of accounts that are asked over HTTP.
	web     webSources
	told    told
	lasting lasting
	// ldap are the directories that are asked by LDAP, in the order of the configuration.
	ldap []*ldapSource
}

// lasting is what policy has of the process that goes on over reloads. Without it,
// nothing is counted, and every address tells who a client is.
type lasting struct {
	limits, accountLimits *limit.Set
	metrics               *policy.Metrics
	// masks says why an address tells nobody at this moment, "" if it tells.
	masks func(netip.Addr) string
	// offline says that no block list is to be asked.
	offline bool
	// pools are the target servers; nil: each graph has its own.
	pools *pool.Set
	// directory returns the records; nil, or what it returns: there are none yet.
	directory func() *directory.Directory
}

// told are those who are told what becomes of lists, and of sources of accounts.
type told struct {
	list       func(lists.Event)
	blockList  func(blocklist.Event)
	lists      *lists.Metrics
	blockLists *blocklist.Metrics
	logger     *slog.Logger
	source     func(name string, err error) // nil error: it answers again
	oidc       *oidc.Metrics
	httpAuth   *httpauth.Metrics
	ldap       *ldap.Metrics
}

// newGraph returns a graph that has read nothing yet.
func newGraph(c *config.Config, clock mail.Clock) *graph {
	g := &graph{config: c, clock: clock, generation: 1, loaded: clock.Now(), companies: newCompanies(c.Companies)}
	g.router, g.outgoing = sync.OnceValue(g.newRouter), sync.OnceValue(g.newOutgoing)
	return g
}

// load reads what the configuration names, and tells of all that is wrong.
func (g *graph) load() error {
	g.resolver = g.newResolver(dns.Options{})
	err := errors.Join(g.loadCertificates(), g.loadSigning(), g.loadClientAuthorities(), g.loadCredentials(), g.loadAPI(), g.loadLocal(), g.loadLists(), g.loadTLSOut(), g.loadRoutes(), g.loadWebSources(), g.loadLDAP(), g.checkSources(), g.loadPolicy())
	g.around = lookAround(g.local.Addresses)
	return err
}

// follow makes the graph the one after another. The cache of DNS is kept as
// long as the same servers are asked in the same way, and what is known of lists.
func (g *graph) follow(before *graph) {
	g.generation = before.generation + 1
	was, is := &before.config.DNS, &g.config.DNS
	if slices.Equal(was.Servers, is.Servers) && was.Timeout == is.Timeout {
		g.resolver, g.blockResolver = before.resolver, before.blockResolver
		g.blockLists.Ask(g.blockResolver)
	}
	g.lists.Follow(before.lists)
	g.maps.Follow(before.maps)
	g.blockLists.Follow(before.blockLists)
	g.web.follow(&before.web)
	g.followLDAP(before)
}

// loadCredentials reads what proves this server to the smarthosts.
func (g *graph) loadCredentials() error {
	c := &g.config.Delivery
	if c.SmarthostUser == "" {
		return nil
	}
	password, err := readSecret(c.SmarthostPassword)
	if err != nil {
		return g.config.Wrong("delivery.smarthost_password", err)
	}
	g.credentials = mail.Credentials{User: c.SmarthostUser, Password: password}
	return nil
}

// loadLocal finds out what the server takes for itself: what the
// configuration says, and the addresses of the machine.
func (g *graph) loadLocal() error {
	g.local = &intake.Local{
		Names:       append([]string{g.config.Hostname}, g.config.CompanyHostnames()...),
		Directory:   records{g},
		Addresses:   slices.Clone(g.config.OwnAddresses),
		Postmaster:  g.config.Postmaster,
		Postmasters: g.companies.postmaster,
	}
	if g.config.Submission.Directory != "" {
		g.local.IsUser = submit.IsUser
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("cannot tell this machine's addresses: %w", err)
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			g.local.Addresses = append(g.local.Addresses, prefix.Addr())
		}
	}
	return nil
}

// newResolver returns one that asks the servers of the configuration, as far as
// o does not say otherwise.
func (g *graph) newResolver(o dns.Options) *dns.Client {
	if o.Servers == nil {
		o.Servers = g.config.DNS.Servers
	}
	o.Timeout, o.Clock = g.config.DNS.Timeout, g.clock
	return dns.NewClient(o)
}

// own reports whether an address is one that the server itself listens at.
func (g *graph) own(a netip.AddrPort) bool {
	return slices.ContainsFunc(g.config.Listeners, func(l config.Listener) bool {
		at := l.Address
		return at.Port() == a.Port() && (at.Addr() == a.Addr() || at.Addr().IsUnspecified() && g.local.Has(a.Addr()))
	})
}

// listener returns the number of the listener of that name, or -1.
func (g *graph) listener(name string) int {
	return slices.IndexFunc(g.config.Listeners, func(l config.Listener) bool { return l.Name == name })
}

// memoryBudget is how much memory the process may have, in octets.
func (g *graph) memoryBudget() int64 {
	if set := g.config.Pressure.MaxMemory; set > 0 {
		return set
	}
	return pressure.DefaultBudget()
}
