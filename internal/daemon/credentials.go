package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/credentials"
	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// This file says with what this server authenticates itself to the next ones.

// loadCredentials reads what vouches for the issuers of tokens. What is secret is read when it
// is needed: mail that needs it waits while it cannot be, and nothing else does.
func (g *graph) loadCredentials() error {
	var err error
	if g.issuers, err = g.authorities(g.config.Credentials.Authorities); err != nil {
		return g.config.Wrong("credentials.authorities", err)
	}
	return nil
}

// credentialSettings are what the configuration says of credentials.
func (g *graph) credentialSettings() credentials.Settings {
	return credentials.Settings{KeyFile: g.config.CredentialsKey(), Authorities: g.issuers}
}

// newBook returns the credentials of a graph that nobody serves.
func (g *graph) newBook() *credentials.Book {
	return credentials.New(credentials.Options{Settings: g.credentialSettings(), Directory: g.records, Clock: g.clock})
}

// book returns the credentials of the server.
func (d *Daemon) newBook(g *graph) *credentials.Book {
	return credentials.New(credentials.Options{
		Settings: g.credentialSettings(), Directory: func() *directory.Directory { return d.directory },
		Clock: d.clock, Logger: d.Logger, Metrics: d.counts.credentials, Record: func(f mail.Fact) { d.journal.Record(f) },
		Works: func(name string) { d.deliverer.CredentialWorks(name) },
	})
}

// credentialWarnings say which credentials cannot be used, and why.
func (d *Daemon) credentialWarnings(g *graph) (list []string) {
	for _, t := range d.credentials.Troubles() {
		list = append(list, fmt.Sprintf("%s; mail that needs it waits, and postern credential show %s says until when", t, t.Credential))
	}
	for _, p := range g.adviseCredentials() {
		list = append(list, p.Error())
	}
	return list
}

// finishLogin puts into a lane what is proved to its server, and has the server verified before
// that is shown to it.
func (g *graph) finishLogin(l *route.Lane) {
	login, _ := g.loginFor(l)
	if login == nil {
		return
	}
	l.Login = login
	if r := login.Record(); !r.WithoutVerification {
		l.TLS = l.TLS.AtLeast(tlspolicy.Verify, r.String())
	}
}

// hostLogin is a route.Login of which the record is known.
type hostLogin interface {
	route.Login
	fmt.Stringer
	Record() *directory.Credential
	// Lift lets it be shown at once, whatever was refused before.
	Lift()
}

// loginFor looks for the credential of a server, in this order: that of the transport, that of
// the name by which the configuration knows the server, that of the server's own name. It returns
// nil if there is none, and for people the rule by which it was found.
//
// A credential is shown to servers that a person has named, in the configuration or in the
// record: names from DNS can be forged, and a certificate for a forged name is easily had.
func (g *graph) loginFor(l *route.Lane) (login hostLogin, by string) {
	b := g.lasting.credentials
	if b == nil {
		return nil, ""
	}
	named, hosts := g.configured(l)
	if named != "" {
		return shownTo(b.Named(named).At(l.Host), l.Host, hosts), "named for the transport " + l.Transport
	}
	if isNamed(hosts, l.Host) {
		hosts = nil // it is the next hop itself, and none of the servers of another
	}
	var first *credentials.Login
	firstHost := ""
	for _, h := range hosts {
		of := b.For(h.Host)
		if of != nil && of.Record().IsFor(l.Host) {
			return of.At(l.Host), ofServer(h.Host, l.Transport)
		}
		if first == nil && of != nil {
			first, firstHost = of, h.Host
		}
	}
	if of := b.For(l.Host); of != nil {
		return of.At(l.Host), "for the server's own name"
	}
	if first != nil {
		return shownTo(first.At(l.Host), l.Host, nil), ofServer(firstHost, l.Transport)
	}
	return nil, ""
}

// ofServer is why a credential is shown that is for a server of the configuration.
func ofServer(host, transport string) string {
	return "for " + host + ", a server of the transport " + transport
}

// configured returns what the configuration says of the servers of a lane: the credential that it
// names for them, "" for none, and the servers among which the lane's is.
func (g *graph) configured(l *route.Lane) (credential string, hosts []mail.HostPort) {
	if t := g.transportNamed(l.Transport); t != nil {
		return t.Credential, g.hostsOf(t)
	}
	c := &g.config.Delivery
	if isOneOf(c.Smarthosts, l.Host, l.Port) {
		return c.SmarthostCredential, c.Smarthosts
	}
	return "", nil
}

// hostsOf are the servers that the configuration names for a transport.
func (g *graph) hostsOf(t *config.Transport) []mail.HostPort {
	hosts := slices.Clone(t.Hosts)
	for i := range g.config.Targets {
		if target := &g.config.Targets[i]; target.Pool == t.Name {
			hosts = append(hosts, target.Where())
		}
	}
	return hosts
}

func isOneOf(hosts []mail.HostPort, host string, port uint16) bool {
	return slices.ContainsFunc(hosts, func(h mail.HostPort) bool { return mail.SameDomain(h.Host, host) && h.Port == port })
}

// isNamed reports whether a host is one of the hosts, at whatever port.
func isNamed(hosts []mail.HostPort, host string) bool {
	return slices.ContainsFunc(hosts, func(h mail.HostPort) bool { return mail.SameDomain(h.Host, host) })
}

// shownTo returns a login for a host, which must be one of the hosts or one of the record.
func shownTo(of credentials.At, host string, hosts []mail.HostPort) hostLogin {
	if r := of.Record(); r.Kind != "" && !isNamed(hosts, host) && !r.IsFor(host) {
		return withheld{of, host}
	}
	return of
}

// withheld is a login that is not shown to a host, because nobody has named that.
type withheld struct {
	credentials.At
	host string
}

// String says that it is not shown.
func (w withheld) String() string {
	return fmt.Sprintf("nothing: %s is not for %s", w.At, w.host)
}

// Credentials says that there are none.
func (w withheld) Credentials(context.Context) (mail.Credentials, error) {
	return mail.Credentials{}, fmt.Errorf("%s: %s is a name from DNS, and neither the configuration nor the credential names it (postern credential set %s --host …)",
		w.Record(), w.host, w.Record().Name)
}

// Begin says so too.
func (w withheld) Begin(ctx context.Context) (mail.Credentials, func(error), error) {
	_, err := w.Credentials(ctx)
	return mail.Credentials{}, nil, err
}

// adviseCredentials warns of settings that name what is not in the directory, and of a key file
// without which what is there cannot be unsealed. Of one that only the server may read it knows nothing.
func (g *graph) adviseCredentials() []config.Problem {
	d := g.records()
	if d == nil {
		return nil
	}
	var found []config.Problem
	absent := func(name string) bool { return name != "" && d.Credential(name) == nil }
	const hint = "add it (postern credential add)"
	if name := g.config.Delivery.SmarthostCredential; absent(name) {
		p := g.config.Wrong("delivery.smarthost_credential", fmt.Errorf("%q is not in the directory: mail for the smarthosts will wait", name))
		p.Hint = hint
		found = append(found, p)
	}
	for i := range g.config.Transports {
		t := &g.config.Transports[i]
		if absent(t.Credential) {
			found = append(found, t.Problem("transport.credential", fmt.Sprintf("%q is not in the directory: mail for the transport will wait", t.Credential), hint))
		}
	}
	if err := credentials.NewKeyring(g.config.CredentialsKey()).Ready(d); err != nil && !errors.Is(err, fs.ErrPermission) {
		found = append(found, g.config.Problem("credentials.key_file", err.Error(), ""))
	}
	return found
}

// testLogin logs in at a server as deliveries do, and sends nothing. What fails there is in what
// it returns; its error is of what was asked.
func (g *graph) testLogin(ctx context.Context, t admin.CredentialTest) (admin.CredentialTested, error) {
	lane, err := g.laneNamed(t.Transport)
	if err != nil {
		return admin.CredentialTested{}, err
	}
	to := mail.HostPort{Host: t.Host, Port: cmp.Or(uint16(t.Port), g.portOf(t.Host, t.Transport), submissionPort)}
	way, err := route.NewSmarthosts(route.Options{Lookup: g.lookup(), Name: t.Transport, Hosts: []mail.HostPort{to}, Lane: lane}).Route(ctx, route.Question{})
	if err != nil {
		return admin.CredentialTested{}, unprocessable(fmt.Errorf("%s: %w", to, err))
	}
	hop := &way.Hops[0]
	g.finish(&hop.Lane, route.Question{})
	l, is := hop.Login.(hostLogin)
	if !is {
		return admin.CredentialTested{}, unprocessable(g.noCredential(t))
	}
	done := admin.CredentialTested{Credential: l.Record().Name, User: l.Record().User}
	l.Lift()
	for _, address := range hop.Addresses {
		done.Address, done.Error = address.String(), ""
		conn, err := g.logIn(ctx, hop, address)
		if err == nil {
			done.TLS, done.Mechanism = conn.TLS(), conn.Mechanism()
			conn.Close()
			break
		}
		done.Error = err.Error()
		if err.Command == "AUTH" { // it would be the same at another address
			break
		}
	}
	return done, nil
}

// portOf is the port at which a transport, or "" for delivery.smarthosts, has a server; 0 if it does not name it.
func (g *graph) portOf(host, transport string) uint16 {
	hosts := g.config.Delivery.Smarthosts
	if t := g.transportNamed(transport); t != nil {
		hosts = slices.Clone(t.Hosts)
		for i := range g.config.Targets {
			if to := targetOf(&g.config.Targets[i]); g.config.Targets[i].Pool == transport {
				hosts = append(hosts, mail.HostPort{Host: to.Host, Port: to.Port})
			}
		}
	}
	at := slices.IndexFunc(hosts, func(h mail.HostPort) bool { return mail.SameDomain(h.Host, host) })
	if at < 0 {
		return 0
	}
	return hosts[at].Port
}

// logIn logs in at an address of a server. A token that is refused is followed by another.
func (g *graph) logIn(ctx context.Context, to *route.Hop, address netip.AddrPort) (*smtpclient.Conn, *smtpclient.Error) {
	for again := false; ; again = true {
		shown, err := to.Login.Credentials(ctx)
		if err != nil {
			return nil, smtpclient.NoCredentials(to.Host, err)
		}
		conn, err := smtpclient.Dial(ctx, to.Host, address, smtpclient.Options{
			Hostname: cmp.Or(to.From.Hostname, g.config.Hostname), LocalAddr: to.From.Source(address.Addr()), TLS: to.TLS, Credentials: shown, Login: to.Login, Clock: g.clock,
			Timeouts: smtpclient.Timeouts{Connect: testTimeout, Greeting: testTimeout, Hello: testTimeout},
		})
		failure, _ := errors.AsType[*smtpclient.Error](err)
		if err == nil || again || shown.Token == "" || !failure.CredentialsRefused() {
			return conn, failure
		}
	}
}

// noCredential says that none is found for a server, and of which transports the one could be meant.
func (g *graph) noCredential(t admin.CredentialTest) error {
	var by []string
	for i := range g.config.Transports {
		if x := &g.config.Transports[i]; x.Credential != "" && x.Name != t.Transport {
			by = append(by, x.Name)
		}
	}
	if len(by) == 0 {
		return fmt.Errorf("no credential is for %s", t.Host)
	}
	return fmt.Errorf("no credential is for %s itself; those of transports are tested with --transport: %s", t.Host, strings.Join(by[:min(len(by), maxTold)], ", "))
}

const (
	submissionPort = 587
	// testTimeout bounds each step of a test that a person waits for.
	testTimeout = 20 * time.Second
)

func unprocessable(err error) error {
	return &admin.Problem{Status: http.StatusUnprocessableEntity, Title: "Not possible", Detail: err.Error()}
}

// laneNamed is what the lanes of a transport have in common; of "", those of the smarthosts.
func (g *graph) laneNamed(transport string) (route.Lane, error) {
	if transport == "" {
		return g.smarthostLane(), nil
	}
	if t := g.transportNamed(transport); t != nil {
		return g.laneOf(t), nil
	}
	return route.Lane{}, unprocessable(fmt.Errorf("there is no transport %q", transport))
}
