package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

// TestCheck: it tells of all at once, each at its setting, and makes nothing.
func TestCheck(t *testing.T) {
	c := settings(t, nowhere)
	dir := filepath.Dir(c.DataDir)
	tls := func(name string) config.Listener {
		l := config.DefaultListener()
		l.Name, l.Address = name, netip.MustParseAddrPort("127.0.0.1:0")
		l.TLSCertificate, l.TLSKey = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
		return l
	}
	made, err := certs.SelfSigned(certs.Options{Names: []string{"gate.example"}})
	if err != nil {
		t.Fatal(err)
	}
	good := tls("good")
	if err := certs.Save(made, good.TLSCertificate, good.TLSKey); err != nil {
		t.Fatal(err)
	}
	noKey := tls("nokey")
	noKey.TLSCertificate = good.TLSCertificate
	noKey.Places = config.Places{"listener.tls_key": mail.Place{File: "x.toml", Line: 9, Column: 1}}
	c.Listeners = append(c.Listeners, good, tls("none"), noKey)
	c.HTTPAuth = []config.HTTPAuth{{Name: "web", Secret: config.Secret{Source: config.SecretFile, Name: filepath.Join(dir, "secret")}}}
	c.Warnings = []config.Problem{{Key: "listener.trust", Message: "unwise"}}
	if err := os.WriteFile(c.DataDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	found := Check(c, Options{})
	wantEach(t, found.Problems,
		"listener.tls_certificate: listener none: "+dir+"/none.crt: cannot be read: ",
		"x.toml:9:1: listener.tls_key: listener nokey: "+dir+"/nokey.key: cannot be read: ",
		"http_auth.secret: http_auth web: file:"+dir+"/secret: no such file",
		"data_dir: "+c.DataDir+" is not a directory",
	)
	// A certificate for a day expires soon.
	wantEach(t, found.Warnings, "listener.trust: unwise", "listener.tls_certificate: listener good: "+good.TLSCertificate+" expires at ")
}

// TestCheckOfLogins: a listener with AUTH at which AUTH is never offered is warned of.
func TestCheckOfLogins(t *testing.T) {
	for name, c := range map[string]struct {
		change func(l *config.Listener)
		want   []string
	}{
		"in clear":            {func(*config.Listener) {}, []string{`listener.auth: listener a: is "required", and nobody can log in`}},
		"in clear on purpose": {func(l *config.Listener) { l.AuthWithoutTLS = true }, nil},
		"by address only":     {func(l *config.Listener) { l.AuthMechanisms = nil }, nil},
		"no accounts":         {func(l *config.Listener) { l.Auth = config.AuthOff }, nil},
		"TLS":                 {func(l *config.Listener) { l.Certificates = []config.Text{{Text: "mail"}} }, nil},
		"assigned":            {func(l *config.Listener) { l.Name = "assigned" }, nil},
		"TLS switched off":    {func(l *config.Listener) { l.Name, l.TLS = "assigned", config.ListenerClear }, []string{`listener.auth: listener assigned: is "required", and nobody`}},
	} {
		t.Run(name, func(t *testing.T) {
			settings := settings(t, nowhere)
			made, err := certs.SelfSigned(certs.Options{Names: []string{settings.Hostname}, Lifetime: 90 * 24 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			l := config.DefaultListener()
			l.Name, l.Address, l.Auth = "a", netip.MustParseAddrPort("127.0.0.1:0"), config.AuthRequired
			c.change(&l)
			settings.Listeners = []config.Listener{l}
			store, err := certs.OpenStore(certificatesDir(settings), mail.SystemClock{})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(store.Put("mail", &made, false), store.Assign("assigned", []string{"mail"})); err != nil {
				t.Fatal(err)
			}
			wantEach(t, Check(settings, Options{}).Warnings, c.want...)
		})
	}
}

func wantEach(t *testing.T, problems []config.Problem, begins ...string) {
	t.Helper()
	for i, p := range problems {
		if i >= len(begins) || !strings.HasPrefix(p.String(), begins[i]) {
			t.Errorf("unexpected: %s", p)
		}
	}
	if len(problems) != len(begins) {
		t.Errorf("%d problems, want %q", len(problems), begins)
	}
}

// TestCheckLeavesWhatDependsOnTheProcess: a secret that the server may get, and
// this process does not, is no more than a warning; a start without it fails.
func TestCheckLeavesWhatDependsOnTheProcess(t *testing.T) {
	c := settings(t, nowhere)
	for _, s := range []config.Secret{{Source: config.SecretEnv, Name: "POSTERN_TEST_NONE"}, {Source: config.SecretCredential, Name: "relay"}} {
		t.Setenv("CREDENTIALS_DIRECTORY", "")
		c.HTTPAuth = []config.HTTPAuth{{Name: "web", Secret: s}}
		found := Check(c, Options{})
		if len(found.Problems) > 0 || len(found.Warnings) == 0 || !strings.HasPrefix(found.Warnings[0].String(), "http_auth.secret: http_auth web: "+s.String()+": ") {
			t.Errorf("%s: %v", s, found)
		}
		if _, err := New(c, Options{}); err == nil || !strings.HasPrefix(err.Error(), "http_auth.secret: http_auth web: "+s.String()) {
			t.Errorf("%s: the start: %v", s, err)
		}
	}
	if _, err := os.Stat(c.DataDir); err == nil {
		t.Error("the check has made data_dir")
	}
}

// TestCheckBesideAServer: a running server has the lock and the addresses.
func TestCheckBesideAServer(t *testing.T) {
	r := start(t, settings(t, nowhere))
	if found := Check(r.graph.config, Options{}); len(found.Problems) > 0 {
		t.Errorf("problems: %v", found.Problems)
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

func TestCheckDNS(t *testing.T) {
	server := mailtest.NewDNS(t, "gate.example. A 127.0.0.1\nrelay.example. A 192.0.2.1\nhub.example. MX 10 mx.hub.example.\nhub.example. MX 20 relay.example.\n")
	c := settings(t, nowhere)
	c.DNS.Servers = []netip.AddrPort{server.Addr(), netip.MustParseAddrPort("127.0.0.1:1")}
	c.Delivery.Smarthosts = []mail.HostPort{{Host: "relay.example", Port: 25}, {Host: "gone.example", Port: 25}}
	c.Places = config.Places{"delivery.smarthosts": mail.Place{File: "x.toml", Line: 9, Column: 1}}
	placed := func(line int, key string) config.Placed {
		return config.Placed{Places: config.Places{key: mail.Place{File: "x.toml", Line: line, Column: 1}}}
	}
	hosts := func(names ...string) (list []mail.HostPort) {
		for _, name := range names {
			list = append(list, mail.HostPort{Host: name, Port: 25})
		}
		return list
	}
	c.Transports = []config.Transport{
		{Placed: placed(19, "transport.hosts"), Name: "hub", Kind: config.TransportSmarthost, Hosts: hosts("hub.example"), LookupMX: true},
		{Placed: placed(29, "transport.hosts"), Name: "gateway", Kind: config.TransportSmarthost, Hosts: hosts("listed.example", "gate2.example")},
		{Name: "farm", Kind: config.TransportPool},
	}
	c.Targets = []config.Target{
		{Placed: placed(39, "target.name"), Pool: "farm", Name: "one.example", Port: 25},
		{Placed: placed(49, "target.mx"), Pool: "farm", MX: "farm.example", Port: 25},
		{Pool: "farm", Address: netip.MustParseAddr("192.0.2.2"), Port: 25},
	}
	c.Routing.Mailhub, c.Routing.Router = config.Text{Text: "hub"}, config.Text{Text: "gateway"}
	c.Routing.HostsFile = filepath.Join(t.TempDir(), "hosts")
	put(t, c.Routing.HostsFile, "192.0.2.7 listed.example\n")
	var text strings.Builder
	for _, p := range CheckDNS(t.Context(), c, Options{}) {
		text.WriteString(p.String() + "\n")
	}
	for _, want := range []string{
		"dns.servers: 127.0.0.1:1 does not answer a question for gate.example: ",
		"x.toml:9:1: delivery.smarthosts: gone.example has no address in DNS",
		"x.toml:19:1: transport.hosts: mx.hub.example, a server of hub.example by its MX records, has no address in DNS",
		"x.toml:29:1: transport.hosts: gate2.example has no address in DNS",
		"x.toml:39:1: target.name: one.example has no address in DNS",
		"x.toml:49:1: target.mx: farm.example has no address in DNS",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, &text)
		}
	}
	for _, well := range []string{"relay.example", "listed.example"} {
		if strings.Contains(text.String(), well) {
			t.Errorf("%s is well:\n%s", well, &text)
		}
	}
}

// TestCheckDNSEnds: where nobody answers, not each of many servers is waited for.
func TestCheckDNSEnds(t *testing.T) {
	server := mailtest.NewDNS(t, "_fault.*.silent.example. TXT drop\n")
	c := settings(t, nowhere)
	c.DNS.Servers, c.DNS.Timeout = []netip.AddrPort{server.Addr()}, 10*time.Millisecond
	c.Delivery.Smarthosts = nil
	for i := range 1000 {
		c.Delivery.Smarthosts = append(c.Delivery.Smarthosts, mail.HostPort{Host: fmt.Sprintf("h%d.silent.example", i), Port: 25})
	}
	told := CheckDNS(t.Context(), c, Options{})
	asked := 0
	for _, h := range c.Delivery.Smarthosts {
		if server.Asked(h.Host+". A") > 0 {
			asked++
		}
	}
	if asked == len(c.Delivery.Smarthosts) {
		t.Error("all of them were waited for")
	}
	if last := told[len(told)-1].String(); !strings.HasPrefix(last, "dns.servers: in 120ms not all was answered") {
		t.Error(last)
	}
}
