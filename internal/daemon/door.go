package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/smtpserver"
)

// This file says how the listeners of a graph take their clients in.

// loadClientAuthorities reads by whom the certificates of clients verify.
func (g *graph) loadClientAuthorities() error {
	g.clientAuthorities = make([]*x509.CertPool, len(g.config.Listeners))
	var errs []error
	for i := range g.config.Listeners {
		l := &g.config.Listeners[i]
		if l.ClientAuthorities == "" {
			continue
		}
		pool, err := certs.LoadPool(l.ClientAuthorities, g.clock.Now())
		if err != nil {
			errs = append(errs, l.Wrong("listener.client_authorities", err))
			continue
		}
		g.clientAuthorities[i] = pool
	}
	return errors.Join(errs...)
}

// changedAuthorities tells of files whose authorities are others than before.
func (g *graph) changedAuthorities(before *graph) []config.Change {
	var changes []config.Change
	for i, pool := range g.clientAuthorities {
		c := &g.config.Listeners[i]
		was := before.listener(c.Name)
		if pool == nil || was < 0 || before.config.Listeners[was].ClientAuthorities != c.ClientAuthorities || pool.Equal(before.clientAuthorities[was]) {
			continue
		}
		changes = append(changes, config.Change{Key: "listener.client_authorities", Name: c.Name, Old: `"some certificates"`, New: `"others, in the same file"`, Effect: config.AtReload})
	}
	return changes
}

// doorOf gives the options of a listener what says how clients are taken in; i is its
// number in the graph.
func (d *Daemon) doorOf(o smtpserver.Options, g *graph, i int) smtpserver.Options {
	c := &g.config.Listeners[i]
	o.TLS = listenerTLS(c, d.tlsConfig(g, i))
	o.Implicit = c.TLSMode() == config.ListenerImplicit
	o.TLSRequired, o.AuthInClear = c.TLSRequired, c.AuthWithoutTLS
	o.ClientCertificates = smtpserver.ClientCertificates{
		Ask:         c.ClientCertificates == config.ClientCertificatesAccept,
		Require:     c.ClientCertificates == config.ClientCertificatesRequire,
		Authorities: g.clientAuthorities[i],
	}
	o.Handshakes = d.handshakes
	o.ProxyFrom = c.ProxyFrom
	o.Without, o.RequireTLS = without(c), g.keepsTLS()
	return o
}

// keepsTLS reports whether there is a way for mail that demands TLS on its whole way (RFC
// 8689): a server that the configuration names, by its host, its key or the names in its
// certificate, and to which not all goes in clear. Those that MX records alone name are none
// as long as nothing vouches for the records. Behind a Unix socket the way is at its end.
func (g *graph) keepsTLS() bool {
	c := g.config
	return len(c.Delivery.Smarthosts) > 0 && c.Delivery.SmarthostTLS != config.TLSNone ||
		slices.ContainsFunc(c.Transports, keepsTLS) ||
		slices.ContainsFunc(c.TLSDomains, func(t config.TLSDomains) bool { return namesServer(&t.TLSOut) })
}

// keepsTLS reports whether a transport has such a server.
func keepsTLS(t config.Transport) bool {
	switch t.Kind {
	case config.TransportSmarthost, config.TransportPool:
		return t.TLS != config.TLSNone && !t.LookupMX || namesServer(&t.TLSOut)
	case config.TransportMX:
		return namesServer(&t.TLSOut)
	case config.TransportLMTP:
		return slices.ContainsFunc(t.Hosts, func(h mail.HostPort) bool { return h.Socket != "" })
	}
	return false
}

// namesServer reports whether it is said by which key or names a server is known.
func namesServer(o *config.TLSOut) bool { return o.TLS == config.TLSPin || len(o.TLSNames) > 0 }

// listenerTLS returns how a listener does TLS with its certificate; nil for in clear.
func listenerTLS(c *config.Listener, certificate *tls.Config) *tls.Config {
	if certificate == nil || c.TLS == config.ListenerClear {
		return nil
	}
	t := certificate.Clone()
	t.MinVersion = uint16(c.TLSMinVersion)
	if set := c.Ciphers(); len(set) > 0 {
		t.CipherSuites = nil
		for _, suite := range set {
			t.CipherSuites = append(t.CipherSuites, uint16(suite))
		}
	}
	return t
}

func without(c *config.Listener) smtpserver.Without {
	return smtpserver.Without{
		Pipelining:   c.Lacks(config.ExtensionPipelining),
		EightBitMIME: c.Lacks(config.Extension8BitMIME),
		SMTPUTF8:     c.Lacks(config.ExtensionSMTPUTF8),
		DSN:          c.Lacks(config.ExtensionDSN),
		Chunking:     c.Lacks(config.ExtensionChunking),
		RequireTLS:   c.Lacks(config.ExtensionRequireTLS),
	}
}

// missing says which fields a message gets that has none, by the listener by which it
// came in.
func (g *graph) missing(o *mail.Origin) (addDate, addMessageID bool) {
	m := &g.config.Message
	if i := g.listener(o.Listener); i >= 0 {
		l := &g.config.Listeners[i]
		return l.AddDate.Adds(m.AddDate), l.AddMessageID.Adds(m.AddMessageID)
	}
	return m.AddDate, m.AddMessageID
}

// describeDoor tells how a listener of the configuration takes its clients in.
func describeDoor(s *admin.Listener, c *config.Listener, o *smtpserver.Options) {
	s.TLS = string(c.TLSMode())
	if c.TLS == "" && o.TLS != nil { // with a certificate that is assigned to it
		s.TLS = string(config.ListenerStartTLS)
	}
	s.TLSRequired = o.TLSRequired
	s.ClientCertificates = string(c.ClientCertificates)
	s.Auth = string(c.Auth)
	s.Extensions = smtpserver.Offered(o).Keywords()
	s.Unsafe = c.Unsafe()
	for _, p := range c.ProxyFrom {
		s.ProxyFrom = append(s.ProxyFrom, p.String())
	}
}

// adviseLogin warns of a listener at which nobody can log in, although it has AUTH.
func (g *graph) adviseLogin(i int) []config.Problem {
	l := &g.config.Listeners[i]
	if l.Auth == config.AuthOff || len(l.AuthMechanisms) == 0 || l.AuthWithoutTLS || i >= len(g.certificates.choices) {
		return nil
	}
	if l.TLS != config.ListenerClear && (l.HasCertificate() || g.certificates.choices[i].Ready()) {
		return nil
	}
	return []config.Problem{l.Problem("listener.auth", fmt.Sprintf("is %q, and nobody can log in: AUTH is offered under TLS alone, which the listener does not do", l.Auth),
		"give it a certificate by tls_certificate, certificates or `postern cert assign`")}
}

// doorWarnings tell of listeners that are less strict than they should be where
// strangers may reach them.
func doorWarnings(c *config.Config) []string {
	var warnings []string
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if !l.ReachedFromOutside() {
			continue
		}
		for _, why := range l.Unsafe() {
			warnings = append(warnings, fmt.Sprintf("listener %s at %s is unsafe: it %s; whoever reaches this host may use it", l.Name, l.Address, why))
		}
	}
	return warnings
}
