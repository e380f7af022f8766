package config

import (
	"net/netip"
	"slices"
	"time"

	"postern/internal/mail"
)

// Certificate is one table [[certificate]].
type Certificate struct {
	Placed

	Name      string // unique
	File, Key string // both or neither
	ACME      bool   // instead of files
	Names     []string
}

// Problem returns one with a setting of the certificate, which it names, at its place if it was
// set, else at that of the table.
func (c *Certificate) Problem(key, message, hint string) Problem {
	return c.Placed.Problem(key, "certificate "+c.Name+": "+message, hint)
}

// Wrong returns the problem that the value of a setting of the certificate cannot be used.
func (c *Certificate) Wrong(key string, err error) Problem {
	return c.Problem(key, err.Error(), "").because(err)
}

// ACME is the table [acme].
type ACME struct {
	Directory  string       // a URL
	Email      mail.Address // null for none
	AgreeTerms bool
	Challenge  Challenge
	Address    netip.AddrPort // the zero one: use At
	CAFile     string         // empty: the authorities that the system trusts
	CheckEvery time.Duration
}

// Challenge is how an authority is shown that a name is this server's.
type Challenge string

// The challenges (RFC 8555 8.3; RFC 8737).
const (
	ChallengeHTTP    Challenge = "http-01"
	ChallengeTLSALPN Challenge = "tls-alpn-01"
)

// The ports at which authorities ask (RFC 8555 8.3; RFC 8737 3).
const (
	portHTTP    = 80
	portTLSALPN = 443
)

// At is where challenges are answered: at Address, or at every address of the machine
// with the port for the challenge.
func (a *ACME) At() netip.AddrPort {
	switch {
	case a.Address.IsValid():
		return a.Address
	case a.Challenge == ChallengeTLSALPN:
		return netip.AddrPortFrom(netip.IPv6Unspecified(), portTLSALPN)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), portHTTP)
}

// Domains are the names for which there is to be a certificate by ACME: those of the table,
// or the name of this host.
func (c *Config) Domains(certificate *Certificate) []string {
	if len(certificate.Names) > 0 {
		return certificate.Names
	}
	return []string{c.Hostname}
}

// checkCertificates wants certificates each from one place, and what ACME needs.
func (d *decoder) checkCertificates() {
	agreed := d.config.ACME.AgreeTerms
	for _, t := range d.tables["certificate"] {
		c := t.fields.certificate
		d.checkPair(t, "certificate", "key", "set both, or acme = true")
		_, hasFile := t.given["certificate"]
		_, hasKey := t.given["key"]
		acme, hasACME := t.given["acme"]
		domains, hasDomains := t.given["names"]
		switch {
		case c.ACME && (hasFile || hasKey):
			d.fault(acme.key, "certificate.acme", faultf("leave out acme, or certificate and key", "is true, and there are files as well"))
		case c.ACME && !agreed:
			d.fault(acme.value, "certificate.acme", faultf("read them, and set agree_terms = true in [acme]",
				"is true, but nobody has agreed to the terms of the authority"))
		case !c.ACME && !hasFile && !hasKey && !hasACME && !d.meant["certificate.certificate"] && !d.meant["certificate.key"] && !d.meant["certificate.acme"]:
			d.fault(t.at, "certificate.certificate", faultf("set certificate and key, or acme = true", "is missing"))
		case !c.ACME && hasDomains:
			d.fault(domains.key, "certificate.names", faultf("leave it out: a certificate in a file has its own names", "is for acme only"))
		}
	}
	d.checkChallenge()
}

// checkChallenge wants an address for challenges that no listener has.
func (d *decoder) checkChallenge() {
	for _, t := range d.tables["acme"] {
		at, is := t.given["address"]
		taken := func(l *table) bool { return l.fields.listener.Address == d.config.ACME.Address }
		if is && d.config.ACME.Address.IsValid() && slices.ContainsFunc(d.tables["listener"], taken) {
			d.fault(at.value, "acme.address", faultf("choose another port", "%q is also that of a listener", d.config.ACME.Address))
		}
	}
}

// checkListenerCertificates refuses a list of none, which would stand for others.
func (d *decoder) checkListenerCertificates(t *table) {
	if names, is := t.given["certificates"]; is && names.node.kind == nodeList && len(names.node.items) == 0 {
		d.fault(names.value, "listener.certificates", faultf("name one, or leave it out", "is empty"))
	}
}
