package daemon

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/mail"
)

// TestTLSWithoutCertificate: a listener that has none yet offers no TLS, unless it takes
// nothing without.
func TestTLSWithoutCertificate(t *testing.T) {
	for name, c := range map[string]struct {
		listener config.Listener
		has      bool
	}{
		"starttls":     {config.Listener{Name: "a", Certificates: []config.Text{{Text: "later"}}}, false},
		"as it may":    {config.Listener{Name: "a"}, false},
		"implicit":     {config.Listener{Name: "a", TLS: config.ListenerImplicit, Certificates: []config.Text{{Text: "later"}}}, true},
		"tls_required": {config.Listener{Name: "a", TLSRequired: true, Certificates: []config.Text{{Text: "later"}}}, true},
	} {
		conf := settings(t, nowhere)
		conf.Listeners = []config.Listener{c.listener}
		conf.Certificates = []config.Certificate{{Name: "later", ACME: true}}
		g := newGraph(conf, mail.SystemClock{})
		if err := g.loadCertificates(); err != nil {
			t.Fatal(err)
		}
		d := &Daemon{}
		if got := d.tlsConfig(g, 0); (got != nil) != c.has {
			t.Errorf("%s: TLS is there: %v, want %v", name, got != nil, c.has)
		}
		warned := slices.ContainsFunc(g.certificateWarnings(), func(w string) bool { return strings.HasPrefix(w, "listener a has no certificate yet") })
		if warned != (name != "as it may") {
			t.Errorf("%s: warned %v", name, warned)
		}
	}
}

// TestImplicitTLSWithoutCertificate: handshakes fail until there is a certificate, and
// nothing is said in clear.
func TestImplicitTLSWithoutCertificate(t *testing.T) {
	c := settings(t, nowhere)
	l := &c.Listeners[0]
	l.TLS, l.Certificates = config.ListenerImplicit, []config.Text{{Text: "later"}}
	c.Certificates = []config.Certificate{{Name: "later", ACME: true}}
	c.ACME.Directory, c.ACME.Address = "https://127.0.0.1:1/directory", netip.MustParseAddrPort("127.0.0.1:1") // where nobody is
	r := start(t, c)
	address := r.listeners[0].socket.Addr().String()
	for range 2 {
		if conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}); err == nil {
			conn.Close()
			t.Error("a handshake without a certificate went well")
		}
	}
	r.end(t)
}

// TestAssignedCertificates: a listener whose settings name none offers TLS from the first
// that is assigned to it on, in the same process and without a reload, and no more without one.
func TestAssignedCertificates(t *testing.T) {
	r := start(t, settings(t, nowhere))
	keeper := certificateKeeper(r.graph.certificates.store, r.inForce, r.certificateChanged, r.clock)
	offered := func() bool { return r.listeners[0].server.Options().TLS != nil }
	if offered() {
		t.Error("TLS is offered without a certificate")
	}
	if _, err := keeper.Make("ann", certs.Order{Making: certs.MakeSelfSigned, Name: "mail", Names: []string{"gate.example"}}); err != nil {
		t.Fatal(err)
	}
	name := r.listeners[0].name
	for _, assigned := range [][]string{{"mail"}, {}} {
		if err := keeper.Assign("ann", name, assigned); err != nil {
			t.Fatal(err)
		}
		if offered() != (len(assigned) > 0) {
			t.Errorf("with %v TLS is offered: %v", assigned, offered())
		}
		want := map[bool]string{true: "starttls", false: "none"}[len(assigned) > 0]
		if got := r.Daemon.status().Listeners[0].TLS; got != want {
			t.Errorf("with %v it is told as %s, want %s", assigned, got, want)
		}
	}
	if err := keeper.Assign("ann", "nobody", nil); err == nil {
		t.Error("a listener that there is not has certificates")
	}
	r.end(t)
}
