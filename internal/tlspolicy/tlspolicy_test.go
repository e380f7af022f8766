package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"postern/internal/mail"
)

func TestDemand(t *testing.T) {
	for _, c := range []struct {
		policy Level
		demand mail.TLSDemand
		want   Level
	}{
		{None, "", None},
		{None, mail.TLSRequired, Required},
		{Opportunistic, mail.TLSRequired, Required},
		{Verify, mail.TLSRequired, Verify},
		{Required, mail.TLSVerified, Verify},
		{Verify, "", Verify},
		{Pin, mail.TLSVerified, Pin},
		{None, "of tomorrow", Verify},
		{"of tomorrow", mail.TLSVerified, "of tomorrow"},
	} {
		p := Policy{Level: c.policy, Source: "transport"}
		got := p.Demand(c.demand)
		if got.Level != c.want {
			t.Errorf("%q under the demand %q is %q, want %q", c.policy, c.demand, got.Level, c.want)
		}
		if raised := got.Level != c.policy; raised != (got.Source == fromMessage) {
			t.Errorf("%q under the demand %q is of %q", c.policy, c.demand, got.Source)
		}
	}
}

// list is a list of authorities that changes.
type list struct{ pool *x509.CertPool }

func (*list) Name() string           { return "list" }
func (l *list) Pool() *x509.CertPool { return l.pool }

// TestStronger: the higher level holds with all that it knows of the server, and the higher
// version in any case.
func TestStronger(t *testing.T) {
	one, two := &list{x509.NewCertPool()}, &list{x509.NewCertPool()}
	pins, names := PinsOf(mail.Pin{1}), NamesOf("mx.example")
	for _, c := range []struct {
		name              string
		transport, domain Policy
		level             Level
		source            string
		trust             Trust
		pins              Pins
		names             Names
		lowest            uint16
		begins            Begin
	}{
		{name: "more", transport: Policy{Level: Opportunistic}, domain: Policy{Level: Verify, Trust: one, Names: names}, level: Verify, source: "domain", trust: one, names: names, lowest: tls.VersionTLS12},
		{name: "less", transport: Policy{Level: Pin, Pins: pins}, domain: Policy{Level: Verify, Trust: one}, level: Pin, source: "transport", pins: pins, lowest: tls.VersionTLS12},
		{name: "equal", transport: Policy{Level: Verify, Trust: one, Names: names}, domain: Policy{Level: Verify, Trust: two}, level: Verify, source: "domain", trust: two, names: names, lowest: tls.VersionTLS12},
		{name: "version of the weaker", transport: Policy{Level: Opportunistic, MinVersion: tls.VersionTLS13}, domain: Policy{Level: Required}, level: Required, source: "domain; its version: transport", lowest: tls.VersionTLS13},
		{name: "version of a weaker domain", transport: Policy{Level: Verify}, domain: Policy{Level: Required, MinVersion: tls.VersionTLS13}, level: Verify, source: "transport; its version: domain", lowest: tls.VersionTLS13},
		{name: "version of the equal", transport: Policy{Level: Verify, MinVersion: tls.VersionTLS13}, domain: Policy{Level: Verify, MinVersion: tls.VersionTLS12}, level: Verify, source: "domain; its version: transport", lowest: tls.VersionTLS13},
		{name: "old version of the weaker", transport: Policy{Level: Opportunistic, MinVersion: tls.VersionTLS11}, domain: Policy{Level: Required}, level: Required, source: "domain", lowest: tls.VersionTLS12},
		{name: "how it begins", transport: Policy{Level: Required, Begin: Implicit}, domain: Policy{Level: Verify}, level: Verify, source: "domain", lowest: tls.VersionTLS12, begins: Implicit},
	} {
		c.transport.Source, c.domain.Source = "transport", "domain"
		got := c.transport.Stronger(c.domain)
		if got.Level != c.level || got.Source != c.source || got.Trust != c.trust || got.Pins != c.pins || got.Names != c.names || got.Lowest() != c.lowest || got.Begin != c.begins {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestThrough: what is demanded of the servers of a domain holds for a smarthost as far as it can:
// TLS, that it is verified, and the version.
func TestThrough(t *testing.T) {
	one, two := &list{x509.NewCertPool()}, &list{x509.NewCertPool()}
	pins, names := PinsOf(mail.Pin{1}), NamesOf("mx.example")
	for _, c := range []struct {
		name              string
		transport, domain Policy
		want              string
	}{
		{"more", Policy{Level: Opportunistic}, Policy{Level: Required, MinVersion: tls.VersionTLS13}, "required (domain): TLS 1.3 or newer"},
		{"a pin", Policy{Level: Required, Trust: one}, Policy{Level: Pin, Pins: pins, MinVersion: tls.VersionTLS13}, "verify (domain): TLS 1.3 or newer, trusting list"},
		{"as much", Policy{Level: Verify, Names: names}, Policy{Level: Verify, Trust: two, MinVersion: tls.VersionTLS13}, "verify (transport; its version: domain): TLS 1.3 or newer, for mx.example"},
		{"less", Policy{Level: Pin, Pins: pins}, Policy{Level: Required, MinVersion: tls.VersionTLS13}, "pin (transport; its version: domain): TLS 1.3 or newer, pins: 1"},
		{"no version", Policy{Level: Required}, Policy{Level: Required}, "required (transport): TLS 1.2 or newer"},
		{"an old version of the transport", Policy{Level: Required, MinVersion: tls.VersionTLS10}, Policy{Level: Required}, "required (transport; its version: domain): TLS 1.2 or newer"},
		{"a newer one of the transport", Policy{Level: Required, MinVersion: tls.VersionTLS13}, Policy{Level: Required, MinVersion: tls.VersionTLS12}, "required (transport): TLS 1.3 or newer"},
		{"an old one of the domain", Policy{Level: Required}, Policy{Level: Required, MinVersion: tls.VersionTLS10}, "required (transport): TLS 1.2 or newer"},
	} {
		c.transport.Source, c.domain.Source = "transport", "domain"
		if got := c.transport.Through(c.domain); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestSettled: a policy is another one when its list of authorities has changed, so that connections
// that the old list was good for are none of it.
func TestSettled(t *testing.T) {
	l := &list{x509.NewCertPool()}
	p := Policy{Level: Verify, Trust: l}
	before := p.Settled()
	if before != p.Settled() {
		t.Error("a list that has not changed makes another policy")
	}
	l.pool = x509.NewCertPool()
	if after := p.Settled(); after == before || after.roots() != l.pool || before.roots() == l.pool {
		t.Error("a list that has changed makes no other policy")
	}
	if (Policy{}).Settled() != (Policy{}) {
		t.Error("a policy without a list is changed")
	}
}

// TestLowest: without a demand an old version is better than none (RFC 7435 3).
func TestLowest(t *testing.T) {
	for level, want := range map[Level]uint16{Opportunistic: tls.VersionTLS10, Required: tls.VersionTLS12, Pin: tls.VersionTLS12, "of tomorrow": tls.VersionTLS12} {
		if got := (Policy{Level: level}).Lowest(); got != want {
			t.Errorf("%s: %s", level, tls.VersionName(got))
		}
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		level                           Level
		known, demanded, authenticating bool
	}{
		{None, true, false, false}, {Opportunistic, true, false, false}, {Required, true, true, false},
		{Verify, true, true, true}, {Pin, true, true, true}, {"of tomorrow", false, true, false},
	} {
		p := Policy{Level: c.level}
		if p.Known() != c.known || p.Demanded() != c.demanded || p.Authenticates() != c.authenticating {
			t.Errorf("%q: known %v, demanded %v, authenticates %v", c.level, p.Known(), p.Demanded(), p.Authenticates())
		}
	}
}

// TestNames: which names a certificate is good for; "*." is one label (RFC 8461 4.1).
func TestNames(t *testing.T) {
	of := func(names ...string) *x509.Certificate { return &x509.Certificate{DNSNames: names} }
	for _, c := range []struct {
		names       []string
		certificate *x509.Certificate
		want        string
	}{
		{[]string{"MX.Example."}, of("mx.example"), "mx.example"},
		{[]string{"mx.example"}, of("*.example"), "mx.example"},
		{[]string{"a.example", "b.example"}, of("b.example"), "b.example"},
		{[]string{"*.example"}, of("MX.example"), "*.example"},
		{[]string{"*.example"}, of("*.example"), "*.example"},
		{[]string{"*.example"}, of("a.mx.example"), ""},
		{[]string{"*.example"}, of("example"), ""},
		{[]string{"*.example"}, of("mx.badexample"), ""},
		{[]string{"mx.example"}, of("mx.example.net"), ""},
		{[]string{"mx.example"}, of(), ""},
	} {
		got, good := NamesOf(c.names...).good(c.certificate)
		if got != c.want && good || good != (c.want != "") {
			t.Errorf("%v of %v: %q", c.certificate.DNSNames, c.names, got)
		}
	}
	if NamesOf("b.example", "A.example") != NamesOf("a.example", "b.example", "a.example") {
		t.Error("the same names are not equal")
	}
}

// TestPins: a pin is of a key or of a certificate (RFC 7469 2.4), and their order does not matter.
func TestPins(t *testing.T) {
	c := &x509.Certificate{Raw: []byte("certificate"), RawSubjectPublicKeyInfo: []byte("key")}
	for _, x := range []struct {
		pins Pins
		what string
		is   bool
	}{
		{PinsOf(mail.Pin{1}, mail.KeyPin(c)), "key", true},
		{PinsOf(mail.CertificatePin(c), mail.Pin{255}), "certificate", true},
		{PinsOf(mail.Pin{1}), "certificate", false},
		{Pins{}, "certificate", false},
	} {
		if _, what, is := x.pins.of(c); what != x.what || is != x.is {
			t.Errorf("%d pins: %q %v", x.pins.count(), what, is)
		}
	}
	if PinsOf(mail.Pin{1}, mail.Pin{2}) != PinsOf(mail.Pin{2}, mail.Pin{1}, mail.Pin{2}) {
		t.Error("the same pins are not equal")
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		want   string
	}{
		{Policy{Level: None, Source: "transport x"}, "none (transport x)"},
		{Policy{Level: Opportunistic}, "opportunistic: TLS 1.0 or newer"},
		{Policy{Level: Verify, Trust: &list{}, Names: NamesOf("b.example", "*.a.example"), Begin: Implicit}, "verify: TLS 1.2 or newer, for *.a.example, for b.example, trusting list, from the first octet"},
		{Policy{Level: Pin, Pins: PinsOf(mail.Pin{1}), MinVersion: tls.VersionTLS13, Names: NamesOf("b.example")}, "pin: TLS 1.3 or newer, pins: 1"},
	} {
		if got := c.policy.String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// TestServerName: which name a server is asked for (RFC 6066 3): the host's, and for an address the
// first name that is one.
func TestServerName(t *testing.T) {
	for _, c := range []struct {
		host  string
		names Names
		want  string
	}{
		{"mx.example.", Names{}, "mx.example"},
		{"mx.example", NamesOf("other.example"), "mx.example"},
		{"192.0.2.1", NamesOf("*.other.example", "other.example"), "other.example"},
		{"[2001:db8::1]", NamesOf("other.example"), "other.example"},
		{"192.0.2.1", NamesOf("*.other.example"), "192.0.2.1"},
	} {
		_, config := (Policy{Level: Verify, Names: c.names}).Check(c.host, &tls.Config{}, nil)
		if config.ServerName != c.want {
			t.Errorf("%s: %s, want %s", c.host, config.ServerName, c.want)
		}
	}
}
