package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"postern/internal/config"
	"postern/internal/ldap"
	"postern/internal/mail"
)

// ldapSource is a directory that is asked by LDAP, with what it was made of.
type ldapSource struct {
	*ldap.Directory
	settings    *config.LDAP
	password    mail.Secret
	authorities *x509.CertPool // nil: those of the system
}

// loadLDAP makes the directories that are asked by LDAP, and reads what they need.
// Nobody is asked yet.
func (g *graph) loadLDAP() error {
	var errs []error
	for i := range g.config.LDAP {
		d, err := g.newLDAP(&g.config.LDAP[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.ldap = append(g.ldap, d)
	}
	g.askForRecipients()
	return errors.Join(errs...)
}

// askForRecipients has the directories asked for whom mail to local domains is.
func (g *graph) askForRecipients() {
	g.local.Sources = nil
	for _, d := range g.ldap {
		if d.settings.Recipients {
			g.local.Sources = append(g.local.Sources, d)
		}
	}
}

func (g *graph) newLDAP(c *config.LDAP) (*ldapSource, error) {
	d := &ldapSource{settings: c}
	options := ldap.Options{Settings: *c, Tell: func(e ldap.Event) { g.tellSource("ldap "+e.Name, e.Err) }, Clock: g.clock, Logger: g.told.logger, Metrics: g.told.ldap}
	var errs []error
	if !c.BindPassword.IsZero() {
		password, err := readSecret(c.BindPassword)
		if err != nil {
			errs = append(errs, c.Wrong("ldap.bind_password", err))
		}
		d.password, options.Password = password, password
	}
	var err error
	if d.authorities, err = g.authorities(c.Authorities); err != nil {
		errs = append(errs, c.Wrong("ldap.authorities", err))
	}
	options.TLS = &tls.Config{RootCAs: d.authorities, MinVersion: tls.VersionTLS12}
	d.Directory, err = ldap.New(options)
	return d, errors.Join(append(errs, err)...)
}

// sameSource reports whether two are made of the same.
func (d *ldapSource) sameSource(o *ldapSource) bool {
	a, b := *d.settings, *o.settings
	a.Placed, b.Placed = config.Placed{}, config.Placed{}
	return reflect.DeepEqual(a, b) && d.password == o.password && d.authorities.Equal(o.authorities)
}

// ldapNamed returns the directory of that name, nil if there is none.
func (g *graph) ldapNamed(name string) *ldapSource {
	i := slices.IndexFunc(g.ldap, func(d *ldapSource) bool { return d.Name() == name })
	if i < 0 {
		return nil
	}
	return g.ldap[i]
}

// followLDAP goes on with the directories of another graph: those that are the same, with
// their connections and what they remember; of the others, with how their servers answer.
func (g *graph) followLDAP(before *graph) {
	for i, d := range g.ldap {
		was := before.ldapNamed(d.Name())
		switch {
		case was == nil:
		case d.sameSource(was):
			g.ldap[i] = was
		default:
			d.Follow(was.Directory)
		}
	}
	g.askForRecipients()
}

// replaceLDAP lets the connections go of the directories of another graph that are not
// those of the next one. Sessions that have the other graph may still ask them.
func (d *Daemon) replaceLDAP(next, running *graph) {
	for _, was := range running.ldap {
		if !slices.Contains(next.ldap, was) {
			was.Retire()
			d.retired = append(d.retired, was)
		}
	}
}

// closeLDAP ends all questions to directories.
func (d *Daemon) closeLDAP() {
	for _, x := range slices.Concat(d.graph.ldap, d.retired) {
		x.Close()
	}
}

// ldapReadAnew returns what differs from another graph in what the settings name.
func (g *graph) ldapReadAnew(before *graph) []config.Change {
	var changes []config.Change
	for _, d := range g.ldap {
		was := before.ldapNamed(d.Name())
		if was == nil {
			continue
		}
		change := config.Change{Name: d.Name(), Effect: config.AtReload}
		if was.settings.BindPassword == d.settings.BindPassword && was.password != d.password {
			change.Key, change.Old, change.New = "ldap.bind_password", `"a secret"`, `"another, in the same place"`
			changes = append(changes, change)
		}
		if was.settings.Authorities == d.settings.Authorities && !was.authorities.Equal(d.authorities) {
			change.Key, change.Old, change.New = "ldap.authorities", `"a file"`, `"another, in the same place"`
			changes = append(changes, change)
		}
	}
	return changes
}

// ldapWarnings says which directories are down, and which servers of others.
func ldapWarnings(g *graph) []string {
	var warnings []string
	for _, d := range g.ldap {
		servers, all := d.Down()
		if all && len(servers) > 0 {
			warnings = append(warnings, fmt.Sprintf("ldap %s: down since %s: %v", d.Name(), since(servers[0].Since), servers[0].Err))
			continue
		}
		for _, s := range servers {
			warnings = append(warnings, fmt.Sprintf("ldap %s: %s fails since %s, and the next server is asked: %v", d.Name(), s.Server, since(s.Since), s.Err))
		}
	}
	return warnings
}

// ldapServersDown counts servers that fail.
func (d *Daemon) ldapServersDown() float64 {
	var n int
	for _, x := range d.inForce().ldap {
		servers, _ := x.Down()
		n += len(servers)
	}
	return float64(n)
}

// What a directory says when it is tried.
type (
	LDAPReport  = ldap.Report
	LDAPUser    = ldap.UserReport
	LDAPAddress = ldap.AddressReport
)

// LDAPTrial is what is tried: a directory of the configuration; what it has for a login
// or an address, unless that is empty; and a password, unless that is empty.
type LDAPTrial struct {
	Directory, Who string
	Password       mail.Secret
}

var errNoDirectory = errors.New("the configuration has no [[ldap]] of that name")

// TryLDAP tries a directory of the configuration. It asks no running server.
func TryLDAP(ctx context.Context, c *config.Config, t LDAPTrial) (LDAPReport, error) {
	i := slices.IndexFunc(c.LDAP, func(l config.LDAP) bool { return l.Name == t.Directory })
	if i < 0 {
		return LDAPReport{}, fmt.Errorf("%q: %w", t.Directory, errNoDirectory)
	}
	d, err := newGraph(c, mail.SystemClock{}).newLDAP(&c.LDAP[i])
	if err != nil {
		return LDAPReport{}, err
	}
	defer d.Close()
	return d.Try(ctx, t.Who, t.Password), nil
}
