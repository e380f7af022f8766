package daemon

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postern/internal/admin"
	"postern/internal/alignment"
	"postern/internal/config"
	"postern/internal/dkim"
	"postern/internal/dns"
	"postern/internal/explain"
	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/route"
)

// This file has the signatures of mail that leaves, and the keys for them.

// keysDir is where the keys lie.
func keysDir(c *config.Config) string { return filepath.Join(c.DataDir, keysName) }

// loadSigning opens the keys, unless they are open, and finds out how mail is signed.
func (g *graph) loadSigning() error {
	if g.keys == nil {
		var err error
		if g.keys, err = dkim.OpenStore(keysDir(g.config), g.clock); err != nil {
			return g.keysUnread(err)
		}
	}
	c := &g.config.DKIM
	g.signing = &dkim.Signing{
		Store: g.keys, Parents: c.Subdomain, Envelope: c.Envelope, Hostname: g.config.Hostname, Hostnames: g.config.CompanyHostnames(), Clock: g.clock,
		Options: dkim.Options{Fields: c.Headers, Expiry: c.Expiry},
	}
	for _, name := range c.Headers {
		if !dkim.CanSign(name) {
			return g.config.Wrong("dkim.headers", fmt.Errorf("%q changes on the way, and cannot be signed", name))
		}
	}
	for _, name := range c.Sign {
		domain, err := dkim.Domain(name)
		if err != nil {
			return g.config.Wrong("dkim.sign", err)
		}
		g.signing.Domains = append(g.signing.Domains, domain)
	}
	return nil
}

// keysUnread is why the keys could not be read. That they are another user's is so for
// whoever asks, and need not be so for the server.
func (g *graph) keysUnread(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		err = absentError{"the keys for signatures in it can be read by the server's user alone: " + err.Error()}
	}
	return g.config.Wrong("data_dir", err)
}

// ours reports whether mail of whoever brought it is signed. What has no client was
// written here, or brought by a program of this host.
func (g *graph) ours(o *mail.Origin) bool {
	if !o.Client.IsValid() {
		return true
	}
	i := g.listener(o.Listener)
	if i < 0 {
		return false
	}
	l := &g.config.Listeners[i]
	switch {
	case l.Sign == config.SignNobody:
		return false
	case l.Sign == config.SignEverybody, o.Account != nil, l.Relay == config.RelayEverybody && l.Auth == config.AuthOff:
		return true
	}
	trusted, _ := g.policy.Trusts(l.Name, o.Client.Addr())
	return trusted
}

// keyKeeper is what commands do to keys, by the settings of the graph that in returns when they
// do it.
func keyKeeper(keys *dkim.Store, in func() *graph, changed func(actor, text string), clock mail.Clock) *dkim.Keeper {
	return &dkim.Keeper{
		Store: keys, Resolver: keyResolver{in}, Changed: changed, Clock: clock,
		Overlap: func() time.Duration { return in().config.DKIM.Overlap },
	}
}

// keyResolver asks the name servers of the graph in force.
type keyResolver struct{ in func() *graph }

// LookupText asks for the texts of a name.
func (r keyResolver) LookupText(ctx context.Context, name string) ([]string, error) {
	return r.in().resolver.LookupText(ctx, name)
}

// SigningKeys is for the keys of a server that does not run. Nothing of what is done to them is in the
// journal. It fails when they cannot be read.
func (m Maintenance) SigningKeys() (*admin.Inside, error) {
	g := newGraph(m.Config, mail.SystemClock{})
	if err := g.loadSigning(); g.keys == nil {
		return nil, err
	}
	if err := g.loadLocal(); err != nil {
		return nil, err
	}
	g.resolver = g.newResolver(dns.Options{Hosts: os.DevNull})
	in := func() *graph { return g }
	return admin.NewKeysInside(admin.Options{Logger: m.Logger, Keys: keyKeeper(g.keys, in, nil, g.clock), Alignment: alignmentOf(in)}), nil
}

// alignmentOf looks at domains as the graph that in returns sends for them. It asks DNS anew,
// as others would.
func alignmentOf(in func() *graph) func(context.Context, string) (*alignment.Alignment, error) {
	return func(ctx context.Context, domain string) (*alignment.Alignment, error) {
		ctx, cancel := context.WithTimeout(ctx, alignmentTime)
		defer cancel()
		g := in()
		return g.alignment(domain, g.newResolver(dns.Options{Hosts: os.DevNull})).Check(ctx, domain)
	}
}

// alignmentTime bounds the questions about one domain.
const alignmentTime = 30 * time.Second

// alignment looks at a domain by a resolver.
func (g *graph) alignment(domain string, by *dns.Client) alignment.Checker {
	sources, relayed := g.sources(domain)
	return alignment.Checker{
		Resolver: by, Signing: g.signing, Hostname: g.company(mail.Address{Local: "postmaster", Domain: domain}).Hostname, Sources: sources, Relayed: relayed,
	}
}

// sources are the addresses from which the mail of a domain leaves, as others see them: those of
// the transports that lead to the servers of recipients, else those of the domain's company, else
// those of this host that others can see. They are not known where it is relayed: other servers send on what
// leaves.
func (g *graph) sources(domain string) (list []netip.Addr, relayed bool) {
	general := g.ways(route.Question{Sender: mail.Address{Local: "postmaster", Domain: domain}})
	if !g.isDirect(general[0].transport) {
		return nil, true
	}
	own := general[0].lane.From
	if c := g.companies.of(domain); c != nil && !own.Bound() {
		own = route.Identity{IPv4: c.SourceIPv4, IPv6: c.SourceIPv6}
	}
	list = own.Sources()
	if !own.Bound() {
		list = slices.DeleteFunc(slices.Clone(g.local.Addresses), func(a netip.Addr) bool { return !a.IsGlobalUnicast() || a.IsPrivate() })
	}
	for i := range g.config.Transports {
		if t := &g.config.Transports[i]; t.Kind == config.TransportMX { // a route may lead to it
			list = append(list, identityOf(t).Sources()...)
		}
	}
	return g.seenAs(list), false
}

// keyChanged tells what has become of a key; actor is empty when nobody did it by hand.
func (d *Daemon) keyChanged(actor, text string) {
	d.Logger.Info("key for signatures: "+text, "actor", actor)
	d.journal.Record(mail.Fact{Reason: mail.ReasonSigningKey, Time: d.clock.Now(), Actor: actor, Text: text})
}

// tendKeysEvery is how often it is looked whether DNS has the records of keys that wait, and
// whether the time of others is over.
const tendKeysEvery = 30 * time.Second

// tendKeys lets keys become active, and go, until ctx ends.
func (d *Daemon) tendKeys(ctx context.Context) {
	keeper := keyKeeper(d.inForce().keys, d.inForce, d.keyChanged, d.clock)
	ticker := time.NewTicker(tendKeysEvery)
	defer ticker.Stop()
	for {
		if err := errors.Join(keeper.Store.Look(), keeper.Tend(ctx)); err != nil {
			d.Logger.Warn("the keys for signatures cannot be looked after, which is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// keyWarnings says which keys are not as they should be, and which domains cannot be signed
// for although they must.
func (g *graph) keyWarnings() []string {
	var warnings []string
	if g.signing == nil {
		return nil
	}
	for _, e := range g.keys.Entries() {
		if e.Err != nil {
			warnings = append(warnings, fmt.Sprintf("the key %s cannot be used: %v", e.Name(), e.Err))
		}
	}
	for _, domain := range g.signing.Domains {
		if _, err := g.signing.Signer(domain, mail.Address{}); err != nil {
			warnings = append(warnings, fmt.Sprintf("mail of %s is deferred, because it cannot be signed: %v", domain, err))
		}
	}
	return warnings
}

// adviseKeys are the same, as a configuration is checked.
func (g *graph) adviseKeys() []config.Problem {
	var list []config.Problem
	for _, text := range g.keyWarnings() {
		list = append(list, g.config.Problem("dkim.sign", text, "see postern dkim key list"))
	}
	return list
}

// signatures says who signs a message, and if DNS may be asked what it says of that.
func (g *graph) signatures(ctx context.Context, m explain.Leaving) []string {
	if g.signing == nil {
		return []string{"who signs it is not known: the keys can be read by the server's user alone"}
	}
	if g.lasting.offline && g.signing.Domains == nil && len(g.keys.Entries()) == 0 {
		return nil // nobody here signs anything
	}
	header, err := message.ReadHeader(bufio.NewReader(io.NewSectionReader(m.Content, 0, m.Size)), message.Limits{})
	if err != nil {
		return []string{"who signs it is not known: " + err.Error()}
	}
	author := cmp.Or(dkim.AuthorDomain(header), m.Sender.Domain, g.config.Hostname)
	by, err := g.signing.Signer(author, m.Sender)
	var lines []string
	switch {
	case !g.ours(m.Origin):
		lines = []string{fmt.Sprintf("From %s is signed by no key: who brings it has no account and is not trusted", author)}
	case err != nil:
		lines = []string{fmt.Sprintf("From %s cannot be signed: %v", author, err)}
	case by == "":
		lines = []string{fmt.Sprintf("From %s is signed by no key", author)}
	default:
		lines = []string{fmt.Sprintf("From %s is signed by the keys of %s", author, by)}
	}
	if g.lasting.offline {
		return lines
	}
	for _, f := range g.findings(ctx, author, g.newResolver(dns.Options{Hosts: os.DevNull})) {
		lines = append(lines, f.Text)
	}
	return lines
}

// findings are what is wrong with mail of a domain.
func (g *graph) findings(ctx context.Context, domain string, by *dns.Client) []alignment.Finding {
	r, err := g.alignment(domain, by).Check(ctx, domain)
	if err != nil { // it is no domain, and nobody asks about it
		return nil
	}
	return slices.DeleteFunc(r.Findings, func(f alignment.Finding) bool { return f.Level == alignment.Note })
}

// adviseAlignment asks what DNS says of the domains that have keys, or must have.
func (g *graph) adviseAlignment(ctx context.Context, by *dns.Client) []config.Problem {
	if g.loadSigning() != nil { // check has told why
		return nil
	}
	domains := slices.Clone(g.signing.Domains)
	for _, e := range g.keys.Entries() {
		domains = append(domains, e.Domain)
	}
	slices.Sort(domains)
	var list []config.Problem
	for _, domain := range slices.Compact(domains) {
		if ctx.Err() != nil {
			break
		}
		for _, f := range g.findings(ctx, domain, by) {
			list = append(list, g.config.Problem("dkim.sign", f.Text, f.Hint))
		}
	}
	return list
}
