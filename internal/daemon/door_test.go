package daemon

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/mail"
)

func TestListenerTLS(t *testing.T) {
	certificate := &tls.Config{ServerName: "it", MinVersion: tls.VersionTLS12}
	l := config.DefaultListener()
	l.TLSCertificate, l.TLSKey = "c", "k"
	if got := listenerTLS(&l, nil); got != nil {
		t.Errorf("without a certificate %+v", got)
	}
	if got := listenerTLS(&l, certificate); got.ServerName != "it" || got.MinVersion != tls.VersionTLS12 || got.CipherSuites != nil {
		t.Errorf("by default %+v", got)
	}
	l.TLSMinVersion = tls.VersionTLS10
	if got := listenerTLS(&l, certificate); got.MinVersion != tls.VersionTLS10 || !slices.Contains(got.CipherSuites, tls.TLS_RSA_WITH_AES_128_CBC_SHA) {
		t.Errorf("for old devices %+v", got)
	}
	l.TLS = config.ListenerClear
	if got := listenerTLS(&l, certificate); got != nil {
		t.Errorf("in clear %+v", got)
	}
	if certificate.MinVersion != tls.VersionTLS12 {
		t.Error("the certificate's own configuration was changed")
	}
}

func TestMissingFields(t *testing.T) {
	g := newGraph(config.Default(), mail.SystemClock{})
	g.config.Message.AddDate, g.config.Message.AddMessageID = false, true
	l := config.DefaultListener()
	l.Name, l.AddDate, l.AddMessageID = "devices", config.AddAlways, config.AddNever
	g.config.Listeners = []config.Listener{l}
	if date, id := g.missing(&mail.Origin{Listener: "devices"}); !date || id {
		t.Errorf("devices: %v, %v", date, id)
	}
	if date, id := g.missing(&mail.Origin{Listener: "sendmail"}); date || !id {
		t.Errorf("sendmail: %v, %v", date, id)
	}
}

// greeting shakes hands with a certificate, or without, and returns what the server
// says first.
func (r *run) greeting(t *testing.T, shown ...tls.Certificate) string {
	t.Helper()
	conn, err := tls.Dial("tcp", r.smtp().String(), &tls.Config{InsecureSkipVerify: true, Certificates: shown})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestClientAuthorities: who is in the file gets in, also when the file changes.
func TestClientAuthorities(t *testing.T) {
	c := settings(t, nowhere)
	dir := t.TempDir()
	l := &c.Listeners[0]
	l.Name, l.TLS, l.TLSCertificate, l.TLSKey = "smtp", config.ListenerImplicit, filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	l.ClientCertificates, l.ClientAuthorities = config.ClientCertificatesRequire, filepath.Join(dir, "clients")
	issue := func(name, file string) tls.Certificate {
		t.Helper()
		made, err := certs.SelfSigned(certs.Options{Names: []string{name}})
		if err := errors.Join(err, certs.Save(made, filepath.Join(dir, file), filepath.Join(dir, file+".key"))); err != nil {
			t.Fatal(err)
		}
		return made
	}
	server, err := certs.SelfSigned(certs.Options{Names: []string{"gate.example"}})
	if err := errors.Join(err, certs.Save(server, l.TLSCertificate, l.TLSKey)); err != nil {
		t.Fatal(err)
	}
	first, second := issue("first.example", "clients"), issue("second.example", "second")
	r, _ := reloadable(t, c)
	if said := r.greeting(t); !strings.HasPrefix(said, "554 5.7.0 ") {
		t.Errorf("without a certificate: %q", said)
	}
	if said := r.greeting(t, second); !strings.HasPrefix(said, "554 5.7.0 ") {
		t.Errorf("with another certificate: %q", said)
	}
	if said := r.greeting(t, first); !strings.HasPrefix(said, "220 ") {
		t.Errorf("with the certificate: %q", said)
	}
	if done, err := r.Reload("ann"); err != nil || len(done.Changes) != 0 {
		t.Errorf("before there was a change: %+v, %v", done, err)
	}
	if err := os.Rename(filepath.Join(dir, "second"), l.ClientAuthorities); err != nil {
		t.Fatal(err)
	}
	done, err := r.Reload("ann")
	if err != nil || len(done.Changes) != 1 || done.Changes[0].Key != "listener.client_authorities" || done.Changes[0].Name != "smtp" {
		t.Errorf("got %+v, %v", done, err)
	}
	if said := r.greeting(t, second); !strings.HasPrefix(said, "220 ") {
		t.Errorf("with the new certificate: %q", said)
	}
	if said := r.greeting(t, first); !strings.HasPrefix(said, "554 5.7.0 ") {
		t.Errorf("with the old certificate: %q", said)
	}
	if err := os.WriteFile(l.ClientAuthorities, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reload("ann"); err == nil || !strings.Contains(err.Error(), "listener.client_authorities: listener smtp: ") {
		t.Errorf("a reload with a wrong file: %v", err)
	}
	if said := r.greeting(t, second); !strings.HasPrefix(said, "220 ") {
		t.Errorf("after a reload that failed: %q", said)
	}
	r.end(t)
}

// TestStatusOfTheDoor: an operator sees how clients are taken in, and what is unsafe
// where strangers may come.
func TestStatusOfTheDoor(t *testing.T) {
	c := settings(t, nowhere)
	l := &c.Listeners[0]
	l.Name, l.BareNewline, l.ProxyFrom = "in", config.BareNewlineRepair, []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}
	l.ExtensionsOff = []config.Extension{config.ExtensionChunking}
	r := start(t, c)
	status, err := admin.NewClient(c.Socket()).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := status.Listeners[0]
	if got.TLS != "none" || got.Auth != "off" || got.ClientCertificates != "ignore" || strings.Join(got.ProxyFrom, " ") != "192.0.2.9/32" ||
		strings.Join(got.Unsafe, "") != "repairs bare newlines for everybody" || slices.Contains(got.Extensions, "CHUNKING") || !slices.Contains(got.Extensions, "DSN") {
		t.Errorf("%+v", got)
	}
	if len(doorWarnings(c)) != 0 {
		t.Errorf("warned of a listener at loopback: %q", doorWarnings(c))
	}
	l.Address = netip.MustParseAddrPort("0.0.0.0:25")
	if w := doorWarnings(c); len(w) != 1 || !strings.HasPrefix(w[0], "listener in at 0.0.0.0:25 is unsafe: it repairs bare newlines") {
		t.Errorf("warnings %q", w)
	}
	r.end(t)
}

// TestOfferOfRequireTLS: REQUIRETLS is offered where a server that the configuration names may be
// spoken to by TLS.
func TestOfferOfRequireTLS(t *testing.T) {
	relay := []mail.HostPort{{Host: "relay.test", Port: 25}}
	pinned, named := config.TLSOut{TLS: config.TLSPin}, config.TLSOut{TLS: config.TLSVerify, TLSNames: []string{"mail.partner.test"}}
	clear := config.TLSOut{TLS: config.TLSNone}
	for _, c := range []struct {
		hosts      []mail.HostPort
		tls        config.TLSPolicy
		transports []config.Transport
		domains    []config.TLSDomains
		want       bool
	}{
		{want: false},
		{hosts: relay, tls: config.TLSOpportunistic, want: true},
		{hosts: relay, tls: config.TLSNone, want: false},
		{transports: []config.Transport{{Name: "direct", Kind: config.TransportMX}}, want: false},
		{transports: []config.Transport{{Name: "direct", Kind: config.TransportMX}, {Name: "partner", Kind: config.TransportSmarthost, Hosts: relay}}, want: true},
		{transports: []config.Transport{{Kind: config.TransportSmarthost, Hosts: relay, TLSOut: clear}}, want: false},
		{transports: []config.Transport{{Kind: config.TransportSmarthost, Hosts: relay, LookupMX: true}}, want: false},
		{transports: []config.Transport{{Kind: config.TransportSmarthost, Hosts: relay, LookupMX: true, TLSOut: named}}, want: true},
		{transports: []config.Transport{{Kind: config.TransportPool}}, want: true},
		{transports: []config.Transport{{Kind: config.TransportLMTP, Hosts: relay}}, want: false},
		{transports: []config.Transport{{Kind: config.TransportLMTP, Hosts: []mail.HostPort{{Socket: "/run/lmtp"}}}}, want: true},
		{transports: []config.Transport{{Kind: config.TransportMX, TLSOut: pinned}}, want: true},
		{domains: []config.TLSDomains{{TLSOut: config.TLSOut{TLS: config.TLSVerify}}}, want: false},
		{domains: []config.TLSDomains{{TLSOut: named}}, want: true},
	} {
		g := &graph{config: &config.Config{Transports: c.transports, TLSDomains: c.domains}}
		g.config.Delivery.Smarthosts, g.config.Delivery.SmarthostTLS = c.hosts, c.tls
		if got := g.keepsTLS(); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}
