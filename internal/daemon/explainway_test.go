package daemon

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/credentials"
	"postern/internal/directory"
	"postern/internal/explain"
	"postern/internal/limit"
	"postern/internal/mail"
)

// manyWays is a configuration with a way of each kind, and a directory with a credential.
func manyWays(t *testing.T) (*config.Config, *directory.Directory) {
	t.Helper()
	c := settings(t, nowhere)
	c.Delivery.Smarthosts, c.Delivery.MXTLS = nil, config.TLSOpportunistic
	c.Credentials.KeyFile = filepath.Join(t.TempDir(), "keys")
	host := func(name string, port uint16) mail.HostPort { return mail.HostPort{Host: name, Port: port} }
	c.Transports = []config.Transport{
		{Name: "partners", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{host("relay.example", 587)}, Credential: "us", TLSEHLO: true,
			TLSOut: config.TLSOut{TLS: config.TLSRequired}, TransportLimits: config.TransportLimits{
				MaxConnections: 3, MaxRecipients: 7, MaxMessages: 9, Rate: limit.Rate{Max: 100, Per: time.Hour}, MaxSize: 5000,
			}},
		{Name: "targets", Kind: config.TransportPool, TLSEHLO: true, TransportLimits: config.TransportLimits{MaxConnections: 6}},
		{Name: "hub", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{host("hub.example", 25)}, LookupMX: true, TLSEHLO: true},
		{Name: "without", Kind: config.TransportSmarthost, Hosts: []mail.HostPort{host("old.example", 25)}, TLSEHLO: true,
			TransportLimits: config.TransportLimits{WithoutExtensions: []config.Extension{config.ExtensionRequireTLS}}},
		{Name: "nowhere", Kind: config.TransportDiscard},
		{Name: "boxes", Kind: config.TransportLMTP, Hosts: []mail.HostPort{{Socket: "/run/lmtp"}}, TLSEHLO: true},
	}
	c.Targets = []config.Target{
		{Pool: "targets", Name: "one.example", Port: 25, MaxConnections: 5, Secure: true, MaxMessages: 4},
		{Pool: "targets", Address: netip.MustParseAddr("192.0.2.2"), Port: 26, MaxConnections: 5},
	}
	for i := range c.Transports[1:] {
		c.Transports[i+1].TLS = config.TLSOpportunistic
	}
	for name, to := range map[string]string{"partner": "partners", "pool": "targets", "hubbed": "hub", "old": "without", "gone": "nowhere", "boxed": "boxes"} {
		c.Routes = append(c.Routes, config.Route{Name: name, Transport: config.Text{Text: to}, Recipients: []config.Text{{Text: "*@" + name + ".example"}}})
	}
	c.TLSDomains = []config.TLSDomains{{Domains: []string{"bank.example", "boxed.example"}, TLSOut: config.TLSOut{TLS: config.TLSVerify, TLSNames: []string{"mx.bank.example"}}}}
	c.Companies = []config.Company{{Name: "acme", Domains: []string{"acme.example"}, Hostname: "mail.acme.example", SourceIPv4: netip.MustParseAddr("192.0.2.77")}}
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	book := credentials.New(credentials.Options{Settings: credentials.Settings{KeyFile: c.CredentialsKey()}, Directory: func() *directory.Directory { return d }})
	defer book.Close()
	if err := d.Change(t.Context(), "test", func(tx *directory.Tx) error {
		return book.Keys().Put(tx, credentials.Draft{Secrets: map[string]mail.Secret{"password": "hunter2"},
			Record: directory.Credential{Name: "us", Kind: directory.CredentialPassword, User: "u@us.example"}})
	}); err != nil {
		t.Fatal(err)
	}
	return c, d
}

// TestExplainWay: without a question to DNS it is told by which transport mail goes, with its
// own limits, what TLS is demanded and by whom, what is shown and by which rule, and in whose
// name and from where it leaves; and whether REQUIRETLS can be honoured there.
func TestExplainWay(t *testing.T) {
	c, d := manyWays(t)
	s, err := explainerOf(c, d, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		from, to   string
		requireTLS bool
		want       []string
	}{
		{"joe@acme.example", "a@partner.example", true, []string{
			"accepted, to go by partners", ": by partners: the route partner",
			"* relay.example:587; TLS verify (credential us): TLS 1.2 or newer; shows credential us: u@us.example by password (named for the transport partners); EHLO mail.acme.example; from 192.0.2.77\n",
			"in the name of the company acme\n", "at most 3 connections, 7 recipients at a time, 9 messages over a connection, messages at 100/1h, 5000 octets in a message\n",
			"REQUIRETLS can be honoured, by servers that offer it",
		}},
		{"joe@x.example", "a@pool.example", false, []string{
			"by targets", "* one.example:25; TLS required (target.secure): TLS 1.2 or newer; 4 messages over a connection\n", "* 192.0.2.2:26; TLS ", "at most 6 connections, 100 recipients at a time\n",
		}},
		{"joe@x.example", "a@hubbed.example", true, []string{"REQUIRETLS cannot be honoured, and the message comes back: MX records name the servers, and nothing vouches for these (550 5.7.30)"}},
		{"joe@x.example", "a@old.example", true, []string{"extensions_off of the transport without has REQUIRETLS (550 5.7.30)"}},
		{"joe@x.example", "a@bank.example", true, []string{
			"to go to the mail servers of bank.example (TLS verify)", "* the servers that DNS has for it; TLS verify (tls bank.example", "for mx.bank.example", "at most 20 connections",
			"REQUIRETLS can be honoured, by servers that offer it",
		}},
		{"joe@x.example", "a@other.example", true, []string{"(TLS opportunistic)", "the servers that DNS has for it; TLS verify (the message)", "REQUIRETLS cannot be honoured"}},
		{"joe@x.example", "a@boxed.example", true, []string{"* unix:/run/lmtp; TLS opportunistic (transport boxes (by default))", "REQUIRETLS is kept: the message does not leave this machine"}},
		{"joe@x.example", "a@gone.example", false, []string{"accepted, to go by nowhere", ": by nowhere: the route gone"}},
	} {
		got := explained(t, s, x.from, x.to, x.requireTLS)
		for _, want := range x.want {
			if !strings.Contains(got, want) {
				t.Errorf("from %s to %s: no %q in\n%s", x.from, x.to, want, got)
			}
		}
		if x.requireTLS && !strings.Contains(got, "TLS 1.3, REQUIRETLS, ") {
			t.Errorf("the question does not say REQUIRETLS:\n%s", got)
		}
		if !x.requireTLS && strings.Contains(got, "REQUIRETLS") {
			t.Errorf("REQUIRETLS, of which nobody has asked:\n%s", got)
		}
	}
	c.Listeners[0].ExtensionsOff = []config.Extension{config.ExtensionRequireTLS}
	if got := explained(t, s, "joe@x.example", "a@partner.example", true); !strings.Contains(got, "refused at MAIL: 555 5.5.4") {
		t.Errorf("REQUIRETLS is not offered:\n%s", got)
	}
}

func explained(t *testing.T, s *explain.Server, from, to string, requireTLS bool) string {
	t.Helper()
	address := func(s string) mail.Address {
		a, err := mail.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	m := &explain.Mail{Client: netip.MustParseAddrPort("127.0.0.1:0"), From: address(from), To: []mail.Address{address(to)}, RequireTLS: requireTLS}
	if requireTLS {
		m.TLS = "TLS 1.3"
	}
	r, err := s.Walk(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestExplainedLimits: a site has as many connections as the servers of a pool bear, or as the
// transport says if that is less.
func TestExplainedLimits(t *testing.T) {
	c, _ := manyWays(t)
	g := newGraph(c, mail.SystemClock{})
	for _, x := range []struct {
		name        string
		bears, want int
	}{{"targets", 0, 6}, {"targets", 4, 4}, {"targets", 60, 6}, {"partners", 0, 3}, {"hub", 0, 20}, {"mx", 0, 20}} {
		if got := g.limits(x.name, x.bears).Connections; got != x.want {
			t.Errorf("%s that bears %d has %d connections, want %d", x.name, x.bears, got, x.want)
		}
	}
	c.Transports[1].MaxConnections = 0
	if got := g.limits("targets", 0).Connections; got != 10 {
		t.Errorf("what two targets bear are %d connections", got)
	}
}
