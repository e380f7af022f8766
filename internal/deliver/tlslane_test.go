package deliver

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// roots are authorities as they are read from a file.
type roots struct{ pool *x509.CertPool }

func (*roots) Name() string           { return "roots" }
func (r *roots) Pool() *x509.CertPool { return r.pool }

// own is a certificate that this server shows.
type own struct{ certificate *tls.Certificate }

func (*own) Name() string                    { return "own" }
func (o *own) Certificate() *tls.Certificate { return o.certificate }

// TestPoliciesNeverShareAConnection: mail under a policy never goes over a connection that is kept
// for another, in whatever they differ; under the same policy it does.
func TestPoliciesNeverShareAConnection(t *testing.T) {
	config, pool := mailtest.ServerTLS(t, "mx0.example", "mx.other.example")
	leaf := config.Certificates[0].Leaf
	trust := &roots{pool}
	base := tlspolicy.Policy{Level: tlspolicy.Verify, Source: "transport partners", Trust: trust}.Settled()
	for name, change := range map[string]func(*tlspolicy.Policy){
		"the same":       func(*tlspolicy.Policy) {},
		"less":           func(p *tlspolicy.Policy) { p.Level = tlspolicy.Required },
		"none":           func(p *tlspolicy.Policy) { p.Level = tlspolicy.None },
		"pins":           func(p *tlspolicy.Policy) { p.Level, p.Pins = tlspolicy.Pin, tlspolicy.PinsOf(mail.KeyPin(leaf)) },
		"names":          func(p *tlspolicy.Policy) { p.Names = tlspolicy.NamesOf("*.other.example") },
		"other trust":    func(p *tlspolicy.Policy) { p.Trust = &roots{pool}; *p = p.Settled() },
		"version":        func(p *tlspolicy.Policy) { p.MinVersion = tls.VersionTLS13 },
		"certificate":    func(p *tlspolicy.Policy) { p.Certificate = &own{&config.Certificates[0]} },
		"trust, changed": func(p *tlspolicy.Policy) { trust.pool = pool.Clone(); *p = p.Settled() },
	} {
		t.Run(name, func(t *testing.T) {
			sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config})
			one, two := to("site", sink.Addr()), to("site", sink.Addr())
			one.Hops[0].TLS, two.Hops[0].TLS = base, base
			change(&two.Hops[0].TLS)
			h := start(t, routes{"one.example": one, "two.example": two}, Options{Settings: Settings{Client: smtpclient.Options{}}})
			for _, recipient := range []string{"a@one.example", "a@two.example", "b@one.example", "b@two.example"} {
				h.awaitFacts(h.submit("me@sender.example", recipient), mail.ReasonDelivered, 1)
			}
			by := make(map[int]string)
			for _, r := range sink.Received() {
				domain := r.To()[0][2:]
				if before := by[r.Connection]; before != "" && before != domain && name != "the same" {
					t.Errorf("connection %d carried mail of %s and of %s", r.Connection, before, domain)
				}
				by[r.Connection] = domain
			}
			want := 2
			if name == "the same" {
				want = 1
			}
			if len(by) != want {
				t.Errorf("%d connections, want %d", len(by), want)
			}
		})
	}
}
