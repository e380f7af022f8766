package daemon

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

const tlsOutHead = `version = 1
hostname = "gate.example"
postmaster = "admin@corp.example"
data_dir = "data"
[[listener]]
address = "127.0.0.1:0"
[delivery]
mx_tls = "required"
`

const tlsOutTables = `[[certificate]]
name = "client"
certificate = "crt"
key = "key"
[[list]]
name = "partners"
kind = "domains"
file = "partners"
[[transport]]
name = "direct"
kind = "mx"
tls = "verify"
tls_ca_file = "ca.pem"
tls_min_version = "1.3"
[[transport]]
name = "relay"
hosts = ["127.0.0.1:465"]
tls = "pin"
tls_pins = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
tls_certificate = "client"
tls_implicit = true
[[transport]]
name = "mx"
kind = "mx"
tls_min_version = "1.3"
[[transport]]
name = "plain"
hosts = ["127.0.0.1:2526"]
tls_ehlo = false
[[tls]]
domains = ["*.verified.example", "list:partners"]
names = ["*.partner.example"]
ca_file = "ca.pem"
[[tls]]
domains = ["mx.verified.example", "pinned.example"]
policy = "pin"
pins = ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
[[tls]]
domains = ["required.example", "pinned.example", "xn--bcher-kva.example", "*.müller.example"]
policy = "required"
[[tls]]
domains = ["new.example"]
policy = "required"
min_version = "1.3"
[[transport]]
name = "farm"
kind = "pool"
[[target]]
pool = "farm"
address = "127.0.0.1"
`

// tlsOutDir has the files that the tables name.
func tlsOutDir(t *testing.T) string {
	dir := t.TempDir()
	client, err := certs.SelfSigned(certs.Options{Names: []string{"gate.example"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := certs.Save(client, filepath.Join(dir, "crt"), filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "ca.pem"), authorityPEM(t))
	put(t, filepath.Join(dir, "partners"), "partner.example\n")
	return dir
}

func authorityPEM(t *testing.T) string {
	c, err := certs.NewAuthority("CA", certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
}

// loadTLSOut reads a configuration that lies in dir.
func loadTLSOut(t *testing.T, dir, text string) *config.Config {
	t.Helper()
	put(t, filepath.Join(dir, "postern.toml"), text)
	c, err := config.Load(os.DirFS(dir), "postern.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []*string{&c.DataDir, &c.Certificates[0].File, &c.Certificates[0].Key, &c.Lists[0].File, &c.Transports[0].TLSCAFile, &c.TLSDomains[0].TLSCAFile} {
		*path = filepath.Join(dir, *path)
	}
	return c
}

// TestTLSOfTransportAndDomain: the stronger of what transport and domain demand holds, and
// says where it comes from; of a domain only its own servers must have key and name.
func TestTLSOfTransportAndDomain(t *testing.T) {
	dir := tlsOutDir(t)
	g := newGraph(loadTLSOut(t, dir, tlsOutHead+tlsOutTables), mail.SystemClock{})
	if err := g.load(); err != nil {
		t.Fatal(err)
	}
	base := map[string]tlspolicy.Policy{"smarthost": g.smarthostLane().TLS}
	for i := range g.config.Transports {
		x := &g.config.Transports[i]
		base[x.Name] = g.laneOf(x).TLS
	}
	const partners, pinned, required = "tls *.verified.example, postern.toml:38", "tls mx.verified.example, postern.toml:42", "tls required.example, postern.toml:46"
	const newest = "tls new.example, postern.toml:49"
	for _, c := range []struct{ transport, domain, want string }{
		{"mx", "else.example", "required of delivery.mx_tls, postern.toml:8, TLS 1.3"},
		{"smarthost", "else.example", "opportunistic of delivery.smarthost_tls (by default)"},
		{"direct", "else.example", "verify of transport direct, postern.toml:20, TLS 1.3, own trust"},
		{"relay", "else.example", "pin of transport relay, postern.toml:26, shows client, implicit"},
		{"plain", "else.example", "opportunistic of transport plain (by default), unspoken"},
		{"mx", "a.verified.example", "verify of " + partners + "; its version: delivery.mx_tls, postern.toml:8, TLS 1.3, own trust, names"},
		{"mx", "mx.verified.example", "verify of " + partners + "; its version: delivery.mx_tls, postern.toml:8, TLS 1.3, own trust, names"}, // the first table
		{"mx", "verified.example", "required of delivery.mx_tls, postern.toml:8, TLS 1.3"},
		{"mx", "partner.example", "verify of " + partners + "; its version: delivery.mx_tls, postern.toml:8, TLS 1.3, own trust, names"},
		{"direct", "partner.example", "verify of " + partners + "; its version: transport direct, postern.toml:20, TLS 1.3, own trust, names"},
		{"direct", "pinned.example", "pin of " + pinned + "; its version: transport direct, postern.toml:20, TLS 1.3, own trust"},
		{"direct", "required.example", "verify of transport direct, postern.toml:20, TLS 1.3, own trust"},
		{"plain", "pinned.example", "verify of " + pinned + ", unspoken"},
		{"plain", "required.example", "required of " + required + ", unspoken"},
		{"smarthost", "partner.example", "verify of " + partners},
		{"smarthost", "new.example", "required of " + newest + ", TLS 1.3"},
		{"plain", "new.example", "required of " + newest + ", TLS 1.3, unspoken"},
		{"relay", "new.example", "pin of transport relay, postern.toml:26; its version: " + newest + ", TLS 1.3, shows client, implicit"},
		{"farm", "new.example", "required of " + newest + ", TLS 1.3"},
		{"smarthost", "bücher.example", "required of " + required},
		{"smarthost", "mail.müller.example", "required of " + required},
		{"smarthost", "mail.xn--mller-kva.example", "required of " + required},
		{"relay", "partner.example", "pin of transport relay, postern.toml:26, shows client, implicit"},
	} {
		lane := route.Lane{Transport: c.transport, TLS: base[c.transport]}
		g.finishTLS(&lane, route.Question{Destination: mail.Destination(c.domain)})
		if diff := cmp.Diff(c.want, showPolicy(lane.TLS)); diff != "" {
			t.Errorf("%s to %s: %s", c.transport, c.domain, diff)
		}
		again := route.Lane{Transport: c.transport, TLS: base[c.transport]}
		if g.finishTLS(&again, route.Question{Destination: mail.Destination(c.domain)}); again != lane {
			t.Errorf("%s to %s: two lanes of the same are not equal", c.transport, c.domain)
		}
	}
	if shown := base["relay"].Certificate.Certificate(); shown == nil || shown.Leaf.DNSNames[0] != "gate.example" {
		t.Errorf("%+v is shown", shown)
	}
}

// showPolicy writes what differs from a policy that is only a level.
func showPolicy(p tlspolicy.Policy) string {
	s := fmt.Sprintf("%s of %s", p.Level, p.Source)
	if p.MinVersion != 0 {
		s += ", " + tls.VersionName(p.MinVersion)
	}
	if p.Trust != nil {
		s += ", own trust"
	}
	if p.Names != (tlspolicy.Names{}) {
		s += ", names"
	}
	if p.Certificate != nil {
		s += ", shows " + p.Certificate.Name()
	}
	if p.Begin != "" {
		s += ", " + string(p.Begin)
	}
	return s
}

// TestAuthoritiesChange: a file of authorities is read again when it changes, and makes other
// lanes; a wrong one keeps what was, and is told in log, journal and status, once. A reload with it fails.
func TestAuthoritiesChange(t *testing.T) {
	dir := tlsOutDir(t)
	file := filepath.Join(dir, "ca.pem")
	text := tlsOutHead + tlsOutTables
	r, s := reloadable(t, loadTLSOut(t, dir, text))
	s.text = func() *config.Config { return loadTLSOut(t, dir, text) }
	g := r.inForce()
	lane := func() (l route.Lane) {
		l = g.laneOf(&g.config.Transports[0])
		g.finishTLS(&l, route.Question{Destination: "else.example"})
		return l
	}
	first := lane()
	put(t, file, "nothing\n")
	for range 3 {
		r.lookAtCertificates(g)
	}
	if lane() != first {
		t.Error("a wrong file makes another lane")
	}
	if w := strings.Join(r.Daemon.status().Warnings, "\n"); !strings.Contains(w, "authorities "+file+" are as they were before ") {
		t.Errorf("the status warns of %q", w)
	}
	if _, err := r.Reload("test"); err == nil || !strings.Contains(err.Error(), "transport.tls_ca_file: "+file) || r.inForce() != g {
		t.Errorf("the reload with a wrong file: %v", err)
	}
	put(t, file, authorityPEM(t))
	r.lookAtCertificates(g)
	if lane() == first {
		t.Error("other authorities make no other lane")
	}
	put(t, file, authorityPEM(t))
	if done, err := r.Reload("test"); err != nil || len(done.Changes) != 1 || done.Changes[0].Name != file {
		t.Errorf("the reload with another file: %+v, %v", done, err)
	}
	r.end(t)
	if n := strings.Count(r.log.String(), "authorities cannot be used, and stay as they were"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, r.log)
	}
	lines := journalOf(t, g.config)
	for _, want := range []string{"certificate-failed: authorities (" + file + "), with the 1 of before: ", "certificate-changed: authorities (" + file + "): 1, were 1"} {
		if strings.Count(lines, want) != 1 {
			t.Errorf("%q is not once in the journal:\n%s", want, lines)
		}
	}
}

// TestCertificateOfCompany: for mail of a company its certificate is shown, also for a report to
// it, where the transport has none of its own.
func TestCertificateOfCompany(t *testing.T) {
	const companies = "[[company]]\nname = \"acme\"\ndomains = [\"acme.example\"]\ncertificate = \"ours\"\n" +
		"[[company]]\nname = \"shop\"\ndomains = [\"shop.example\"]\n[[certificate]]\nname = \"ours\"\ncertificate = \"crt\"\nkey = \"key\"\n"
	dir := tlsOutDir(t)
	c := loadTLSOut(t, dir, tlsOutHead+tlsOutTables+companies)
	c.Certificates[1].File, c.Certificates[1].Key = c.Certificates[0].File, c.Certificates[0].Key
	g := newGraph(c, mail.SystemClock{})
	if err := g.load(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ sender, transport, to, want string }{
		{"joe@acme.example", "plain", "x.example", "ours"},
		{"joe@acme.example", "relay", "x.example", "client"},
		{"joe@shop.example", "plain", "x.example", ""},
		{"joe@other.example", "plain", "acme.example", ""},
		{"", "plain", "acme.example", "ours"},
		{"joe@acme.example", "direct", "pinned.example", "ours"},
	} {
		lane := func() route.Lane {
			l := g.wayNamed(x.transport).lane
			l.Transport = x.transport
			var from mail.Address
			if local, domain, named := strings.Cut(x.sender, "@"); named {
				from = mail.Address{Local: local, Domain: domain}
			}
			g.finish(&l, route.Question{Sender: from, Destination: mail.Destination(x.to)})
			return l
		}
		l, got := lane(), ""
		if l.TLS.Certificate != nil {
			got = l.TLS.Certificate.Name()
			if l.TLS.Certificate.Certificate() == nil {
				t.Errorf("%+v: there is no certificate %s", x, got)
			}
		}
		if got != x.want || l != lane() {
			t.Errorf("%+v: %q is shown, in lanes that are equal: %v", x, got, l == lane())
		}
	}
}

// TestTLSOutIsChecked: all that is wrong is told, each at its place.
func TestTLSOutIsChecked(t *testing.T) {
	dir := tlsOutDir(t)
	c := loadTLSOut(t, dir, tlsOutHead+strings.Replace(tlsOutTables, `tls_certificate = "client"`, `tls_certificate = "nobody"`, 1)+
		"[[company]]\nname = \"acme\"\ndomains = [\"acme.example\"]\ncertificate = \"nobody\"\n")
	put(t, filepath.Join(dir, "ca.pem"), "nothing\n")
	wantEach(t, problemsOf(newGraph(c, mail.SystemClock{}).load()),
		"postern.toml:21:1: transport.tls_ca_file: "+dir+"/ca.pem: is not in the form expected: no PEM certificate in it",
		`postern.toml:28:1: transport.tls_certificate: "nobody": no table [[certificate]] has that name`,
		"postern.toml:41:1: tls.ca_file: "+dir+"/ca.pem: is not in the form expected",
		`postern.toml:62:1: company.certificate: "nobody": no table [[certificate]] has that name`,
	)
}
