package smtpclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/tlspolicy"
)

// TestImplicitTLS: TLS begins with the first octet (RFC 8314 3.3), and a server that speaks
// in clear there gets nothing.
func TestImplicitTLS(t *testing.T) {
	serverTLS, pool := mailtest.ServerTLS(t, "mx.example")
	options := Options{TLS: tlspolicy.Policy{Level: tlspolicy.Verify, Begin: tlspolicy.Implicit}, TLSConfig: &tls.Config{RootCAs: pool}}
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: serverTLS, Scripts: []string{"TLS\nS: 220 peer\nC: EHLO\nS: 250-peer\nS: 250 STARTTLS\nC: QUIT\nS: 221 bye"}})
	conn, err := dial(t, peer, options)
	if err != nil {
		t.Fatal(err)
	}
	if told := conn.TLSPolicy(); conn.TLS() == nil || !conn.TLS().Verified || !told.Met || told.Name != "mx.example" || told.Trust != "system" {
		t.Errorf("%+v, %+v", conn.TLS(), told)
	}
	conn.Close()
	_, err = dial(t, mailtest.NewPeer(t, "S: 220 peer\nS: 220 peer\nSTALL"), options)
	if got := brief(asError(t, err).Outcome()); got != "deferred STARTTLS: local 451 4.7.5 TLS with mx.example failed" {
		t.Error(got)
	}
}

// TestNoEHLOUnderTLS: a server that does not bear EHLO again (RFC 3207 4.2) is taken at
// what it has offered before.
func TestNoEHLOUnderTLS(t *testing.T) {
	serverTLS, _ := mailtest.ServerTLS(t, "mx.example")
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: serverTLS, Scripts: []string{startTLS + "S: 220 go\nTLS\nC: QUIT\nS: 221 bye"}})
	conn, err := dial(t, peer, Options{TLS: tlspolicy.Policy{Level: tlspolicy.Required, Begin: tlspolicy.Unspoken}})
	if err != nil {
		t.Fatal(err)
	}
	if conn.TLS() == nil || !conn.Extensions().StartTLS {
		t.Errorf("TLS %v, extensions %+v", conn.TLS(), conn.Extensions())
	}
	conn.Close()
}

// TestAuthIsNoReasonForTLS: the policy alone says whether there is TLS.
func TestAuthIsNoReasonForTLS(t *testing.T) {
	script := "S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\nC: QUIT\nS: 221 bye"
	peer := mailtest.NewPeer(t, script)
	conn, err := dial(t, peer, Options{TLS: tlspolicy.Policy{Level: tlspolicy.None}})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if said := strings.Join(peer.Lines(), " "); strings.Contains(said, "STARTTLS") {
		t.Errorf("said %q", said)
	}
}

// TestInClearNeedsNoDemand: that TLS has failed before is no way round a policy that
// demands it.
func TestInClearNeedsNoDemand(t *testing.T) {
	broken := errors.New("it broke")
	for level, want := range map[tlspolicy.Level]bool{tlspolicy.Opportunistic: true, tlspolicy.Required: false} {
		peer := mailtest.NewSinkWith(t, mailtest.SinkOptions{StartTLS: "454 4.7.0 Not now"})
		conn, err := Dial(t.Context(), "mx.example", peer.Addr(), Options{TLS: tlspolicy.Policy{Level: level}, InClear: broken})
		if (err == nil) != want {
			t.Errorf("%s: error %v", level, err)
		}
		if err != nil {
			continue
		}
		if told := conn.TLSPolicy(); !told.Met || !strings.Contains(told.Because, broken.Error()) {
			t.Errorf("%s: %+v", level, told)
		}
		conn.Close()
	}
}

// shownCertificate is one that this server shows.
type shownCertificate struct{ is *tls.Certificate }

func (shownCertificate) Name() string                     { return "own" }
func (c *shownCertificate) Certificate() *tls.Certificate { return c.is }

// TestClientCertificate: it is shown to who asks, and to no other; and what is shown is told.
func TestClientCertificate(t *testing.T) {
	serverTLS, _ := mailtest.ServerTLS(t, "mx.example")
	own, _ := mailtest.ServerTLS(t, "client.example")
	another, _ := mailtest.ServerTLS(t, "strange.example")
	otherAuthorities := x509.NewCertPool()
	otherAuthorities.AppendCertsFromPEM(mailtest.CertificatePEM(another))
	for _, c := range []struct {
		name  string
		own   *tls.Certificate
		asks  tls.ClientAuthType
		roots *x509.CertPool
		told  string
	}{
		{"asked for", &own.Certificates[0], tls.RequireAnyClientCert, nil, "own"},
		{"asked for of other authorities", &own.Certificates[0], tls.RequireAnyClientCert, otherAuthorities, "own"},
		{"not asked for", &own.Certificates[0], tls.NoClientCert, nil, ""},
		{"none yet", nil, tls.RequestClientCert, nil, ""},
	} {
		config := serverTLS.Clone()
		config.ClientAuth, config.ClientCAs = c.asks, c.roots
		sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config})
		conn, err := Dial(t.Context(), "mx.example", sink.Addr(), Options{TLS: tlspolicy.Policy{Level: tlspolicy.Required, Certificate: &shownCertificate{c.own}}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := conn.TLSPolicy().Certificate; got != c.told {
			t.Errorf("%s: told %q, want %q", c.name, got, c.told)
		}
		conn.Close()
	}
}

// TestToldOfTLS: each failure says what was demanded, by whom, and that it is not met.
func TestToldOfTLS(t *testing.T) {
	serverTLS, _ := mailtest.ServerTLS(t, "mx.example")
	for name, script := range map[string]string{
		"not offered":  plain + "CLOSED",
		"refused":      startTLS + "S: 454 not now\nCLOSED",
		"broken":       startTLS + "S: 220 go\nDROP",
		"injected":     startTLS + "RAW \"220 go\\r\\n250 SIZE 1\\r\\n\"\nCLOSED",
		"not verified": startTLS + "S: 220 go\nTLS",
	} {
		peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: serverTLS, Scripts: []string{script}})
		_, err := dial(t, peer, Options{TLS: tlspolicy.Policy{Level: tlspolicy.Verify, Source: "transport partners"}})
		o := asError(t, err).Outcome()
		if told := o.TLSPolicy; told == nil || told.Met || told.Because == "" || told.Level != "verify" || told.Source != "transport partners" || o.State != mail.Deferred {
			t.Errorf("%s: %s, %+v", name, brief(o), told)
		}
	}
}
