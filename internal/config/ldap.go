package config

import (
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// LDAP is one table [[ldap]]. What is empty and has its default by Schema is filled in
// by package ldap, which also reads names of entries and filters.
type LDAP struct {
	Placed

	Name                 string // unique among the sources of users
	Servers              []mail.HostPort
	TLS                  LDAPTLS
	Authorities          string // a file; empty for those that the system trusts
	BindDN               string // empty: nobody, an anonymous bind
	BindPassword         Secret // set if BindDN is
	Base                 string
	Schema               LDAPSchema
	UserFilter           string
	LoginAttribute       string
	AddressFilter        string
	AddressAttributes    []string
	ForwardAttributes    []string
	GroupBase            string
	GroupFilter          string
	GroupAttribute       string
	GroupDepth           int
	CertificateAttribute string
	Recipients           bool
	ListPosters          ListPosters
	SubmitGroups         []string // none: everybody
	RelayGroups          []string // none: everybody
	Timeout              time.Duration
	MaxConnections       int
	CacheTime            time.Duration
}

// LDAPTLS is how connections to an LDAP server are kept secret.
type LDAPTLS string

// The ways to keep a connection secret, or not to.
const (
	LDAPStartTLS LDAPTLS = "starttls"
	LDAPS        LDAPTLS = "ldaps"
	LDAPClear    LDAPTLS = "none"        // to this host alone
	LDAPUnsafe   LDAPTLS = "unsafe_none" // to anywhere
)

// LDAPSchema is how a directory names what is asked for.
type LDAPSchema string

// The schemas of directories.
const (
	LDAPRFC2307         LDAPSchema = "rfc2307"
	LDAPActiveDirectory LDAPSchema = "active_directory"
)

// ListPosters are those who may send to a group of a directory as to a list. The words
// are those of package directory.
type ListPosters string

// Those who may send to a list.
const (
	PostersEverybody ListPosters = "everybody"
	PostersMembers   ListPosters = "members"
	PostersAccounts  ListPosters = "accounts"
)

// Problem returns one with a setting of the directory, which it names, at its place if it was
// set, else at that of the table.
func (l *LDAP) Problem(key, message, hint string) Problem {
	return l.Placed.Problem(key, "ldap "+l.Name+": "+message, hint)
}

// Wrong returns the problem that the value of a setting of the directory cannot be used.
func (l *LDAP) Wrong(key string, err error) Problem {
	return l.Problem(key, err.Error(), "").because(err)
}

// The ports of LDAP (RFC 4511 5.2.1) and of LDAP over TLS, for servers that are named
// without one.
const (
	ldapPort  = 389
	ldapsPort = 636
)

// Addresses returns the servers, each with its port.
func (l *LDAP) Addresses() []mail.HostPort {
	var list []mail.HostPort
	for _, h := range l.Servers {
		if h.Port == 0 {
			h.Port = ldapPort
			if l.TLS == LDAPS {
				h.Port = ldapsPort
			}
		}
		list = append(list, h)
	}
	return list
}

// ldapServer is a server whose port, if it has none, depends on tls: it is 0.
var ldapServer = func() scalar[mail.HostPort] {
	t := textType("server", "servers", `write host or host:port, such as "dc1.example.com" or "[2001:db8::1]:636"`,
		func(s string) (mail.HostPort, *fault) {
			if strings.Contains(s, "://") {
				return mail.HostPort{}, faultf(`write the name alone, and tls = "ldaps" or "starttls"`, "%q is a URL", clip(s))
			}
			h, err := mail.ParseHostPort(s, 0)
			if err != nil {
				return mail.HostPort{}, faultf("", "%q: %v", clip(s), err)
			}
			return h, nil
		})
	t.show = func(h mail.HostPort) string { return filePath.show(strings.TrimSuffix(h.String(), ":0")) }
	return t
}()

// maxLDAPText bounds a filter or the name of an entry.
const maxLDAPText = 2000

func ldapText(kind, hint string) scalar[string] {
	return textType(kind, kind+"s", hint, func(s string) (string, *fault) {
		if s == "" || len(s) > maxLDAPText || strings.ContainsRune(s, 0) {
			return "", faultf("", "%q is no %s of 1 to %d octets", clip(s), kind, maxLDAPText)
		}
		return s, nil
	})
}

var (
	ldapDN     = ldapText("distinguished name", `write the name of an entry, such as "ou=people,dc=example,dc=com"`)
	ldapFilter = ldapText("filter", `write a filter, such as "(&(objectClass=person)(uid={login}))"`)
	ldapGroup  = ldapText("group", `write the name of a group, such as "mail-users"`)
)

// ldapAttribute is the name of an attribute, with its options (RFC 4512 2.5).
var ldapAttribute = textType("attribute", "attributes", `write the name of an attribute, such as "mail" or "userCertificate;binary"`,
	func(s string) (string, *fault) {
		other := func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-.;", r))
		}
		if s == "" || len(s) > 128 || strings.ContainsFunc(s, other) {
			return "", faultf("", "%q is not the name of an attribute", clip(s))
		}
		return s, nil
	})

// checkLDAP wants no directory that is shown passwords in clear by mistake.
func (d *decoder) checkLDAP() {
	for _, t := range d.tables["ldap"] {
		d.checkPair(t, "bind_dn", "bind_password", "set both, or neither for a directory that answers everybody")
		d.checkClear(t)
		if at, is := t.given["servers"]; is && at.node.kind == nodeList && len(at.node.items) == 0 {
			d.fault(at.value, "ldap.servers", faultf(`name one at least, such as ["dc1.example.com"]`, "is empty"))
		}
	}
}

// checkClear wants TLS to servers that are not this host.
func (d *decoder) checkClear(t *table) {
	l := t.fields.ldap
	at, is := t.given["tls"]
	for _, h := range l.Servers {
		ip, literal := h.IP()
		here := literal && ip.IsLoopback() || h.Host == "localhost"
		if is && l.TLS == LDAPClear && !here {
			d.fault(at.value, "ldap.tls", faultf(`set "starttls" or "ldaps"; if the way there is secret by other means, "unsafe_none"`,
				"would send passwords to %s in clear", clip(h.Host)))
			return
		}
		if is && l.TLS == LDAPUnsafe {
			d.fault(at.value, "ldap.tls", advicef(`set "starttls" or "ldaps"`, "sends passwords to %s in clear: everybody on the way can read them", clip(h.Host)))
			return
		}
		if l.TLS != LDAPUnsafe && l.TLS != LDAPClear && literal && !ip.IsLoopback() {
			d.fault(t.given["servers"].value, "ldap.servers", advicef("name it as its certificate does",
				"%s is an address: few certificates are for one, and no other is accepted", ip))
			return
		}
	}
}

// adviseKeys warns where clients are offered a mechanism by which only some of the users
// can log in: a directory that is asked by LDAP gives out no keys for SCRAM, which many
// clients choose before all else.
func (d *decoder) adviseKeys() {
	names := make(map[string]bool)
	for _, t := range d.tables["ldap"] {
		names[t.fields.ldap.Name] = true
	}
	for _, t := range d.tables["listener"] {
		l := t.fields.listener
		own := slices.ContainsFunc(l.AuthSources, func(s Text) bool { return s.Text == DirectorySource })
		scram := slices.ContainsFunc(l.AuthMechanisms, func(m string) bool { return strings.HasPrefix(m, "SCRAM-") })
		for _, s := range l.AuthSources {
			if own && scram && l.Auth != AuthOff && names[s.Text] {
				d.fault(s.Place, "listener.auth_sources", advicef(`set auth_mechanisms = ["PLAIN", "LOGIN"]`,
					"users of %s cannot log in by SCRAM, for which a directory gives out no keys, and which many clients choose first", s.Text))
			}
		}
	}
}
