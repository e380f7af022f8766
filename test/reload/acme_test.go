package reload

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/certs"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// acmeServer is Pebble, the ACME server that Let's Encrypt tests clients with. It looks
// up names in DNS and comes to them, as authorities do, but at other ports.
type acmeServer struct {
	directory, management string
	port                  int    // at which it comes to names
	root                  string // the file with the certificate of its own server
	client                *http.Client
}

// lifetime is how long its certificates are valid: they are to be renewed while the
// test runs.
const lifetime = 24 * time.Second

// startACME builds and starts one that knows the names of a zone. It runs until the test
// ends.
func startACME(ctx context.Context, t *testing.T, dir, zone string) *acmeServer {
	t.Helper()
	binary := filepath.Join(dir, "pebble")
	build := exec.CommandContext(ctx, "go", "build", "-C", "../acme", "-buildvcs=false", "-o", binary, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	if out, err := build.CombinedOutput(); err != nil {
		if harness.Required() {
			t.Fatalf("building the ACME server: %v\n%s", err, out)
		}
		t.Skipf("the ACME server cannot be built: %v\n%s", err, out)
	}
	ports := make([]int, 3)
	for i := range ports {
		var err error
		ports[i], err = harness.FreePort()
		mailtest.Must(t, err)
	}
	s := &acmeServer{directory: harness.Loopback(ports[0]), management: harness.Loopback(ports[1]), port: ports[2], root: filepath.Join(dir, "acme.crt")}
	own, err := certs.SelfSigned(certs.Options{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	mailtest.Must(t, err)
	mailtest.Must(t, certs.Save(own, s.root, filepath.Join(dir, "acme.key")))
	pool := x509.NewCertPool()
	pool.AddCert(own.Leaf)
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: patience}
	s.run(t, dir, binary, mailtest.NewDNS(t, zone).Addr())
	mailtest.Must(t, harness.Until(ctx, "the ACME server answers", func() (bool, error) {
		r, err := s.client.Get("https://" + s.directory + "/dir")
		if err == nil {
			r.Body.Close()
		}
		return err == nil, nil
	}))
	return s
}

func (s *acmeServer) run(t *testing.T, dir, binary string, dns netip.AddrPort) {
	t.Helper()
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": s.directory, "managementListenAddress": s.management, "certificate": s.root, "privateKey": filepath.Join(dir, "acme.key"),
		"httpPort": s.port, "tlsPort": s.port, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "brief", "validityPeriod": int(lifetime.Seconds())}},
	}})
	mailtest.Must(t, err)
	mailtest.Must(t, os.WriteFile(filepath.Join(dir, "pebble.json"), settings, 0o600))
	log, err := os.Create(filepath.Join(dir, "pebble.log"))
	mailtest.Must(t, err)
	command := exec.Command(binary, "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", dns.String())
	command.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	command.Stdout, command.Stderr = log, log
	mailtest.Must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		_ = command.Wait()
		log.Close()
	})
}

// roots are those that vouch for the certificates of the server.
func (s *acmeServer) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	r, err := s.client.Get("https://" + s.management + "/roots/0")
	mailtest.Must(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	mailtest.Must(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %q", text)
	}
	return pool
}

const acmeSettings = `certificates = ["mail"]

[[certificate]]
name = "mail"
acme = true
names = ["mail.acme.test"]

[[certificate]]
name = "gone"
acme = true
names = ["gone.acme.test"]

[acme]
directory = "https://%s/dir"
email = "hostmaster@acme.test"
agree_terms = true
challenge = "%s"
address = "127.0.0.1:%d"
ca_file = "%s"
check_every = "1s"
`

// TestACME: the server has a certificate from an authority (RFC 8555) that comes to it,
// by HTTP or by TLS (RFC 8737), and renews it (RFC 9773) while clients send over TLS; each
// of them finds a certificate that is good, and nothing is lost. A name that leads nowhere
// is told of, and keeps nobody from anything.
func TestACME(t *testing.T) {
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()                                                   // it is a wait for certificates to become old
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // most of it for the build
			defer cancel()
			r := newRig(ctx, t)
			mailtest.Must(t, r.postern.Stop())
			authority := startACME(ctx, t, filepath.Dir(r.dir), "mail.acme.test. 60 IN A 127.0.0.1\n")
			settings := fmt.Sprintf(acmeSettings, authority.directory, challenge, authority.port, authority.root)
			r.write(withoutCertificate(r.settings(0), settings))
			mailtest.Must(t, r.postern.Start(ctx)) // which waits for no certificate
			r.sendWhileRenewed(ctx, t, &tls.Config{RootCAs: authority.roots(t), ServerName: "mail.acme.test"})
			mailtest.Must(t, harness.UntilEmpty(ctx, r.postern))
			mailtest.Must(t, r.postern.Stop())
			if r.compare(t) == 0 {
				t.Error("nothing was sent")
			}
			r.wantACMEFacts(t)
		})
	}
}

// withoutCertificate puts other settings in the place of the listener's certificate.
func withoutCertificate(text, settings string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "tls_certificate"):
			b.WriteString(strings.SplitAfter(settings, "\n")[0])
		case !strings.HasPrefix(line, "tls_key"):
			b.WriteString(line)
		}
	}
	_, tables, _ := strings.Cut(settings, "\n")
	return b.String() + tables
}

// renewals is how often the certificate must be another while clients send.
const renewals = 3

// sendWhileRenewed has clients send until they have seen so many certificates.
func (r *rig) sendWhileRenewed(ctx context.Context, t *testing.T, trusted *tls.Config) {
	t.Helper()
	mailtest.Must(t, harness.Until(ctx, "there is a certificate", func() (bool, error) {
		c, err := dial(ctx, r.postern.Addr())
		if err != nil {
			return false, err
		}
		defer c.drop()
		return c.startTLS(trusted) == nil, nil
	}))
	seen := newSeen()
	var clients sync.WaitGroup
	for range 5 {
		clients.Go(func() {
			for seen.count() <= renewals && ctx.Err() == nil {
				if err := r.sendTLS(ctx, trusted, seen); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// seen are the certificates that clients were shown.
type seen struct {
	mu   sync.Mutex
	sums map[[sha256.Size]byte]bool
}

func newSeen() *seen { return &seen{sums: make(map[[sha256.Size]byte]bool)} }

func (s *seen) add(c *x509.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sums[sha256.Sum256(c.Raw)] = true
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sums)
}

// sendTLS sends a message over a connection of its own, in TLS.
func (r *rig) sendTLS(ctx context.Context, trusted *tls.Config, seen *seen) error {
	c, err := dial(ctx, r.postern.Addr())
	if err != nil {
		return err
	}
	defer c.drop()
	if err := c.startTLS(trusted); err != nil {
		return err
	}
	seen.add(c.certificate())
	time.Sleep(20 * time.Millisecond) // the load is to be there, not to be large
	return errors.Join(r.send(c, "all@next.example", nothing), c.say(221, "QUIT"))
}

// wantACMEFacts wants renewals to be told, and the name for which there is none.
func (r *rig) wantACMEFacts(t *testing.T) {
	t.Helper()
	facts, err := harness.ReadJournal(r.postern.Journal())
	mailtest.Must(t, err)
	var changed, failed int
	for _, f := range facts {
		switch {
		case f.Reason == mail.ReasonCertificateChanged && strings.HasPrefix(f.Text, "mail.acme.test (by ACME): valid until "):
			changed++
		case f.Reason == mail.ReasonCertificateFailed && strings.HasPrefix(f.Text, "gone.acme.test, by ACME: "):
			failed++
		case f.Reason == mail.ReasonCertificateFailed:
			t.Errorf("told: %s", f.Text)
		}
	}
	if changed < 2 || failed == 0 { // it is looked at now and then, and two that come at once are one
		t.Errorf("the journal has %d new certificates and %d that failed; want at least 2, and 1", changed, failed)
	}
}
