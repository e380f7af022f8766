package reload

import (
	"fmt"
	"path/filepath"
	"strings"

	"net/netip"
	"os"

	"postern/internal/certs"
	"postern/internal/mailtest"
)

// issue writes a new certificate where the configuration names one.
func (r *rig) issue() {
	r.t.Helper()
	certificate, err := certs.SelfSigned(certs.Options{Names: []string{hostname}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	mailtest.Must(r.t, err)
	mailtest.Must(r.t, certs.Save(certificate, filepath.Join(r.dir, "smtp.crt"), filepath.Join(r.dir, "smtp.key")))
	r.certificate = certificate
	r.trust(certificate.Leaf)
}

const hostname = "gate.test.example"

// settings is the configuration number i: each differs from the one before in
// its routes, in limits of every part, and in the listener that comes and goes.
func (r *rig) settings(i int) string {
	var smarthosts []string
	for n := range r.sinks {
		if i%3 != n { // one of them, or both
			smarthosts = append(smarthosts, fmt.Sprintf("%q", r.sinks[n].Addr()))
		}
	}
	text := fmt.Sprintf(`version = 1
hostname = %q
data_dir = %q
postmaster = "postmaster@example.org"

[[listener]]
name = "smtp"
address = %q
trust = ["127.0.0.0/8"]
tls_certificate = "smtp.crt"
tls_key = "smtp.key"
max_recipients = %d

[message]
max_hops = %d

[delivery]
smarthosts = [%s]
smarthost_tls = "none"
retry = "1s 1s 1s 1s, every 2s until 10m"
max_connections = %d
max_connections_per_site = %d
idle_timeout = "%ds"

[dns]
timeout = "%ds"

[journal]
max_file = "%dMiB"

[pressure]
min_free_space = "%dMiB"
`, hostname, r.postern.Data(), r.postern.Addr(), 100+i%9, 30+i%11, strings.Join(smarthosts, ", "),
		20+i%30, 1+i%20, 1+i%5, 1+i%7, 1+i%4, 16+i%5)
	if open, _ := r.extraAt(i); open != "" {
		if i%5 == 1 { // in the place of the one before: all addresses of the machine
			open = strings.Replace(open, "127.0.0.1", "0.0.0.0", 1)
		}
		text += listener("extra", open)
	}
	return text
}

func listener(name, address string) string {
	return fmt.Sprintf("\n[[listener]]\nname = %q\naddress = %q\ntrust = [\"127.0.0.0/8\"]\n", name, address)
}

// extraAt is where clients find the listener that comes and goes in configuration
// i, "" for nowhere, and where they do not.
func (r *rig) extraAt(i int) (open string, closed []string) {
	at := []int{0, 0, 0, 1, -1}[i%5]
	for n, address := range r.extra {
		if n == at {
			open = address
		} else {
			closed = append(closed, address)
		}
	}
	return open, closed
}

// broken is a way in which a configuration is wrong, and a pattern of what must
// be told of it.
type broken struct {
	name  string
	spoil func(r *rig, text string) string
	want  string
}

var brokenKinds = []broken{
	{"syntax", func(_ *rig, text string) string { return text + "\n[delivery\n" }, `postern\.toml:\d+:\d+: `},
	{"unknown setting", func(_ *rig, text string) string { return "hostnme = 1\n" + text }, `postern\.toml:1:1: hostnme: .*did you mean hostname`},
	{"two mistakes", func(_ *rig, text string) string {
		return strings.NewReplacer("max_hops = ", "max_hops = -", "max_recipients = ", "max_recipients = -").Replace(text)
	}, `(?s)postern\.toml:\d+:\d+: listener\.max_recipients: .*\n.*postern\.toml:\d+:\d+: message\.max_hops: `},
	{"no such certificate", func(_ *rig, text string) string { return strings.Replace(text, `"smtp.crt"`, `"missing.crt"`, 1) },
		`postern\.toml:\d+:\d+: listener\.tls_certificate: .*missing\.crt: cannot be read`},
	{"key of another certificate", func(r *rig, text string) string {
		other, err := certs.SelfSigned(certs.Options{Names: []string{hostname}})
		mailtest.Must(r.t, err)
		mailtest.Must(r.t, certs.Save(other, filepath.Join(r.dir, "other.crt"), filepath.Join(r.dir, "other.key")))
		return strings.Replace(text, `"smtp.key"`, `"other.key"`, 1)
	}, `postern\.toml:\d+:\d+: listener\.tls_key: .*other\.key: `},
	{"certificate that is none", func(r *rig, text string) string {
		mailtest.Must(r.t, os.WriteFile(filepath.Join(r.dir, "text.crt"), []byte("no certificate\n"), 0o600))
		return strings.Replace(text, `"smtp.crt"`, `"text.crt"`, 1)
	}, `postern\.toml:\d+:\d+: listener\.tls_certificate: .*text\.crt: `},
	{"address in use", func(r *rig, text string) string { return text + listener("busy", r.busy[0].Addr().String()) },
		`postern\.toml:\d+:\d+: listener busy: cannot listen at .*another program listens there`},
	{"two addresses in use", func(r *rig, text string) string {
		return text + listener("busy", r.busy[0].Addr().String()) + listener("next", r.busy[1].Addr().String())
	}, `(?s)listener busy: cannot listen at .*\n.*listener next: cannot listen at `},
	{"file that is not there", func(_ *rig, text string) string { return `include = ["missing.toml"]` + "\n" + text },
		`postern\.toml:1:\d+: include: .*missing\.toml`},
	{"no secret", func(_ *rig, text string) string {
		return text + "\n[[http_auth]]\nname = \"web\"\nurl = \"https://127.0.0.1:1/\"\nsecret_header = \"X-Secret\"\nsecret = \"file:missing.secret\"\n"
	}, `postern\.toml:\d+:\d+: http_auth\.secret: .*missing\.secret`},
}
