package deliver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/internal/certs"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// tlsPeer is a server as it may be, with what its certificate is.
type tlsPeer struct {
	name   string
	sink   mailtest.SinkOptions
	pinned *x509.Certificate // whose key policies with a pin name
}

// maker makes certificates that are valid at a time of the clock.
type maker struct {
	*testing.T
	authority tls.Certificate
}

func newMaker(t *testing.T, authority string) maker {
	c, err := certs.NewAuthority(authority, certs.Options{Lifetime: 1000 * 24 * time.Hour, Clock: mail.NewManualClock(begin.AddDate(-1, 0, 0))})
	if err != nil {
		t.Fatal(err)
	}
	return maker{t, c}
}

// issue makes a certificate for a name, valid for a day from a time on.
func (m maker) issue(authority *tls.Certificate, name string, from time.Time) tls.Certificate {
	m.Helper()
	o := certs.Options{Names: []string{name}, Clock: mail.NewManualClock(from)}
	c, err := certs.SelfSigned(o)
	if authority != nil {
		c, err = certs.Issue(authority, o)
	}
	if err != nil {
		m.Fatal(err)
	}
	return c
}

// with is a server that shows a certificate.
func (m maker) with(name string, c tls.Certificate) tlsPeer {
	return tlsPeer{name, mailtest.SinkOptions{TLS: &tls.Config{Certificates: []tls.Certificate{c}}}, c.Leaf}
}

// tlsPeers are the servers of the matrix.
func tlsPeers(t *testing.T) (peers []tlsPeer, trusted *x509.CertPool) {
	m, stranger := newMaker(t, "Good CA"), newMaker(t, "Strange CA")
	const host = "mx0.example"
	good, other := m.issue(&m.authority, host, begin), m.issue(&m.authority, host, begin)
	old := m.with("speaks TLS 1.1 at most", good)
	old.sink.TLS.MinVersion, old.sink.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	changed := m.with("has another key than is pinned", good)
	changed.pinned = other.Leaf
	broken := mailtest.SinkOptions{TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none today") }}}
	trusted = x509.NewCertPool()
	trusted.AddCert(m.authority.Leaf)
	return []tlsPeer{
		m.with("has a good certificate", good),
		{"offers no TLS, or somebody before it takes STARTTLS out", mailtest.SinkOptions{}, good.Leaf},
		{"refuses STARTTLS", mailtest.SinkOptions{StartTLS: "454 4.7.0 Not now"}, good.Leaf},
		{"sends replies in clear behind that to STARTTLS", mailtest.SinkOptions{StartTLS: "220 Go\r\n250 Injected"}, good.Leaf},
		{"breaks the handshake off", broken, good.Leaf},
		old,
		m.with("has a certificate that is signed by itself", m.issue(nil, host, begin)),
		m.with("has a certificate for another name", m.issue(&m.authority, "mx.elsewhere.example", begin)),
		m.with("has a certificate that has expired", m.issue(&m.authority, host, begin.AddDate(0, 0, -30))),
		m.with("has a certificate that is not valid yet", m.issue(&m.authority, host, begin.AddDate(0, 0, 30))),
		m.with("has a certificate of an authority that nobody knows", stranger.issue(&stranger.authority, host, begin)),
		changed,
	}, trusted
}

// matrixPolicies are those under which mail goes to each.
var matrixPolicies = []tlspolicy.Level{tlspolicy.None, tlspolicy.Opportunistic, tlspolicy.Required, tlspolicy.Verify, tlspolicy.Pin}

// TestTLSMatrix: what becomes of mail by each policy of TLS, to each server as it may be.
// docs/tls-out.md has what was observed. Nothing that has to go by TLS is ever seen in clear.
func TestTLSMatrix(t *testing.T) {
	peers, trusted := tlsPeers(t)
	var page strings.Builder
	for _, peer := range peers {
		fmt.Fprintf(&page, "\n### The server %s\n\n| policy | outcome | reply | fact |\n|---|---|---|---|\n", peer.name)
		for _, level := range matrixPolicies {
			page.WriteString(matrixRow(t, peer, level, trusted))
		}
	}
	comparePage(t, "tls-out.md", page.String()[1:])
}

// varying is what differs from run to run in what is told.
var varying = regexp.MustCompile(`sha256/[A-Za-z0-9+/]{43}=`)

// matrixRow sends a message to a server, and tells what came of it.
func matrixRow(t *testing.T, peer tlsPeer, level tlspolicy.Level, trusted *x509.CertPool) string {
	sink := mailtest.NewSinkWith(t, peer.sink)
	way := withTLS(to("site", sink.Addr()), level)
	way.Hops[0].TLS.Source = "transport partners"
	way.Hops[0].TLS.Pins = tlspolicy.PinsOf(mail.KeyPin(peer.pinned))
	client := smtpclient.Options{TLSConfig: &tls.Config{RootCAs: trusted}, Clock: mail.NewManualClock(begin.Add(time.Hour))}
	h := start(t, routes{"": way}, Options{Settings: Settings{Client: client}})
	id := h.submit("me@sender.example", "a@x.example")
	var attempted, ended mail.Fact
	await(t, "an attempt has ended", func() bool {
		for _, f := range h.facts(id) {
			switch f.Reason {
			case mail.ReasonAttempted:
				attempted = f
			case mail.ReasonDelivered, mail.ReasonRelayed, mail.ReasonDeferred:
				ended = f
			}
		}
		return ended.Reason != ""
	})
	h.finish()
	for _, r := range sink.Received() {
		if r.TLS != (attempted.TLS != nil) || !r.TLS && (tlspolicy.Policy{Level: level}).Demanded() {
			t.Errorf("%s, %s: came with TLS %v, and the fact says %+v", peer.name, level, r.TLS, attempted.TLS)
		}
	}
	if got := attempted.TLSPolicy; got == nil || got.Met != (len(sink.Received()) == 1) || got.Level != string(level) {
		t.Errorf("%s, %s: %d messages came, and the fact says %+v", peer.name, level, len(sink.Received()), got)
	}
	outcome, reply := string(ended.Reason), ""
	if !ended.Remote {
		reply = ended.Reply.String()
	}
	switch {
	case attempted.TLS != nil:
		outcome += ", " + attempted.TLS.Version
	case len(sink.Received()) > 0:
		outcome += ", in clear"
	}
	told := attempted.TLSPolicy.Because
	if !attempted.TLSPolicy.Met {
		told = "not met: " + told
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", level, outcome, reply, varying.ReplaceAllString(told, "sha256/…"))
}
