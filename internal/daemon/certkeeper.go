package daemon

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/mail"
)

// This file has what commands do to certificates, and who is told of their end.

// held is a certificate that the server has, with what others call it.
type held struct {
	certs.Info
	certificate *tls.Certificate // nil: there is none yet
}

// held returns those of the configuration, in its order.
func (g *graph) held() []held {
	var list []held
	for _, f := range g.certificates.files {
		list = append(list, g.inFiles(f))
	}
	for i := range g.config.Certificates {
		if c := &g.config.Certificates[i]; c.ACME {
			list = append(list, g.byACME(c)...)
		}
	}
	return list
}

func (g *graph) inFiles(f watchedFiles) held {
	h := held{certs.NewInfo(f.Name(), certs.FromFiles, f.Certificate()), f.Certificate()}
	h.File, h.Listeners = f.Pair().Certificate, g.users(f.Name())
	if f.key == "listener.tls_certificate" {
		h.Listeners = []string{f.owner}
	}
	if s := f.Stale(); s != nil {
		h.Problem = s.Err.Error()
	}
	return h
}

// byACME returns a certificate for each name of a table.
func (g *graph) byACME(c *config.Certificate) []held {
	var list []held
	stale := g.certificates.acme.Stale()
	for _, name := range g.config.Domains(c) {
		h := held{Info: certs.NewInfo(c.Name, certs.FromACME, nil)}
		if found := g.certificates.acme.For([]string{name}).Certificates(); len(found) > 0 {
			h = held{certs.NewInfo(c.Name, certs.FromACME, found[0]), found[0]}
		} else {
			h.Names, h.Problem = []string{name}, "there is none yet"
		}
		if at := slices.IndexFunc(stale, func(s certs.Stale) bool { return s.Name == name }); at >= 0 {
			h.Problem = stale[at].Err.Error()
		}
		h.Listeners = g.users(c.Name)
		list = append(list, h)
	}
	return list
}

// users are the listeners whose settings name a certificate.
func (g *graph) users(name string) []string {
	var list []string
	for i := range g.config.Listeners {
		l := &g.config.Listeners[i]
		if slices.ContainsFunc(l.Certificates, func(t config.Text) bool { return t.Text == name }) {
			list = append(list, l.Name)
		}
	}
	return list
}

// assignable refuses a listener to which no certificate can be assigned.
func (g *graph) assignable(listener string) error {
	i := g.listener(listener)
	switch {
	case i < 0:
		return fmt.Errorf("%s: %w", listener, errNoListener)
	case g.config.Listeners[i].TLSCertificate != "" || len(g.config.Listeners[i].Certificates) > 0:
		return fmt.Errorf("listener %s has its certificates in the configuration; change them there, or take them out", listener)
	}
	return nil
}

func infos(list []held) []certs.Info {
	var all []certs.Info
	for _, h := range list {
		all = append(all, h.Info)
	}
	return all
}

// certificateKeeper is what commands do to the certificates of the graph that in returns
// when they do it.
func certificateKeeper(store *certs.Store, in func() *graph, changed func(actor, text string), clock mail.Clock) *certs.Keeper {
	return &certs.Keeper{
		Store:    store,
		Others:   func() []certs.Info { return infos(in().held()) },
		Users:    func(name string) []string { return in().users(name) },
		Listener: func(name string) error { return in().assignable(name) },
		Changed:  changed, Clock: clock,
	}
}

// KeeperWithoutServer has the certificates of a configuration as they lie on the disk. It fails when they cannot be read.
func KeeperWithoutServer(c *config.Config) (*certs.Keeper, error) {
	g := newGraph(c, mail.SystemClock{})
	if err := g.loadCertificates(); g.certificates.store == nil {
		return nil, err
	}
	return certificateKeeper(g.certificates.store, func() *graph { return g }, nil, g.clock), nil
}

// Certificates is for those of a server that does not run. Nothing of what is done to them is in the
// journal. It fails when they cannot be read.
func (m Maintenance) Certificates() (*admin.Inside, error) {
	keeper, err := KeeperWithoutServer(m.Config)
	if err != nil {
		return nil, err
	}
	return admin.NewCertificatesInside(admin.Options{Logger: m.Logger, Certificates: keeper}), nil
}

// certificateChanged tells what an operator has done to a certificate.
func (d *Daemon) certificateChanged(actor, text string) {
	d.Logger.Info("by hand: certificate "+text, "actor", actor)
	d.journal.Record(mail.Fact{Reason: mail.ReasonCertificateChanged, Time: d.clock.Now(), Actor: actor, Text: text})
	d.offerTLS()
}

// allHeld are all certificates that the server has: those of the configuration, and those
// of the store.
func (g *graph) allHeld() []held {
	list := g.held()
	for _, e := range g.certificates.store.Entries() {
		h := held{certs.NewInfo(e.Name, certs.FromStore, e.Certificate), e.Certificate}
		h.Listeners = append(g.users(e.Name), g.certificates.store.Listeners(e.Name)...)
		list = append(list, h)
	}
	return slices.DeleteFunc(list, func(h held) bool { return h.certificate == nil })
}

// expiryEvery is how often it is looked which certificates are about to end.
const expiryEvery = time.Minute

// tellExpiring tells of certificates that are about to end, once for each of the times
// before.
func (d *Daemon) tellExpiring(g *graph) {
	now := d.clock.Now()
	if now.Sub(d.expiryLooked).Abs() < expiryEvery {
		return
	}
	d.expiryLooked = now
	for _, h := range g.allHeld() {
		days, near := certs.Expiring(h.certificate.Leaf, now)
		if !near {
			continue
		}
		fresh, err := g.certificates.store.Warn(h.certificate.Leaf, days)
		if err != nil {
			d.Logger.Warn("it cannot be noted that a certificate is about to end, and is told again after a restart", "error", err)
		}
		if !fresh {
			continue
		}
		text := expiring(h, now)
		d.Logger.Warn("certificate "+text, "certificate", h.Name)
		d.journal.Record(mail.Fact{Reason: mail.ReasonCertificateExpiring, Time: now, Text: text})
	}
}

// expiring says when a certificate ends.
func expiring(h held, now time.Time) string {
	end := h.certificate.Leaf.NotAfter
	verb := "ends"
	if !now.Before(end) {
		verb = "has ended"
	}
	text := fmt.Sprintf("%s (for %s) %s at %s", h.Name, certs.Title(h.certificate.Leaf), verb, end.UTC().Format(time.RFC3339))
	if len(h.Listeners) > 0 {
		text += "; used by " + strings.Join(h.Listeners, ", ")
	}
	return text
}

// warnOfWithin are the days before the end of a certificate from which the status warns.
const warnOfWithin = 14

// expiryWarnings says which certificates end soon.
func (g *graph) expiryWarnings(now time.Time) []string {
	var warnings []string
	for _, h := range g.allHeld() {
		if days, near := certs.Expiring(h.certificate.Leaf, now); near && days <= warnOfWithin {
			warnings = append(warnings, "certificate "+expiring(h, now))
		}
	}
	return warnings
}

// ends are the times at which certificates end, in seconds of Unix, by name; the first of
// those that have one name.
func (g *graph) ends() map[string]float64 {
	ends := make(map[string]float64)
	for _, h := range g.allHeld() {
		end := float64(h.certificate.Leaf.NotAfter.Unix())
		if before, is := ends[h.Name]; !is || end < before {
			ends[h.Name] = end
		}
	}
	return ends
}
