package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/credentials"
	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// TestWhoIsShown: which credential is shown to which server, in the order of docs/credentials.md;
// what TLS is demanded for it; and that a server which only DNS has named gets none.
func TestWhoIsShown(t *testing.T) {
	c := settings(t, nowhere)
	host := func(name string, port uint16) mail.HostPort { return mail.HostPort{Host: name, Port: port} }
	c.Transports = []config.Transport{
		{Name: "own", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{host("a.relay.example", 587), host("c.relay.example", 587)}, Credential: "named"},
		{Name: "found", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{host("a.relay.example", 587)}},
		{Name: "hub", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{host("hub.example", 25)}},
		{Name: "absent", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{host("x.example", 25)}, Credential: "nobody"},
		{Name: "pool", Kind: config.TransportPool, Credential: "named"},
		{Name: "direct", Kind: config.TransportMX},
		{Name: "both", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{host("hub.example", 25), host("b.relay.example", 25), host("free.example", 25)}},
	}
	c.Credentials.KeyFile = filepath.Join(t.TempDir(), "keys")
	c.Targets = []config.Target{{Pool: "pool", Name: "target.example", Port: 25}}
	c.Delivery.Smarthosts, c.Delivery.SmarthostCredential = []mail.HostPort{host("smart.example", 587)}, "smart"
	g := newGraph(c, mail.SystemClock{})
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	g.lasting.directory = func() *directory.Directory { return d }
	g.lasting.credentials = g.newBook()
	defer g.lasting.credentials.Close()
	put := func(name string, without bool, hosts ...string) {
		t.Helper()
		if err := d.Change(t.Context(), "test", func(tx *directory.Tx) error {
			return g.lasting.credentials.Keys().Put(tx, credentials.Draft{Secrets: map[string]mail.Secret{"password": "hunter2"},
				Record: directory.Credential{Name: name, Kind: directory.CredentialPassword, User: "u", Hosts: hosts, WithoutVerification: without}})
		}); err != nil {
			t.Fatal(err)
		}
	}
	put("named", false)
	put("smart", true)
	put("relays", false, "*.relay.example")
	put("hub", false, "hub.example", "mx1.hub.example")
	put("mx", false, "mx.direct.example")
	put("other", false, "mx1.hub.example.org")
	for _, c := range []struct {
		transport, host string
		port            uint16
		want, withheld  string
		level           tlspolicy.Level
	}{
		{"own", "a.relay.example", 587, "named", "", tlspolicy.Verify},
		{"own", "C.Relay.Example", 587, "named", "", tlspolicy.Verify},
		{"own", "mx.a.relay.example.org", 587, "named", "is a name from DNS", tlspolicy.Verify},
		{"found", "a.relay.example", 587, "relays", "", tlspolicy.Verify},
		{"hub", "hub.example", 25, "hub", "", tlspolicy.Verify},
		{"hub", "mx1.hub.example", 25, "hub", "", tlspolicy.Verify},
		{"hub", "evil.example", 25, "hub", "evil.example is a name from DNS", tlspolicy.Verify},
		{"both", "hub.example", 25, "hub", "", tlspolicy.Verify},
		{"both", "b.relay.example", 25, "relays", "", tlspolicy.Verify}, // and not that of the one before it
		{"both", "free.example", 25, "", "", tlspolicy.None},
		{"absent", "x.example", 25, "nobody", "credential nobody: is not in the directory", tlspolicy.Verify},
		{"pool", "target.example", 25, "named", "", tlspolicy.Verify},
		{"direct", "mx.direct.example", 25, "mx", "", tlspolicy.Verify},
		{"direct", "mx.other.example", 25, "", "", tlspolicy.None},
		{"smarthost", "smart.example", 587, "smart", "", tlspolicy.None},
		{"smarthost", "smart.example", 25, "", "", tlspolicy.None}, // policy has named it
		{"smarthost", "b.relay.example", 25, "relays", "", tlspolicy.Verify},
		{"mx", "elsewhere.example", 25, "", "", tlspolicy.None},
	} {
		l := route.Lane{Transport: c.transport, Host: c.host, Port: c.port, TLS: tlspolicy.Policy{Level: tlspolicy.None}}
		same := l
		g.finishLogin(&l)
		g.finishLogin(&same)
		if l != same {
			t.Errorf("%s by %s: two lanes of one server are not equal", c.host, c.transport)
		}
		if l.TLS.Level != c.level {
			t.Errorf("%s by %s: TLS is %s, want %s", c.host, c.transport, l.TLS.Level, c.level)
		}
		if l.Login == nil || c.want == "" {
			if (l.Login == nil) != (c.want == "") {
				t.Errorf("%s by %s: there is %v, want %q", c.host, c.transport, l.Login, c.want)
			}
			continue
		}
		if got := l.Login.(hostLogin).Record().Name; got != c.want {
			t.Errorf("%s by %s: it is %s, want %s", c.host, c.transport, got, c.want)
		}
		shown, err := l.Login.Credentials(t.Context())
		if c.withheld == "" && (err != nil || shown.Password != "hunter2") || c.withheld != "" && (err == nil || !strings.Contains(err.Error(), c.withheld) || !shown.IsZero()) {
			t.Errorf("%s by %s: shown %v, %v; want %q", c.host, c.transport, shown, err, c.withheld)
		}
	}
	wantEach(t, g.adviseCredentials(), `transport.credential: "nobody" is not in the directory`)
	if err := os.Remove(c.Credentials.KeyFile); err != nil {
		t.Fatal(err)
	}
	wantEach(t, g.adviseCredentials(), `transport.credential: "nobody" is not in the directory`, "credentials.key_file: the key file "+c.Credentials.KeyFile+" is not there")
	const want = "no credential is for b.example itself; those of transports are tested with --transport: own, absent"
	if err := g.noCredential(admin.CredentialTest{Host: "b.example", Transport: "pool"}); err.Error() != want {
		t.Errorf("a test without a transport says %q", err)
	}
}

// TestPortOf: a login is tried where the transport has the server.
func TestPortOf(t *testing.T) {
	c := config.Default()
	at := func(name string, port uint16) []mail.HostPort { return []mail.HostPort{{Host: name, Port: port}} }
	c.Transports = []config.Transport{{Name: "hub", Kind: config.TransportSmarthost, Hosts: at("c.relay.example", 26)}, {Name: "pool", Kind: config.TransportPool}}
	c.Targets = []config.Target{{Pool: "pool", Name: "target.example", Port: 27}}
	c.Delivery.Smarthosts = at("smart.example", 28)
	g := newGraph(c, mail.SystemClock{})
	for _, test := range []struct {
		transport, host string
		want            uint16
	}{
		{"hub", "C.Relay.Example", 26}, {"pool", "target.example", 27}, {"", "smart.example", 28},
		{"hub", "smart.example", 0}, {"pool", "c.relay.example", 0}, {"", "target.example", 0},
	} {
		if got := g.portOf(test.host, test.transport); got != test.want {
			t.Errorf("%s by %q is at %d, want %d", test.host, test.transport, got, test.want)
		}
	}
}
