package dialogue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/auth"
	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// world is the one server of all dialogues, and what it finds around it.
type world struct {
	postern   *harness.Postern
	listeners map[string]string // their addresses, by their names
	port      int               // of all servers that are played
	tls       *tls.Config       // of these, and of the listener tls
}

// hosts are those that a dialogue can play: the third octet of their address,
// and the domain whose mail they get, with their preference.
var hosts = map[string]struct {
	octet      byte
	domain     string
	preference int
}{
	"next":   {1, "next", 10},
	"second": {2, "next", 20},
	"back":   {3, "back", 10},
}

// address is where the n-th dialogue plays a host.
func (w *world) address(n int, host string) string {
	ip := netip.AddrFrom4([4]byte{127, 10 + hosts[host].octet, byte(n / 250), byte(n%250 + 1)})
	return netip.AddrPortFrom(ip, uint16(w.port)).String()
}

// zone is what DNS says of the hosts that the dialogues play.
func (w *world) zone(dialogues []*dialogue) string {
	var b strings.Builder
	b.WriteString("example. SOA ns.example. root.example. 1 2 3 4 60\nnull.example. MX 0 .\n")
	for n, d := range dialogues {
		for host, h := range hosts {
			if d.needs(host) {
				domain := d.domain(h.domain)
				ip, _, _ := strings.Cut(w.address(n, host), ":")
				fmt.Fprintf(&b, "%s. MX %d %s.%s.\n%s.%s. A %s\n", domain, h.preference, host, domain, host, domain, ip)
			}
		}
	}
	return b.String()
}

// newWorld starts the server, for the length of the test.
func newWorld(t *testing.T, dialogues []*dialogue) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	port, err := harness.FreePort()
	mailtest.Must(t, err)
	dir := t.TempDir()
	config, _ := mailtest.ServerTLS(t, "postern.test.example")
	w := &world{port: port, tls: config, listeners: map[string]string{}}
	w.writeTLS(t, dir)
	binary, err := harness.BuildPostern(ctx, dir)
	mailtest.Must(t, err)
	dns := mailtest.NewDNS(t, w.zone(dialogues))
	settings := fmt.Sprintf("port = %d\nidle_timeout = \"1s\"\n[dns]\nservers = [%q]\n", port, dns.Addr())
	w.postern, err = harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: dir, Settings: settings + w.moreListeners(t, dir)})
	mailtest.Must(t, err)
	w.listeners["smtp"] = w.postern.Addr()
	w.addUser(ctx, t)
	mailtest.Must(t, w.postern.Start(ctx))
	t.Cleanup(func() {
		if err := w.postern.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log, _ := os.ReadFile(w.postern.Log())
			t.Logf("the end of the server's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return w
}

// addUser gives the server the user "joe" with the password "secret".
func (w *world) addUser(ctx context.Context, t *testing.T) {
	t.Helper()
	d, err := directory.Open(ctx, directory.Options{Dir: filepath.Join(w.postern.Data(), "directory")})
	mailtest.Must(t, err)
	c, err := auth.NewCredentials("secret")
	mailtest.Must(t, err)
	mailtest.Must(t, d.Change(ctx, "test", func(tx *directory.Tx) error {
		return tx.PutUser(directory.User{Login: "joe", Password: c.Password, SCRAM: c.SCRAM, Enabled: true, Services: mail.Services{Submit: true, Relay: true}})
	}))
	mailtest.Must(t, d.Close())
}

// moreListeners are the listeners beside that of the harness, which trusts all
// clients here and has the limits that are the default.
func (w *world) moreListeners(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	tls := fmt.Sprintf("trust = [\"127.0.0.0/8\"]\ntls_certificate = %q\ntls_key = %q\n", filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem"))
	for name, settings := range map[string]string{
		"tls":       tls,
		"required":  tls + "tls_required = true\n",
		"implicit":  tls + "tls = \"implicit\"\n",
		"silent":    tls + "extensions_off = [\"REQUIRETLS\"]\n",
		"certified": tls + fmt.Sprintf("client_certificates = \"require\"\nclient_authorities = %q\n", filepath.Join(dir, "certificate.pem")),
		"plain":     "trust = [\"127.0.0.0/8\"]\nextensions_off = [\"8BITMIME\", \"CHUNKING\", \"DSN\", \"PIPELINING\", \"SMTPUTF8\"]\n",
		"small": "trust = [\"127.0.0.0/8\"]\nbare_newline = \"refuse\"\n" +
			"max_size = \"1KiB\"\nmax_recipients = 2\nmax_messages = 3\nmax_errors = 5\n",
		"stranger": "trust = []\n",
		"login":    "auth = \"optional\"\nauth_without_tls = true\nauth_mechanisms = [\"PLAIN\", \"LOGIN\", \"SCRAM-SHA-256\"]\n",
	} {
		port, err := harness.FreePort()
		mailtest.Must(t, err)
		w.listeners[name] = harness.Loopback(port)
		fmt.Fprintf(&b, "[[listener]]\nname = %q\naddress = %q\n%s", name, w.listeners[name], settings)
	}
	// A way for mail that demands TLS, so that REQUIRETLS is offered.
	b.WriteString("[[transport]]\nname = \"partner\"\nkind = \"smarthost\"\nhosts = [\"127.0.0.1:9\"]\n")
	return b.String()
}

func (w *world) writeTLS(t *testing.T, dir string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(w.tls.Certificates[0].PrivateKey)
	mailtest.Must(t, err)
	mailtest.Must(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	mailtest.Must(t, os.WriteFile(filepath.Join(dir, "certificate.pem"), mailtest.CertificatePEM(w.tls), 0o644))
}

// dial connects to a listener as a client.
func (w *world) dial(t *testing.T, listener string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", w.listeners[listener], patience)
	mailtest.Must(t, err)
	return conn
}
