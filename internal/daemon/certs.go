package daemon

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/doctor"
	"postern/internal/mail"
)

// This file has the certificates of listeners: where each is from, and what a listener
// shows to whom.

// certificatesDir is where the certificates lie that commands make.
func certificatesDir(c *config.Config) string { return filepath.Join(c.DataDir, certificatesName) }

// acmeDir is where those lie that an authority has made.
func acmeDir(c *config.Config) string { return filepath.Join(c.DataDir, acmeName) }

// certificates are those that a configuration has.
type certificates struct {
	// files are those in files, of listeners and of tables, in the order of the
	// configuration.
	files []watchedFiles
	// choices are those of the listeners, in their order. One is empty until there is
	// a certificate for it.
	choices []certs.Choice
	// named are those of the tables, by their names; nil for one with which something is wrong.
	named map[string]certs.Source
	// store has those that commands make; it lasts as long as the process.
	store *certs.Store
	// acme has those of authorities; it lasts as long, and is asked for domains.
	acme      *certs.Manager
	authority certs.Authority
	domains   []string
}

// watchedFiles is a certificate in files, with the setting and the table that name it.
type watchedFiles struct {
	*certs.Files
	key, owner string
}

// tlsConfig returns the TLS settings of a listener, of that number in its graph, with the
// certificates that are its own; nil as long as there is none. One that takes nothing without
// TLS has them always: a handshake that fails can be tried again later, and a refusal in clear is for
// good. The certificate is chosen anew in each handshake, so that one that is replaced is in use at once.
func (d *Daemon) tlsConfig(g *graph, i int) *tls.Config {
	choice, l := g.certificates.choices[i], &g.config.Listeners[i]
	if !choice.Ready() && l.TLSMode() != config.ListenerImplicit && !l.TLSRequired {
		return nil
	}
	return certs.ServerConfig(choice.Get)
}

// loadCertificates finds the certificates of all listeners.
func (g *graph) loadCertificates() error {
	var errs []error
	if g.certificates.store == nil {
		var err error
		if g.certificates.store, err = certs.OpenStore(certificatesDir(g.config), g.clock); err != nil {
			return g.storeUnread(err)
		}
	}
	errs = append(errs, g.loadAuthority())
	g.certificates.named = make(map[string]certs.Source)
	for i := range g.config.Certificates {
		c := &g.config.Certificates[i]
		source, err := g.source(c)
		if err != nil {
			errs = append(errs, err)
		}
		g.certificates.named[c.Name] = source
	}
	for i := range g.config.Listeners {
		choice, err := g.choice(&g.config.Listeners[i])
		errs = append(errs, err)
		g.certificates.choices = append(g.certificates.choices, choice)
	}
	return errors.Join(errs...)
}

// storeUnread is why the store could not be read. That it is another user's is so for
// whoever asks, and need not be so for the server.
func (g *graph) storeUnread(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		err = absentError{"the certificates in it can be read by the server's user alone: " + err.Error()}
	}
	return g.config.Wrong("data_dir", err)
}

// source is where the certificate of a table comes from. When it fails, there is none, and
// the error tells of it.
func (g *graph) source(c *config.Certificate) (certs.Source, error) {
	if _, err := g.certificates.store.Entry(c.Name); err == nil {
		return nil, c.Wrong("certificate.name", fmt.Errorf("%s has one of that name, too; choose another", certificatesDir(g.config)))
	}
	if c.ACME {
		domains := g.config.Domains(c)
		g.certificates.domains = append(g.certificates.domains, domains...)
		return g.certificates.acme.For(domains), nil
	}
	f, err := certs.OpenFiles(c.Name, certs.Pair{Certificate: c.File, Key: c.Key}, g.clock)
	if err != nil {
		key := "certificate.certificate"
		if ofKey(err, certs.Pair{Certificate: c.File, Key: c.Key}) {
			key = "certificate.key"
		}
		return nil, c.Wrong(key, err)
	}
	g.certificates.files = append(g.certificates.files, watchedFiles{f, "certificate.certificate", c.Name})
	return f, nil
}

// loadAuthority finds out from whom certificates are had by ACME.
func (g *graph) loadAuthority() error {
	if g.certificates.acme == nil { // of a graph that nobody runs
		g.certificates.acme = certs.NewManager(certs.ACMEOptions{})
	}
	c := &g.config.ACME
	g.certificates.authority = certs.Authority{Directory: c.Directory, TLSALPN: c.Challenge == config.ChallengeTLSALPN, At: c.At()}
	if !c.Email.IsNull() {
		g.certificates.authority.Email = c.Email.String()
	}
	if len(g.config.DNS.Servers) > 0 {
		g.certificates.authority.Resolver = g.config.DNS.Servers[0].String()
	}
	if c.CAFile == "" {
		return nil
	}
	roots, err := certs.LoadPool(c.CAFile, g.clock.Now())
	if err != nil {
		return g.config.Wrong("acme.ca_file", err)
	}
	g.certificates.authority.Roots = roots
	return nil
}

// newManager returns what has certificates by ACME.
func (d *Daemon) newManager(c *config.Config) *certs.Manager {
	return certs.NewManager(certs.ACMEOptions{
		Dir: acmeDir(c), CheckEvery: c.ACME.CheckEvery, Failed: d.tellAuthority, Clock: d.clock, Logger: d.Logger,
	})
}

// tellAuthority tells that an authority gave no certificate for a name.
func (d *Daemon) tellAuthority(name string, err error) {
	d.Logger.Warn("no certificate by ACME, which is tried again", "name", name, "error", err)
	d.journal.Record(mail.Fact{Reason: mail.ReasonCertificateFailed, Time: d.clock.Now(), Text: fmt.Sprintf("%s, by ACME: %v", name, err)})
}

// wantCertificates has the certificates that are to be had by ACME.
func (d *Daemon) wantCertificates() {
	c := &d.inForce().certificates
	d.acme.Want(c.authority, c.domains)
}

// ofKey reports whether an error is of the file with the key, and not of the other.
func ofKey(err error, p certs.Pair) bool {
	wrong, ok := errors.AsType[*certs.Error](err)
	return ok && wrong.File == p.Key && p.Key != p.Certificate
}

// choice is what a listener can choose from: its own files, then what it names, or if it
// has neither what is assigned to it.
func (g *graph) choice(l *config.Listener) (certs.Choice, error) {
	if l.TLSCertificate == "" && len(l.Certificates) == 0 {
		return certs.Choice{g.certificates.store.AssignedTo(l.Name)}, nil
	}
	var choice certs.Choice
	var errs []error
	if l.TLSCertificate != "" {
		f, err := certs.OpenFiles("listener "+l.Name, certs.Pair{Certificate: l.TLSCertificate, Key: l.TLSKey}, g.clock)
		if err != nil {
			key := "listener.tls_certificate"
			if ofKey(err, certs.Pair{Certificate: l.TLSCertificate, Key: l.TLSKey}) {
				key = "listener.tls_key"
			}
			errs = append(errs, l.Wrong(key, err))
		} else {
			g.certificates.files = append(g.certificates.files, watchedFiles{f, "listener.tls_certificate", l.Name})
			choice = append(choice, f)
		}
	}
	for _, name := range l.Certificates {
		source, err := g.namedCertificate(name.Text)
		if err != nil {
			errs = append(errs, wrongName(l, name, err))
		}
		if source != nil { // or it was told what is wrong with it
			choice = append(choice, source)
		}
	}
	return choice, errors.Join(errs...)
}

// namedCertificate is the source of a certificate of a table or of the store. It is nil, without an
// error, for one of a table with which something is wrong that was told already.
func (g *graph) namedCertificate(name string) (certs.Source, error) {
	if source, known := g.certificates.named[name]; known {
		return source, nil
	}
	return g.stored(name)
}

// stored is the source of a certificate of the store, which must be there.
func (g *graph) stored(name string) (certs.Source, error) {
	e, err := g.certificates.store.Entry(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("no table [[certificate]] has that name, and in %s %w; `postern cert create`, `import` and `ca issue` make one", certificatesDir(g.config), certs.ErrNotFound)
	case e.Certificate == nil:
		return nil, cmp.Or(e.Err, certs.ErrPending)
	case e.Certificate.Leaf.IsCA:
		return nil, certs.ErrCA
	}
	return g.certificates.store.Named(name), nil
}

// wrongName says which name in a list of a listener's certificates an error is of.
func wrongName(l *config.Listener, name config.Text, err error) error {
	p := l.Problem("listener.certificates", fmt.Sprintf("%.50q: %v", name.Text, err), "")
	if name.Place != (mail.Place{}) {
		p.Place = name.Place
	}
	p.Cause = err
	return p
}

// lookAtCertificates reads again what has changed, and tells of it.
func (d *Daemon) lookAtCertificates(g *graph) {
	for _, f := range d.watchedCertificates(g) {
		if e := f.Look(); e != nil {
			d.tellCertificate(*e)
		}
	}
	events, err := g.certificates.store.Look()
	if err != nil {
		d.Logger.Warn("the certificates cannot be read again", "error", err)
	}
	for _, e := range append(events, g.certificates.acme.Look()...) {
		d.tellCertificate(e)
	}
	d.lookAtAuthorities(g)
	d.offerTLS()
	d.tellExpiring(g)
}

// watchedCertificates are those in files: of the listeners, and of the API.
func (d *Daemon) watchedCertificates(g *graph) []*certs.Files {
	var list []*certs.Files
	for _, f := range g.certificates.files {
		list = append(list, f.Files)
	}
	if d.apiCertificate != nil {
		list = append(list, d.apiCertificate)
	}
	return list
}

// offerTLS lets the listeners that have their first certificate offer TLS, and those
// that have lost their last one offer it no more.
func (d *Daemon) offerTLS() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return
	}
	for _, l := range d.listeners {
		i := d.graph.listener(l.name)
		if i < 0 {
			continue
		}
		offer := listenerTLS(&d.graph.config.Listeners[i], d.tlsConfig(d.graph, i)) != nil
		if offer == (l.server.Options().TLS != nil) {
			continue
		}
		s := d.services(d.graph)[i]
		l.server.Change(s.options, s.handler)
		d.Logger.Info("listener has another answer to STARTTLS", "listener", l.name, "offered", offer)
	}
}

// tellCertificate tells what became of a certificate, wherever an operator may look.
func (d *Daemon) tellCertificate(e certs.Event) {
	fact := mail.Fact{Reason: mail.ReasonCertificateChanged, Time: d.clock.Now()}
	if e.Err != nil {
		d.Logger.Warn("certificate cannot be used, and stays as it was", "certificate", e.Name, "file", e.File, "error", e.Err)
		fact.Reason, fact.Text = mail.ReasonCertificateFailed, fmt.Sprintf("%s, with the one of before, %s: %v", e.Name, nameCertificate(e.Old), e.Err)
	} else {
		d.Logger.Info("certificate is in use", "certificate", e.Name, "file", e.File, "is", nameCertificate(e.New))
		fact.Text = fmt.Sprintf("%s (%s): %s", e.Name, cmp.Or(e.File, "by ACME"), nameCertificate(e.New))
		if e.Old != nil {
			fact.Text += ", was " + nameCertificate(e.Old)
		}
	}
	d.journal.Record(fact)
}

// nameCertificate names a certificate for a person.
func nameCertificate(c *tls.Certificate) string {
	return fmt.Sprintf("valid until %s, SHA-256 %.16s...", c.Leaf.NotAfter.UTC().Format(time.RFC3339), certs.Fingerprint(c.Leaf))
}

// certificateWarnings says which certificates are not as they should be.
func (g *graph) certificateWarnings() []string {
	var warnings []string
	for _, f := range g.certificates.files {
		if s := f.Stale(); s != nil {
			warnings = append(warnings, fmt.Sprintf("certificate %s is as it was before %s: %v", s.Name, s.Since.Local().Format(time.RFC3339), s.Err))
		}
	}
	for _, s := range g.certificates.acme.Stale() {
		warnings = append(warnings, fmt.Sprintf("no certificate by ACME for %s since %s, which is tried again: %v", s.Name, s.Since.Local().Format(time.RFC3339), s.Err))
	}
	for i := range g.config.Listeners {
		if l := &g.config.Listeners[i]; l.TLSMode() != config.ListenerClear && !g.certificates.choices[i].Ready() {
			warnings = append(warnings, fmt.Sprintf("listener %s has no certificate yet: there is no TLS with it", l.Name))
		}
	}
	for _, e := range g.certificates.store.Entries() {
		if e.Err != nil {
			warnings = append(warnings, fmt.Sprintf("certificate %s cannot be used: %v", e.Name, e.Err))
		}
	}
	return warnings
}

// certificateChanges are the certificates in files that differ from those of another
// graph, although they are of the same files.
func (g *graph) certificateChanges(before *graph) []config.Change {
	var changes []config.Change
	for _, f := range g.certificates.files {
		at := slices.IndexFunc(before.certificates.files, func(b watchedFiles) bool { return b.key == f.key && b.owner == f.owner && b.Pair() == f.Pair() })
		if at < 0 {
			continue
		}
		old, now := before.certificates.files[at].Certificate(), f.Certificate()
		if certs.Fingerprint(old.Leaf) != certs.Fingerprint(now.Leaf) {
			changes = append(changes, config.Change{Key: f.key, Name: f.owner, Old: ofCertificate(old), New: ofCertificate(now), Effect: config.AtReload})
		}
	}
	return changes
}

// ofCertificate is a certificate as a value of a setting.
func ofCertificate(c *tls.Certificate) config.Value {
	return config.Value(fmt.Sprintf("%q", nameCertificate(c)))
}

// shown are the certificates that a listener, of that number, has for clients, as far as
// they could be read.
func (g *graph) shown(i int) []doctor.Shown {
	var list []doctor.Shown
	if i >= len(g.certificates.choices) {
		return nil
	}
	for _, source := range g.certificates.choices[i] {
		files, inFiles := source.(*certs.Files)
		for _, c := range source.Certificates() {
			s := doctor.Shown{Name: certs.Title(c.Leaf), Blocks: inFiles, Certificate: c}
			if inFiles {
				s.Name = files.Pair().Certificate
			}
			list = append(list, s)
		}
	}
	return list
}
