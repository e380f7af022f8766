package certs

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
)

// Source is where a certificate comes from: one, several for several names, or none as
// long as there is none. What it returns is never changed.
type Source interface {
	Certificates() []*tls.Certificate
}

// Fixed is a Source of one certificate that stays as it is.
type Fixed tls.Certificate

// Certificates returns the one.
func (f *Fixed) Certificates() []*tls.Certificate { return []*tls.Certificate{(*tls.Certificate)(f)} }

// Choice are the certificates of a server. The first is for clients that ask for no
// name, or for one that none of them is for.
type Choice []Source

// ErrNone says that there is no certificate yet.
var ErrNone = errors.New("certs: there is no certificate yet")

// Certificates returns all that are there now.
func (c Choice) Certificates() []*tls.Certificate {
	var all []*tls.Certificate
	for _, source := range c {
		all = append(all, source.Certificates()...)
	}
	return all
}

// Ready reports whether there is any now.
func (c Choice) Ready() bool {
	return slices.ContainsFunc(c, func(s Source) bool { return len(s.Certificates()) > 0 })
}

// Get returns the certificate for a client (RFC 6066 3): one for the very name that it
// asks for, else one with a wildcard for it (RFC 9525 6.3), else the first. Of several that
// fit, the first is taken whose key the client can use. It fails with ErrNone.
func (c Choice) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	all := c.Certificates()
	if len(all) == 0 {
		return nil, ErrNone
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	for _, wanted := range []string{name, wildcard(name)} {
		if found := usable(hello, named(all, wanted)); found != nil {
			return found, nil
		}
	}
	return usable(hello, all), nil
}

// wildcard is the wildcard that a name matches, "" if there is none.
func wildcard(name string) string {
	_, parent, found := strings.Cut(name, ".")
	if !found || !strings.Contains(parent, ".") {
		return ""
	}
	return "*." + parent
}

// named returns the certificates that have a name among theirs, as it is.
func named(all []*tls.Certificate, name string) []*tls.Certificate {
	if name == "" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(c *tls.Certificate) bool {
		return !slices.ContainsFunc(c.Leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) })
	})
}

// usable returns the first whose key the client can use; the first of all if it says
// that it can use none, and nil if there is none.
func usable(hello *tls.ClientHelloInfo, all []*tls.Certificate) *tls.Certificate {
	if len(all) == 0 {
		return nil
	}
	unnamed := *hello
	unnamed.ServerName = "" // which the certificate need not be for
	for _, c := range all {
		if unnamed.SupportsCertificate(c) == nil {
			return c
		}
	}
	return all[0]
}

// safeSuites are the cipher suites of TLS 1.2 that have forward secrecy and
// authenticated encryption (RFC 9325 4.2). Those of TLS 1.3 are all good.
var safeSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// safeCurves are the key exchanges; the first is one that a quantum computer cannot
// break either.
var safeCurves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

// ServerConfig returns the TLS settings of a server whose certificate get chooses for
// each client. TLS 1.2 is the oldest version. Session tickets are off: there are clients
// that cannot resume a session under STARTTLS and then fail for good.
func ServerConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		GetCertificate:         get,
		MinVersion:             tls.VersionTLS12,
		CipherSuites:           slices.Clone(safeSuites),
		CurvePreferences:       slices.Clone(safeCurves),
		SessionTicketsDisabled: true,
	}
}
