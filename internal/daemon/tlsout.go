package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// This file has what the next servers must have of TLS: by transport, and by the
// domain of the recipient.

// tlsOut is what a configuration says of TLS with the next servers.
type tlsOut struct {
	// authorities are the files of those that are trusted, by their paths: one that is named
	// several times is one list.
	authorities map[string]*certs.PoolFile
	// transports are the policies of the transports, by their names.
	transports map[string]tlspolicy.Policy
	// domains are those of the tables [[tls]], in their order, and the others say which
	// table is for a domain: for itself, for those below it, and for those on a list.
	domains      []tlspolicy.Policy
	exact, below map[string]int
	lists        []listedDomains
	// companies have the certificates that are shown for their mail.
	companies map[*config.Company]tlspolicy.Certificate
}

// listedDomains are the domains of a list, for which a table is.
type listedDomains struct {
	list  string
	table int
}

// loadTLSOut reads what the policies name.
func (g *graph) loadTLSOut() error {
	g.tlsOut = tlsOut{
		authorities: make(map[string]*certs.PoolFile), transports: make(map[string]tlspolicy.Policy),
		exact: make(map[string]int), below: make(map[string]int), companies: make(map[*config.Company]tlspolicy.Certificate),
	}
	var errs []error
	for i := range g.config.Transports {
		t := &g.config.Transports[i]
		policy, err := g.policyOf(t)
		errs = append(errs, err)
		g.tlsOut.transports[t.Name] = policy
	}
	for i := range g.config.TLSDomains {
		t := &g.config.TLSDomains[i]
		policy, err := g.demandOf(&t.TLSOut)
		if err != nil {
			errs = append(errs, t.Wrong("tls.ca_file", err))
		}
		policy.Source = sourceOf("tls "+t.Title(), t.Place)
		g.tlsOut.add(t, policy)
	}
	for i := range g.config.Companies {
		c := &g.config.Companies[i]
		if c.Certificate == "" {
			continue
		}
		shown, unknown := g.shownCertificate(c.Certificate)
		if unknown != nil {
			errs = append(errs, c.Wrong("company.certificate", unknown))
			continue
		}
		g.tlsOut.companies[c] = shown
	}
	return errors.Join(errs...)
}

// add takes in a table; of several for one domain the first stays.
func (o *tlsOut) add(t *config.TLSDomains, policy tlspolicy.Policy) {
	table := len(o.domains)
	o.domains = append(o.domains, policy)
	for _, d := range t.Domains {
		kept, domain := o.exact, d
		if rest, is := strings.CutPrefix(d, "*."); is {
			kept, domain = o.below, rest
		}
		domain = asKnown(domain)
		if _, taken := kept[domain]; !taken {
			kept[domain] = table
		}
	}
	for _, l := range t.Lists {
		o.lists = append(o.lists, listedDomains{l.Text, table})
	}
}

// asKnown is a domain as DNS knows it, in lower case, in whatever form it is written. What DNS
// cannot know stays.
func asKnown(domain string) string {
	if ascii, err := mail.ASCIIDomain(domain); err == nil {
		domain = ascii
	}
	return strings.ToLower(domain)
}

// policyOf is the policy of a transport.
func (g *graph) policyOf(t *config.Transport) (tlspolicy.Policy, error) {
	p, err := g.demandOf(&t.TLSOut)
	if err != nil {
		err = t.Wrong("transport.tls_ca_file", err)
	}
	p.Source = sourceOf("transport "+t.Name, t.Places["transport.tls"])
	if _, set := t.Places["transport.tls"]; t.Name == config.DirectTransport && !set {
		// The table says how mail goes directly, and mx_tls still what it demands.
		short := g.tlsOfDelivery("delivery.mx_tls", g.config.Delivery.MXTLS)
		p.Level, p.Source = short.Level, short.Source
	}
	switch {
	case t.TLSImplicit:
		p.Begin = tlspolicy.Implicit
	case !t.TLSEHLO:
		p.Begin = tlspolicy.Unspoken
	}
	if t.TLSCertificate != "" {
		certificate, unknown := g.shownCertificate(t.TLSCertificate)
		if unknown != nil {
			return p, errors.Join(err, t.Wrong("transport.tls_certificate", unknown))
		}
		p.Certificate = certificate
	}
	return p, err
}

// shownCertificate is the certificate of that name, to be shown to the next servers.
func (g *graph) shownCertificate(name string) (tlspolicy.Certificate, error) {
	source, err := g.namedCertificate(name)
	if err != nil {
		return nil, fmt.Errorf("%.50q: %w", name, err)
	}
	return &clientCertificate{name, source}, nil
}

// demandOf is what settings of TLS demand.
func (g *graph) demandOf(o *config.TLSOut) (tlspolicy.Policy, error) {
	p := tlspolicy.Policy{
		Level: tlspolicy.Level(o.TLS), Pins: tlspolicy.PinsOf(o.TLSPins...), Names: tlspolicy.NamesOf(o.TLSNames...), MinVersion: uint16(o.TLSMinVersion),
	}
	if o.TLSCAFile == "" {
		return p, nil
	}
	trusted, known := g.tlsOut.authorities[o.TLSCAFile]
	if !known {
		var err error
		if trusted, err = certs.OpenPool(o.TLSCAFile, g.clock); err != nil {
			return p, err
		}
		g.tlsOut.authorities[o.TLSCAFile] = trusted
	}
	p.Trust = trusted
	return p, nil
}

// sourceOf says for people who demands what.
func sourceOf(what string, at mail.Place) string {
	if at == (mail.Place{}) {
		return what + " (by default)"
	}
	at.Column = 0
	return what + ", " + at.String()
}

// clientCertificate is a certificate that is shown to the next servers.
type clientCertificate struct {
	name   string
	source certs.Source
}

// Name returns what it is called.
func (c *clientCertificate) Name() string { return c.name }

// Certificate returns it as it is now; nil as long as there is none.
func (c *clientCertificate) Certificate() *tls.Certificate {
	for _, own := range c.source.Certificates() {
		return own
	}
	return nil
}

// tlsOf is the policy of a transport of the configuration.
func (g *graph) tlsOf(t *config.Transport) tlspolicy.Policy { return g.tlsOut.transports[t.Name] }

// tlsOfDelivery is the policy of a setting of [delivery].
func (g *graph) tlsOfDelivery(key string, p config.TLSPolicy) tlspolicy.Policy {
	return tlspolicy.Policy{Level: tlspolicy.Level(p), Source: sourceOf(key, g.config.Places[key])}
}

// finishTLS puts into a lane what the domain of the recipient demands beyond its transport. That
// a server must have the key of the domain's, or its name, can be said of the domain's own servers alone.
func (g *graph) finishTLS(l *route.Lane, q route.Question) {
	demand, found := g.tlsOut.of(q.Destination.Domain(), g.lists.Contains)
	switch {
	case !found || l.Socket != "": // it does not leave the machine
		l.TLS = l.TLS.Settled()
	case g.isDirect(l.Transport):
		l.TLS = l.TLS.Stronger(demand)
	default:
		l.TLS = l.TLS.Through(demand)
	}
}

// isDirect reports whether the servers of a transport are those of the recipient's
// domain.
func (g *graph) isDirect(transport string) bool {
	if t := g.transportNamed(transport); t != nil {
		return t.Kind == config.TransportMX
	}
	return transport == config.DirectTransport
}

// of is what the first table demands that is for a domain.
func (o *tlsOut) of(domain string, listed func(list, domain string) bool) (tlspolicy.Policy, bool) {
	first := len(o.domains)
	if first == 0 { // which is usual
		return tlspolicy.Policy{}, false
	}
	domain = asKnown(domain)
	take := func(table int, is bool) {
		if is {
			first = min(first, table)
		}
	}
	table, is := o.exact[domain]
	take(table, is)
	for rest := domain; len(o.below) > 0; {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			break
		}
		table, is = o.below[parent]
		take(table, is)
		rest = parent
	}
	for _, l := range o.lists {
		take(l.table, l.table < first && listed(l.list, domain))
	}
	if first == len(o.domains) {
		return tlspolicy.Policy{}, false
	}
	return o.domains[first], true
}

// lookAtAuthorities reads again what has changed, and tells of it.
func (d *Daemon) lookAtAuthorities(g *graph) {
	for _, f := range g.tlsOut.authorities {
		if e := f.Look(); e != nil {
			d.tellAuthorities(*e)
		}
	}
}

// tellAuthorities tells what became of a file of authorities, wherever an operator may look.
func (d *Daemon) tellAuthorities(e certs.PoolEvent) {
	fact := mail.Fact{Reason: mail.ReasonCertificateChanged, Time: d.clock.Now(), Text: fmt.Sprintf("authorities (%s): %d, were %d", e.File, e.Count, e.Before)}
	if e.Err != nil {
		d.Logger.Warn("authorities cannot be used, and stay as they were", "file", e.File, "error", e.Err)
		fact.Reason, fact.Text = mail.ReasonCertificateFailed, fmt.Sprintf("authorities (%s), with the %d of before: %v", e.File, e.Before, e.Err)
	} else {
		d.Logger.Info("authorities are in use", "file", e.File, "certificates", e.Count, "before", e.Before)
	}
	d.journal.Record(fact)
}

// trustChanges are the files of authorities that differ from those of another graph,
// although they are the same files.
func (g *graph) trustChanges(before *graph) []config.Change {
	var changes []config.Change
	for _, file := range slices.Sorted(maps.Keys(g.tlsOut.authorities)) {
		was, known := before.tlsOut.authorities[file]
		if known && !was.Pool().Equal(g.tlsOut.authorities[file].Pool()) {
			changes = append(changes, config.Change{Key: "authorities of the next servers", Name: file, Old: `"some certificates"`, New: `"others, in the same file"`, Effect: config.AtReload})
		}
	}
	return changes
}

// authorityWarnings says which files of authorities are not what is in force.
func (g *graph) authorityWarnings() []string {
	var warnings []string
	for _, file := range slices.Sorted(maps.Keys(g.tlsOut.authorities)) {
		if s := g.tlsOut.authorities[file].Stale(); s != nil {
			warnings = append(warnings, fmt.Sprintf("authorities %s are as they were before %s: %v", s.Name, s.Since.Local().Format(time.RFC3339), s.Err))
		}
	}
	return warnings
}
