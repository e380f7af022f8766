package reload

import (
	"context"
	"net/netip"
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

// stored is a listener whose certificates are in the store.
const stored = `certificates = ["mail"]
`

// TestCertificateReplacedUnderLoad replaces the certificate of a listener while 20 clients
// send over TLS, some a message over each connection and some all over one. From the moment it
// is replaced each handshake shows the new one, sessions that are open go on, and what was
// acknowledged arrives once.
func TestCertificateReplacedUnderLoad(t *testing.T) {
	replacements := mailtest.Number(t, "REPLACEMENTS", 50)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(replacements)*perReload)
	defer cancel()
	r := newRig(ctx, t)
	mailtest.Must(t, r.postern.Stop())
	r.bring(ctx, t)
	r.write(withoutCertificate(r.settings(0), stored))
	mailtest.Must(t, r.postern.Start(ctx))
	stop := r.sendOverTLS(ctx, t)
	for range replacements {
		r.bring(ctx, t)
		r.wantShown(ctx, t)
	}
	stop()
	mailtest.Must(t, harness.UntilEmpty(ctx, r.postern))
	mailtest.Must(t, r.postern.Stop())
	if n := r.compare(t); n < 20 {
		t.Errorf("%d messages were sent, fewer than there were clients", n)
	}
	r.wantReplacedFacts(t, replacements)
}

// bring makes a certificate and has it imported by the name of the one in use.
func (r *rig) bring(ctx context.Context, t *testing.T) {
	t.Helper()
	var err error
	r.certificate, err = certs.SelfSigned(certs.Options{Names: []string{hostname}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	mailtest.Must(t, err)
	p := certs.Pair{Certificate: filepath.Join(r.dir, "next.crt"), Key: filepath.Join(r.dir, "next.key")}
	mailtest.Must(t, certs.Save(r.certificate, p.Certificate, p.Key))
	r.trust(r.certificate.Leaf)
	if out, err := r.postern.Command(ctx, "cert", "import", "mail", "--file", p.Certificate, "--key", p.Key, "--replace").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// wantShown wants a client that comes now to be shown the certificate that was brought
// last.
func (r *rig) wantShown(ctx context.Context, t *testing.T) {
	t.Helper()
	c, err := dial(ctx, r.postern.Addr())
	mailtest.Must(t, err)
	mailtest.Must(t, c.startTLS(r.trusted()))
	if got := c.certificate(); !got.Equal(r.certificate.Leaf) {
		t.Errorf("shown is the certificate that ends at %v, want that of %v", got.NotAfter, r.certificate.Leaf.NotAfter)
	}
	mailtest.Must(t, c.quit())
}

// sendOverTLS has 20 clients send until the function that it returns is called. Each has
// sent a message by then.
func (r *rig) sendOverTLS(ctx context.Context, t *testing.T) (stop func()) {
	over, shown := make(chan struct{}), newSeen()
	var clients sync.WaitGroup
	for i := range 20 {
		send := func() error { return r.sendTLS(ctx, r.trusted(), shown) }
		if i%2 == 0 {
			send = r.keptSender(ctx, t)
		}
		clients.Go(func() {
			for {
				if err := send(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-over:
					return
				case <-time.After(20 * time.Millisecond): // the load is to be there, not to be large
				}
			}
		})
	}
	return func() {
		close(over)
		clients.Wait()
	}
}

// keptSender sends over one connection, which lasts as long as the test.
func (r *rig) keptSender(ctx context.Context, t *testing.T) func() error {
	t.Helper()
	c, err := dial(ctx, r.postern.Addr())
	mailtest.Must(t, err)
	t.Cleanup(c.drop)
	mailtest.Must(t, c.startTLS(r.trusted()))
	return func() error { return r.send(c, "all@next.example", nothing) }
}

// wantReplacedFacts wants each replacement in the journal, with who has done it.
func (r *rig) wantReplacedFacts(t *testing.T, want int) {
	t.Helper()
	facts, err := harness.ReadJournal(r.postern.Journal())
	mailtest.Must(t, err)
	var n int
	for _, f := range facts {
		if f.Reason == mail.ReasonCertificateChanged && f.Actor != "" && strings.HasPrefix(f.Text, "mail imported: ") {
			n++
		}
	}
	if n != want {
		t.Errorf("the journal has %d replacements, want %d", n, want)
	}
}
