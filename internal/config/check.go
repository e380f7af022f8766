package config

import (
	"fmt"
	"slices"

	"postern/internal/mail"
)

// check finds what no setting shows by itself: settings that contradict each
// other.
func (d *decoder) check() {
	d.checkTables()
	d.checkReaders()
	d.checkSocket()
	d.checkSubmission()
	d.checkListeners()
	d.checkLists()
	d.checkListNames()
	d.checkBlockLists()
	d.checkFilters()
	d.checkLDAP()
	d.checkCertificates()
	d.checkTransports()
	d.checkTLSOut()
	d.checkPools()
	d.checkRoutes()
	d.checkRouting()
	d.checkCompanies()
	d.checkDKIM()
	d.checkOIDC()
	d.checkHTTPAuth()
	d.checkSourceNames()
	d.checkSmarthosts()
	d.checkAdmin()
	d.checkLogin()
}

// checkTables wants no more tables of a section than there can be, and each with its own
// values of the settings that are unique.
func (d *decoder) checkTables() {
	for i := range sections {
		s := &sections[i]
		tables := d.tables[s.name]
		if s.most > 0 && len(tables) > s.most {
			d.fault(tables[s.most].at, s.name, faultf("leave out some", "is one too many; there can be %d", s.most))
		}
		for _, row := range s.settings() {
			if row.unique {
				d.checkUnique(row, tables)
			}
		}
	}
}

// checkUnique wants another value of a setting in each table that has one.
func (d *decoder) checkUnique(row *setting, tables []*table) {
	_, name := row.split()
	seen := make(map[string]mail.Place)
	for _, t := range tables {
		if v := row.value.show(t.fields); v != `""` {
			d.unique(t, name, string(v), seen)
		}
	}
}

// checkAdmin wants tokens for the API at an address, and TLS where they would
// be seen.
func (d *decoder) checkAdmin() {
	for _, t := range d.tables["admin"] {
		address, hasAddress := t.given["address"]
		tokens, hasTokens := t.given["tokens"]
		_, hasTLS := t.given["tls_certificate"]
		d.checkPair(t, "tls_certificate", "tls_key", "set both, or neither at a loopback address")
		switch at := d.config.Admin.Address; {
		case hasAddress && !hasTokens && !d.meant["admin.tokens"]:
			d.fault(address.key, "admin.address", faultf("set tokens to where they are kept", "is set, but tokens is not: everybody could use the API"))
		case hasTokens && !hasAddress && !d.meant["admin.address"]:
			d.fault(tokens.key, "admin.tokens", faultf("set address, or leave out the table", "is set, but address is not"))
		case hasAddress && !hasTLS && at.IsValid() && !at.Addr().IsLoopback() && !d.meant["admin.tls_certificate"]:
			d.fault(address.value, "admin.address", faultf("set tls_certificate and tls_key, or listen at 127.0.0.1",
				"%s is no loopback address, and tokens would be sent in clear", at))
		}
	}
}

// submissions is the port of message submission over implicit TLS (RFC 8314
// 3.3): its servers wait for TLS and we for a greeting, both for minutes.
const submissions = 465

// checkSmarthosts refuses servers to which nothing could ever be sent.
func (d *decoder) checkSmarthosts() {
	for _, t := range d.tables["delivery"] {
		d.checkServers(t.given["smarthosts"], "delivery.smarthosts", d.config.Delivery.Smarthosts)
	}
}

// checkServers refuses servers to which nothing could ever be sent. Those that could not
// be read are missing from the list, and it is looked at when they can.
func (d *decoder) checkServers(at given, key string, list []mail.HostPort) {
	if len(at.node.items) != len(list) {
		return
	}
	for i, h := range list {
		var wrong *fault
		switch {
		case h.Port == submissions && key == "delivery.smarthosts": // a transport can begin with TLS
			wrong = faultf("use port 587 of the same server, or a transport with tls_implicit = true",
				"%s has port 465, at which TLS begins with the first octet; only STARTTLS is spoken to smarthosts", clip(h.String()))
		case d.listensAt(h):
			wrong = faultf("name the server that comes next", "%s is this server itself: mail would go round in a circle", clip(h.String()))
		default:
			continue
		}
		d.fault(at.source.place(at.node.items[i].at), key, wrong)
	}
}

// listensAt reports whether a listener is surely at a server's name or
// address. Where only DNS could tell, it is found out at each attempt.
func (d *decoder) listensAt(h mail.HostPort) bool {
	ip, literal := h.IP()
	named := func(name string) bool { return mail.SameDomain(name, h.Host) }
	own := ip.IsLoopback() || slices.Contains(d.config.OwnAddresses, ip) || !literal && slices.ContainsFunc(d.ownNames(), named)
	return slices.ContainsFunc(d.tables["listener"], func(t *table) bool {
		at := t.fields.listener.Address
		here := at.Addr() == ip || at.Addr().IsUnspecified() && own || at.Addr().IsLoopback() && h.Host == "localhost"
		return at.Port() == h.Port && here
	})
}

// ownNames are the names of this host, as far as the configuration has them.
func (d *decoder) ownNames() []string {
	names := []string{d.config.Hostname, "localhost"}
	for _, t := range d.tables["company"] {
		if name := t.fields.company.Hostname; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// checkReaders refuses addresses at this host for those who read what the
// server has to say: there is no mailbox here, and mail for postmaster would
// come back.
func (d *decoder) checkReaders() {
	d.checkElsewhere("postmaster", d.top.given["postmaster"], d.config.Postmaster)
	for _, t := range d.tables["quarantine"] {
		d.checkElsewhere("quarantine.digest_to", t.given["digest_to"], d.config.Quarantine.DigestTo)
	}
}

// checkElsewhere wants the address of a setting to be at another host.
func (d *decoder) checkElsewhere(key string, at given, a mail.Address) {
	if a.IsNull() { // not given, or reported already
		return
	}
	const hint = "write a mailbox on another server"
	same := func(name string) bool { return mail.SameDomain(name, a.Domain) }
	ip, literal := a.LiteralIP()
	if slices.ContainsFunc(d.ownNames(), same) || literal && (ip.IsLoopback() || slices.Contains(d.config.OwnAddresses, ip)) {
		d.fault(at.value, key, faultf(hint, "%q is at this host itself, which has no mailboxes", clip(a.String())))
	}
}

// maxSocket is what the path of a Unix socket can be on Linux (unix(7):
// sun_path of 108 octets, with its final NUL).
const maxSocket = 107

func (d *decoder) checkSocket() {
	at, is := d.top.given["admin_socket"]
	if !is {
		at = d.top.given["data_dir"]
	}
	if path := d.config.Socket(); len(path) > maxSocket {
		d.fault(at.value, "admin_socket", faultf("set admin_socket to a shorter path, such as \"/run/postern/admin.sock\"",
			"the path of the socket has %d octets; the system allows %d", len(path), maxSocket))
	}
}

// checkSubmission wants room for the name of the socket in the directory.
func (d *decoder) checkSubmission() {
	for _, t := range d.tables["submission"] {
		at, is := t.given["directory"]
		if path := d.config.Submission.Directory + "/socket"; is && len(path) > maxSocket {
			d.fault(at.value, "submission.directory", faultf(`set it to a shorter path, such as "/var/spool/postern"`,
				"the path of the socket in it has %d octets; the system allows %d", len(path), maxSocket))
		}
	}
}

// takenNames are what no listener can be called, because it stands in the
// journal for something else.
var takenNames = map[string]string{
	"postern":  "what the server itself sends",
	"sendmail": "what programs of this host send",
}

func (d *decoder) checkListeners() {
	addresses := make(map[string]mail.Place)
	for _, t := range d.tables["listener"] {
		l := t.fields.listener
		d.checkPair(t, "tls_certificate", "tls_key", "set both, or neither for a listener without TLS")
		d.checkListenerCertificates(t)
		d.checkDoor(t)
		d.checkTrust(t)
		d.checkVerify(t)
		d.checkAuth(t)
		if names, taken := takenNames[l.Name]; taken {
			d.fault(t.given["name"].value, "listener.name", faultf("choose another", "%q names %s", l.Name, names))
		}
		if l.Address.IsValid() && l.Address.Port() != 0 {
			d.unique(t, "address", quote(l.Address.String()), addresses)
		}
	}
	d.checkMonitoring(addresses)
}

// checkMonitoring wants another address than those of the listeners.
func (d *decoder) checkMonitoring(listeners map[string]mail.Place) {
	for _, t := range d.tables["monitoring"] {
		at, is := t.given["address"]
		address := quote(d.config.Monitoring.Address.String())
		if listener, taken := listeners[address]; is && taken {
			d.fault(at.value, "monitoring.address", faultf("choose another port", "%s is also that of the listener %s", address, whence(listener, at.value)))
		}
	}
}

// checkPair wants two settings of a table together, or neither.
func (d *decoder) checkPair(t *table, one, other, hint string) {
	for _, pair := range [][2]string{{one, other}, {other, one}} {
		given, is := t.given[pair[0]]
		_, isOther := t.given[pair[1]]
		if is && !isOther && !d.meant[t.section.name+"."+pair[1]] {
			d.fault(given.key, t.section.name+"."+pair[0], faultf(hint, "is set, but %s is not", pair[1]))
		}
	}
}

// unique reports a second table of a section with the same value of a setting, as it is
// shown. seen has the place of the first for each value.
func (d *decoder) unique(t *table, setting, value string, seen map[string]mail.Place) {
	at := t.at
	if g, is := t.given[setting]; is {
		at = g.value
	}
	first, twice := seen[value]
	if !twice {
		seen[value] = at
		return
	}
	section := t.section.name
	d.fault(at, section+"."+setting, faultf(fmt.Sprintf("give each %s its own %s", section, setting),
		"%s is also that of the %s %s", value, section, whence(first, at)))
}
