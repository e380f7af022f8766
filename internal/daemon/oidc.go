package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/internal/auth"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/httpauth"
	"postern/internal/mail"
	"postern/internal/oidc"
)

// webSources are the sources of accounts that are asked over HTTP: issuers of tokens,
// and services that verify passwords.
type webSources struct {
	issuers  []*oidc.Source
	services []*httpauth.Source
}

// tendEvery is how often issuers are looked after: each is asked only when it is time.
const tendEvery = time.Second

// loadWebSources makes the sources that are asked over HTTP, and reads the secrets and
// certificates that they need. Nobody is asked yet: an issuer that is down keeps no server
// from starting.
func (g *graph) loadWebSources() error {
	var errs []error
	for i := range g.config.OIDC {
		s, err := g.newOIDC(&g.config.OIDC[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.web.issuers = append(g.web.issuers, s)
	}
	for i := range g.config.HTTPAuth {
		s, err := g.newHTTPAuth(&g.config.HTTPAuth[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.web.services = append(g.web.services, s)
	}
	return errors.Join(errs...)
}

func (g *graph) newOIDC(c *config.OIDC) (*oidc.Source, error) {
	o := oidc.Options{
		Account: g.account, Tell: func(e oidc.Event) { g.tellSource("oidc "+e.Name, e.Err) },
		Clock: g.clock, Logger: g.told.logger, Metrics: g.told.oidc,
	}
	var err error
	if o.Authorities, err = g.authorities(c.Authorities); err != nil {
		return nil, c.Wrong("oidc.authorities", err)
	}
	return oidc.New(*c, o), nil
}

// authorities reads a file of those that are trusted; nil, those of the system, without
// one.
func (g *graph) authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	return certs.LoadPool(file, g.clock.Now())
}

func (g *graph) newHTTPAuth(c *config.HTTPAuth) (*httpauth.Source, error) {
	o := httpauth.Options{
		Tell:  func(e httpauth.Event) { g.tellSource("http_auth "+e.Name, e.Err) },
		Clock: g.clock, Logger: g.told.logger, Metrics: g.told.httpAuth,
	}
	var errs []error
	if !c.Secret.IsZero() {
		secret, err := readSecret(c.Secret)
		if err != nil {
			errs = append(errs, c.Wrong("http_auth.secret", err))
		}
		o.Secret = secret
	}
	if c.ClientCertificate != "" {
		certificate, err := g.clientCertificate(c)
		if err != nil {
			errs = append(errs, err)
		}
		o.Certificate = certificate
	}
	authorities, err := g.authorities(c.Authorities)
	if err != nil {
		errs = append(errs, c.Wrong("http_auth.authorities", err))
	}
	o.Authorities = authorities
	return httpauth.New(*c, o), errors.Join(errs...)
}

// clientCertificate reads what is shown to a service.
func (g *graph) clientCertificate(c *config.HTTPAuth) (*tls.Certificate, error) {
	certificate, err := certs.Load(certs.Pair{Certificate: c.ClientCertificate, Key: c.ClientKey}, g.clock.Now())
	if wrong, ok := errors.AsType[*certs.Error](err); ok && wrong.File == c.ClientKey {
		return nil, c.Wrong("http_auth.client_key", err)
	}
	if err != nil {
		return nil, c.Wrong("http_auth.client_certificate", err)
	}
	return &certificate, nil
}

// tellSource tells who looks after it that a source does not answer, or that it does
// again.
func (g *graph) tellSource(name string, err error) {
	if g.told.source != nil {
		g.told.source(name, err)
	}
}

// methods are what the sources can do, by their names.
func (w *webSources) methods() map[string]auth.Methods {
	all := make(map[string]auth.Methods)
	for _, s := range w.issuers {
		all[s.Name()] = auth.Methods{Tokens: s}
	}
	for _, s := range w.services {
		all[s.Name()] = auth.Methods{Passwords: s}
	}
	return all
}

// follow goes on with what is known of the same issuers and services.
func (w *webSources) follow(before *webSources) {
	for _, s := range w.issuers {
		for _, was := range before.issuers {
			if was.Name() == s.Name() {
				s.Follow(was)
			}
		}
	}
	for _, s := range w.services {
		for _, was := range before.services {
			if was.Name() == s.Name() {
				s.Follow(was)
			}
		}
	}
}

// close gives up the connections that nobody uses. Sessions that have an earlier graph
// may still ask.
func (w *webSources) close() {
	for _, s := range w.issuers {
		s.Close()
	}
	for _, s := range w.services {
		s.Close()
	}
}

// tend looks after the issuers, all at the same time: one that is slow keeps none waiting.
func (w *webSources) tend(ctx context.Context) {
	var issuers sync.WaitGroup
	for _, s := range w.issuers {
		issuers.Go(func() { s.Tend(ctx) })
	}
	issuers.Wait()
}

// warnings say which sources do not answer.
func (w *webSources) warnings() []string {
	var list []string
	for _, s := range w.issuers {
		switch state := s.State(); {
		case state.Err != nil && state.Keys > 0:
			list = append(list, fmt.Sprintf("oidc %s: the issuer does not answer since %s, and its keys of %s are used: %v", state.Name, since(state.Since), since(state.Read), state.Err))
		case state.Err != nil:
			list = append(list, fmt.Sprintf("oidc %s: the issuer does not answer since %s, and its keys are not known: %v", state.Name, since(state.Since), state.Err))
		}
	}
	for _, s := range w.services {
		if at, err := s.Failure(); err != nil {
			list = append(list, fmt.Sprintf("http_auth %s: the service does not answer since %s: %v", s.Name(), since(at), err))
		}
	}
	return list
}

func since(t time.Time) string { return t.Local().Format(time.RFC3339) }

// down counts the sources that do not answer.
func (w *webSources) down() float64 { return float64(len(w.warnings())) }

// tendIssuers looks after the issuers of the configuration in force until ctx ends.
func (d *Daemon) tendIssuers(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		d.inForce().web.tend(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tellSource tells wherever an operator may look that a source does not answer, or that
// it does again.
func (d *Daemon) tellSource(name string, err error) {
	fact := mail.Fact{Reason: mail.ReasonSourceUp, Time: d.clock.Now(), Text: name}
	if err == nil {
		d.Logger.Info("source of accounts answers again", "source", name)
		d.journal.Record(fact)
		return
	}
	d.Logger.Warn("source of accounts does not answer", "source", name, "error", err)
	fact.Reason, fact.Text = mail.ReasonSourceDown, fmt.Sprintf("%s: %v", name, err)
	d.journal.Record(fact)
}

// TokenReport is what was found out about a token.
type TokenReport struct {
	Source string `json:"source"`
	Issuer string `json:"issuer"`
	// Keys is how many the issuer has that can be used.
	Keys   int         `json:"keys"`
	Header TokenHeader `json:"header"`
	// Claims are those that were looked at.
	Claims []Claim `json:"claims"`
	// Why it is refused; empty if it is good, and then it is of Account.
	Why     string        `json:"why,omitempty"`
	Account *TokenAccount `json:"account,omitempty"`
	// Directory says that the directory has to know the account, too, and says what it
	// may do. It was not asked.
	Directory bool `json:"directory"`
}

// TokenHeader is what the header of a token says.
type TokenHeader struct {
	Algorithm string `json:"algorithm,omitempty"`
	Key       string `json:"key,omitempty"`
	Type      string `json:"type,omitempty"`
}

// TokenAccount is who a token is of, as far as it says so itself.
type TokenAccount struct {
	Name      string   `json:"name"`
	Services  []string `json:"services"`
	Groups    []string `json:"groups"`
	Addresses []string `json:"addresses"`
}

// Claim is a claim of a token.
type Claim = oidc.Claim

var errNoIssuer = errors.New("the configuration has no [[oidc]] of that name")

// TryToken asks the issuer of a source for its keys, and finds out about a token. user is
// the name that a client would give; empty for none. It asks no running server, and not
// the directory: the account is judged by the token alone.
func TryToken(ctx context.Context, c *config.Config, name, user, token string) (TokenReport, error) {
	for i := range c.OIDC {
		o := c.OIDC[i]
		if o.Name != name {
			continue
		}
		r := TokenReport{Source: name, Issuer: o.Issuer, Directory: o.MustExist}
		o.MustExist = false
		s, err := newGraph(c, mail.SystemClock{}).newOIDC(&o)
		if err != nil {
			return r, err
		}
		defer s.Close()
		s.Tend(ctx)
		state := s.State()
		if state.Err != nil {
			return r, fmt.Errorf("the issuer %s does not answer: %w", o.Issuer, state.Err)
		}
		r.Keys = state.Keys
		r.fill(s.Examine(ctx, user, token))
		return r, nil
	}
	return TokenReport{}, fmt.Errorf("%q: %w", name, errNoIssuer)
}

// fill takes over what was found out.
func (r *TokenReport) fill(found oidc.Report) {
	r.Claims = found.Claims
	r.Header = TokenHeader{found.Algorithm, found.KeyID, found.Type}
	if found.Err != nil {
		r.Why = found.Err.Error()
		return
	}
	p := &found.Principal
	r.Account = &TokenAccount{Name: p.Name, Services: []string{}, Groups: p.Groups, Addresses: p.Addresses}
	for service, has := range map[config.Service]bool{config.ServiceSubmit: p.Services.Submit, config.ServiceRelay: p.Services.Relay, config.ServicePOP: p.Services.POP} {
		if has {
			r.Account.Services = append(r.Account.Services, string(service))
		}
	}
	slices.Sort(r.Account.Services)
}
