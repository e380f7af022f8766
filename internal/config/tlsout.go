package config

import (
	"crypto/tls"
	"fmt"
	"slices"

	"postern/internal/mail"
)

// TLSOut is what the servers of a transport, or of some domains, must have of TLS.
type TLSOut struct {
	TLS           TLSPolicy
	TLSCAFile     string     // empty: the authorities that the system trusts
	TLSPins       []mail.Pin // with TLSPin
	TLSNames      []string   // none: that of the server
	TLSMinVersion TLSVersion // 0: as TLS asks for
}

// authenticates reports whether the server must prove who it is.
func (p TLSPolicy) authenticates() bool { return p == TLSVerify || p == TLSPin }

// demanded reports whether nothing goes in clear.
func (p TLSPolicy) demanded() bool { return p == TLSRequired || p.authenticates() }

// TLSDomains is one table [[tls]]: what mail for some domains demands.
type TLSDomains struct {
	Placed

	Domains []string // as they are in patterns: "example.com", "*.example.com"
	Lists   []Text   // of domains
	TLSOut
}

// Title names the table by its first domain.
func (t *TLSDomains) Title() string {
	if len(t.Domains) > 0 {
		return t.Domains[0]
	}
	for _, l := range t.Lists {
		return listPrefix + l.Text
	}
	return ""
}

// checkTLSOut wants of each transport and each table [[tls]] what its policy needs, and
// nothing that does nothing under it.
func (d *decoder) checkTLSOut() {
	for _, t := range d.tables["transport"] {
		x := t.fields.transport
		d.checkDemand(t, &x.TLSOut, [...]string{"tls", "tls_ca_file", "tls_pins", "tls_names", "tls_min_version"})
		d.checkTLSBegin(t, x)
	}
	titles := make(map[string]mail.Place)
	for _, t := range d.tables["tls"] {
		x := t.fields.tls
		d.checkDemand(t, &x.TLSOut, [...]string{"policy", "ca_file", "pins", "names", "min_version"})
		if at, is := t.given["domains"]; is && len(x.Domains)+len(x.Lists) == 0 && at.node.kind == nodeList && len(at.node.items) == 0 {
			d.fault(at.value, "tls.domains", faultf(`name one, such as "partner.example"`, "is empty"))
		}
		if title := x.Title(); title != "" {
			d.unique(t, "domains", quote(title), titles)
		}
	}
}

// checkDemand looks at the settings of a policy, whose names are those of the fields of
// TLSOut.
func (d *decoder) checkDemand(t *table, o *TLSOut, names [5]string) {
	policy, caFile, pins, certificate, version := names[0], names[1], names[2], names[3], names[4]
	only := func(setting string, want TLSPolicy, does bool, why string) {
		if at, is := t.given[setting]; is && !does {
			d.fault(at.key, t.key(setting), faultf(fmt.Sprintf("set %s = %q, or leave it out", policy, want),
				"does nothing, because %s is %q: %s", policy, o.TLS, why))
		}
	}
	if d.meant[t.key(policy)] {
		return
	}
	verifies := o.TLS != TLSNone && o.TLS != TLSPin
	only(caFile, TLSVerify, verifies, "no authority is asked about a certificate")
	only(certificate, TLSVerify, verifies, "the certificate may be for any name")
	only(pins, TLSPin, o.TLS == TLSPin, "no pin is looked at")
	only(version, TLSRequired, o.TLS != TLSNone, "there is no TLS")
	d.adviseDemand(t, o, names)
	if at := t.given[policy]; o.TLS == TLSPin && len(o.TLSPins) == 0 && !d.meant[t.key(pins)] {
		d.fault(at.key, t.key(policy), faultf("set "+pins+" = "+findSetting("transport.tls_pins").example, `is "pin", but there is no pin`))
	}
}

// adviseDemand warns of versions of TLS that are too old or too new for a policy, and of what
// only some mail asks for.
func (d *decoder) adviseDemand(t *table, o *TLSOut, names [5]string) {
	policy, version := names[0], names[4]
	if at, is := t.given[version]; is && o.TLSMinVersion != 0 {
		switch old := o.TLSMinVersion < tls.VersionTLS12; {
		case old && o.TLS.demanded():
			d.fault(at.value, t.key(version), advicef(`set "1.2", or leave it out`, "is unsafe: what goes by TLS %s can be read by who can break it, although %s is %q", at.node.text, policy, o.TLS))
		case !old && o.TLS == TLSOpportunistic:
			d.fault(at.value, t.key(version), advicef(fmt.Sprintf("leave it out, or set %s to \"required\"", policy), "sends mail in clear to servers that know only older versions, because %s is %q", policy, o.TLS))
		}
	}
	for _, setting := range []string{names[1], names[3]} {
		if at, is := t.given[setting]; is && (o.TLS == TLSOpportunistic || o.TLS == TLSRequired) {
			d.fault(at.key, t.key(setting), advicef(fmt.Sprintf("set %s = %q, unless that is meant", policy, TLSVerify),
				"is looked at only for messages that demand it, because %s is %q", policy, o.TLS))
		}
	}
}

// checkTLSBegin looks at how TLS begins with the servers of a transport.
func (d *decoder) checkTLSBegin(t *table, x *Transport) {
	if d.meant["transport.tls"] || d.meant["transport.tls_implicit"] {
		return
	}
	implicit, isImplicit := t.given["tls_implicit"]
	again, isAgain := t.given["tls_ehlo"]
	shown, isShown := t.given["tls_certificate"]
	switch {
	case isImplicit && x.TLSImplicit && !x.TLS.demanded():
		d.fault(implicit.key, "transport.tls_implicit", faultf(`set tls = "verify" or "required"`, "begins with TLS, but tls is %q, which can go without", x.TLS))
	case isAgain && !x.TLSEHLO && (x.TLSImplicit || x.TLS == TLSNone):
		d.fault(again.key, "transport.tls_ehlo", faultf("leave it out", "does nothing: there is no STARTTLS"))
	case isShown && x.TLS == TLSNone:
		d.fault(shown.key, "transport.tls_certificate", faultf("set tls to another policy, or leave it out", "does nothing, because tls is %q", x.TLS))
	}
	hosts := t.given["hosts"]
	for _, item := range hosts.node.items {
		if h, wrong := server.read(item); wrong == nil && h.Port == submissions && !x.TLSImplicit {
			d.fault(hosts.source.place(item.at), "transport.hosts", faultf(`set tls = "verify" and tls_implicit = true, or use port 587`,
				"%s has port 465, at which TLS begins with the first octet", clip(h.String())))
		}
	}
}

// adviseTransport warns of mail that leaves in clear over the Internet.
func (d *decoder) adviseTransport(t *table) {
	x := t.fields.transport
	at, is := t.given["tls"]
	if !is || x.TLS != TLSNone {
		return
	}
	to := "the servers of every domain"
	if x.Kind != TransportMX {
		servers := d.serversOf(x)
		far := slices.IndexFunc(servers, func(h mail.HostPort) bool { return !near(h) })
		if far < 0 {
			return
		}
		to = clip(servers[far].String())
	}
	d.fault(at.value, "transport.tls", advicef(`set "verify", or at least "opportunistic"`, "mail goes to %s in clear: everybody on the way can read it", to))
}

// serversOf are the servers of a transport that has a list of them, or targets.
func (d *decoder) serversOf(x *Transport) []mail.HostPort {
	servers := slices.Clone(x.Hosts)
	for _, t := range d.tables["target"] {
		if to := t.fields.target; to.Pool == x.Name {
			servers = append(servers, to.Where())
		}
	}
	return servers
}
