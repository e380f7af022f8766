package config

import (
	"crypto/tls"
	"net/netip"
	"slices"

	"postern/internal/mail"
)

// ListenerTLS is how a listener does TLS.
type ListenerTLS string

// The ways to do TLS.
const (
	ListenerClear    ListenerTLS = "none"
	ListenerStartTLS ListenerTLS = "starttls"
	ListenerImplicit ListenerTLS = "implicit"
)

// TLSVersion is a version of TLS, as crypto/tls numbers it.
type TLSVersion uint16

// CipherSuite is a cipher suite of TLS 1.2 and before, as crypto/tls numbers it.
type CipherSuite uint16

// String returns the name that IANA has for it.
func (s CipherSuite) String() string { return tls.CipherSuiteName(uint16(s)) }

// insecure reports whether a suite is one that crypto/tls takes for insecure.
func (s CipherSuite) insecure() bool {
	return slices.ContainsFunc(tls.InsecureCipherSuites(), func(i *tls.CipherSuite) bool { return i.ID == uint16(s) })
}

// ClientCertificates is what a listener wants of the certificates of its clients.
type ClientCertificates string

// The ways to treat the certificates of clients.
const (
	ClientCertificatesIgnore  ClientCertificates = "ignore"
	ClientCertificatesAccept  ClientCertificates = "accept"
	ClientCertificatesRequire ClientCertificates = "require"
)

// Extension is one that a listener can do without, by its keyword in EHLO.
type Extension string

// The extensions that a listener can do without.
const (
	Extension8BitMIME   Extension = "8BITMIME"
	ExtensionChunking   Extension = "CHUNKING"
	ExtensionDSN        Extension = "DSN"
	ExtensionPipelining Extension = "PIPELINING"
	ExtensionRequireTLS Extension = "REQUIRETLS"
	ExtensionSMTPUTF8   Extension = "SMTPUTF8"
)

// Addition says whether a field that is missing is added.
type Addition string

// The ways to treat a field that is missing.
const (
	AddAsMessage Addition = "message" // as the table [message] says
	AddAlways    Addition = "yes"
	AddNever     Addition = "no"
)

// Adds reports whether a field is added, when asMessage is what [message] says.
func (a Addition) Adds(asMessage bool) bool {
	return a == AddAlways || a == AddAsMessage && asMessage
}

// HasCertificate reports whether the configuration has a certificate for a listener.
func (l *Listener) HasCertificate() bool {
	return l.TLSCertificate != "" || l.TLSKey != "" || len(l.Certificates) > 0
}

// TLSMode returns how a listener does TLS: what is set, or STARTTLS if it can.
func (l *Listener) TLSMode() ListenerTLS {
	switch {
	case l.TLS != "":
		return l.TLS
	case l.HasCertificate():
		return ListenerStartTLS
	}
	return ListenerClear
}

// Lacks reports whether a listener does without an extension.
func (l *Listener) Lacks(e Extension) bool { return slices.Contains(l.ExtensionsOff, e) }

// oldDevices are the suites that a listener has beside the safe ones when it takes
// versions of TLS before 1.2: those of clients that know no others.
var oldDevices = []CipherSuite{
	CipherSuite(tls.TLS_RSA_WITH_AES_128_CBC_SHA), CipherSuite(tls.TLS_RSA_WITH_AES_256_CBC_SHA),
}

// takesOldTLS reports whether a listener takes versions of TLS before 1.2.
func (l *Listener) takesOldTLS() bool {
	return l.TLSMinVersion != 0 && l.TLSMinVersion < tls.VersionTLS12
}

// Ciphers returns the suites of TLS 1.2 and before that a listener takes; none: those
// that crypto/tls takes for safe.
func (l *Listener) Ciphers() []CipherSuite {
	if len(l.TLSCiphers) > 0 || !l.takesOldTLS() {
		return l.TLSCiphers
	}
	var suites []CipherSuite
	for _, s := range tls.CipherSuites() {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
			suites = append(suites, CipherSuite(s.ID))
		}
	}
	return append(suites, oldDevices...)
}

// Unsafe says for which old clients a listener is less strict than it should be, each
// as a clause. Such a listener belongs on a network of one's own.
func (l *Listener) Unsafe() []string {
	var unsafe []string
	if l.TLSMode() != ListenerClear && l.takesOldTLS() {
		unsafe = append(unsafe, "takes "+tls.VersionName(uint16(l.TLSMinVersion))+", which can be broken")
	}
	for _, s := range l.TLSCiphers {
		if l.TLSMode() != ListenerClear && s.insecure() {
			unsafe = append(unsafe, "takes "+s.String()+", which can be broken")
		}
	}
	if l.AuthWithoutTLS && l.Auth != AuthOff {
		unsafe = append(unsafe, "takes passwords in clear, which everybody on the way can read")
	}
	if l.BareNewline == BareNewlineRepair {
		unsafe = append(unsafe, "repairs bare newlines for everybody")
	}
	return unsafe
}

// reach is who can connect to an address.
type reach int

const (
	reachedNearby   reach = iota // only this host, or a network that is private
	reachedPerhaps               // every address of the host, whichever these are
	reachedByAnyone              // an address of the Internet
)

func (l *Listener) reach() reach {
	switch a := l.Address.Addr(); {
	case !a.IsValid():
		return reachedNearby
	case a.IsUnspecified():
		return reachedPerhaps
	case isPublic(a):
		return reachedByAnyone
	}
	return reachedNearby
}

// ReachedFromOutside reports whether others than this host and private networks may
// reach a listener, as far as its address tells.
func (l *Listener) ReachedFromOutside() bool { return l.reach() != reachedNearby }

// checkDoor refuses what contradicts itself in how a listener takes its clients in.
func (d *decoder) checkDoor(t *table) {
	l := t.fields.listener
	d.checkTLS(t, l)
	d.checkClientCertificates(t, l)
	if at, is := t.given["extensions_off"]; is && l.Lacks(Extension8BitMIME) && !l.Lacks(ExtensionSMTPUTF8) {
		d.fault(at.value, "listener.extensions_off", faultf(`add "SMTPUTF8"`, "has 8BITMIME, without which there is no SMTPUTF8 (RFC 6531 3.1)"))
	}
	if at, is := t.given["proxy_from"]; is && !l.Address.Addr().IsLoopback() {
		for _, item := range at.node.items {
			if p, wrong := network.read(item); wrong == nil {
				d.checkProxies(at.source.place(item.at), p)
			}
		}
	}
}

// checkProxies refuses proxies that are everybody: who is one can have any address.
func (d *decoder) checkProxies(at mail.Place, p netip.Prefix) {
	if f := tooMuchTrust(p); f != nil {
		d.fault(at, "listener.proxy_from", faultf(`name the proxies, such as "192.0.2.7"`,
			"%q is a large part of the Internet: everybody there could pretend to be any client", p))
	}
}

// assignedDoNotCount is why a listener has no certificate although somebody has assigned it some: those are
// no settings, and may go at any time.
const assignedDoNotCount = "those of `postern cert assign` do not count for this"

func (d *decoder) checkTLS(t *table, l *Listener) {
	mode, hasMode := t.given["tls"]
	if hasMode && l.TLS != "" && l.TLS != ListenerClear && !l.HasCertificate() && !d.meant["listener.tls_certificate"] {
		d.fault(mode.value, "listener.tls", faultf("set tls_certificate and tls_key, or certificates; "+assignedDoNotCount, "is %q, but there is no certificate", l.TLS))
	}
	if l.TLSMode() == ListenerClear {
		for _, key := range []string{"tls_required", "client_certificates"} {
			at, is := t.given[key]
			if is && (key == "tls_required" && l.TLSRequired || key == "client_certificates" && l.ClientCertificates != ClientCertificatesIgnore) {
				d.fault(at.key, "listener."+key, faultf("set tls_certificate and tls_key, or certificates, or leave it out; "+assignedDoNotCount, "needs TLS, which the listener does not do"))
			}
		}
	}
	if at, is := t.given["tls_min_version"]; is && l.takesOldTLS() {
		const hint = `leave it out; or listen for old devices at a private address, with a [[listener]] of its own`
		switch l.reach() {
		case reachedByAnyone:
			d.fault(at.value, "listener.tls_min_version", faultf(hint, "is unsafe at %s, which everybody can reach", l.Address))
		case reachedPerhaps:
			d.fault(at.value, "listener.tls_min_version", advicef(hint, "is unsafe: whoever can reach this host, and is on the way, can read what old devices send"))
		}
	}
}

func (d *decoder) checkClientCertificates(t *table, l *Listener) {
	mode, hasMode := t.given["client_certificates"]
	authorities, has := t.given["client_authorities"]
	switch {
	case hasMode && l.ClientCertificates == ClientCertificatesRequire && !has && !d.meant["listener.client_authorities"]:
		d.fault(mode.value, "listener.client_certificates", faultf("set client_authorities to a file with the certificates of those who issue yours",
			"is %q, but nobody is named whose certificates are good", l.ClientCertificates))
	case has && l.ClientCertificates == ClientCertificatesIgnore:
		d.fault(authorities.key, "listener.client_authorities", advicef(`set client_certificates to "accept" or "require"`, `does nothing, because client_certificates is "ignore"`))
	}
}

// submissionsPort is that of RFC 8314 3.3, at which clients begin with TLS.
const submissionsPort = submissions

// adviseDoor says what is unwise in how a listener takes its clients in.
func (d *decoder) adviseDoor(t *table) {
	l := t.fields.listener
	if at, is := t.given["bare_newline"]; is && l.BareNewline == BareNewlineRepair && l.ReachedFromOutside() {
		d.fault(at.value, "listener.bare_newline", advicef(`set "auto", and name the clients that need it in trust; or listen for them at a private address, with a [[listener]] of its own`,
			"repairs bare newlines for everybody: who means to hide one message in another is not refused"))
	}
	at, is := t.given["address"]
	if !is {
		return
	}
	switch mode := l.TLSMode(); {
	case l.Address.Port() == submissionsPort && mode != ListenerImplicit:
		d.fault(at.value, "listener.address", advicef(`set tls = "implicit"`, "has port 465, at which clients begin with TLS and wait for ever for a greeting in clear"))
	case (l.Address.Port() == smtpPort || l.Address.Port() == submissionPort) && mode == ListenerImplicit:
		d.fault(at.value, "listener.address", advicef(`set tls = "starttls", or use port 465`, "has port %d, at which clients wait for a greeting in clear", l.Address.Port()))
	}
}

// submissionPort is that of RFC 6409.
const submissionPort = 587
