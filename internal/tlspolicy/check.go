package tlspolicy

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/internal/mail"
)

// Check judges one handshake with a server under a policy. It is used once, by one
// goroutine.
type Check struct {
	policy Policy
	host   string
	roots  *x509.CertPool // nil: those of the system
	now    func() time.Time
	found  mail.TLSPolicy
}

// Check returns the check of a handshake with the server that the route calls host. Base has what the
// policy does not know; its roots stand for those that the system trusts.
func (p Policy) Check(host string, base *tls.Config, now func() time.Time) (*Check, *tls.Config) {
	c := &Check{policy: p, host: strings.Trim(host, "[]."), now: now, found: p.describe()}
	config := base.Clone()
	c.roots = cmp.Or(p.roots(), base.RootCAs)
	config.ServerName = c.serverName()
	config.Time = now
	config.MinVersion = p.Lowest()
	// The check is ours, so that it can say what is wrong.
	config.InsecureSkipVerify = true
	config.VerifyConnection = c.judge
	if p.Certificate != nil {
		config.GetClientCertificate = c.show
	}
	return c, config
}

// serverName is the name that the server is asked for (RFC 6066 3), so that it can choose a certificate:
// its own, or if the route has only an address, the first that its certificate may be for.
func (c *Check) serverName() string {
	if _, err := netip.ParseAddr(c.host); err != nil {
		return c.host
	}
	for _, name := range c.policy.Names.each() {
		if !strings.HasPrefix(name, "*") {
			return name
		}
	}
	return c.host
}

// describe is what is known of a policy before any handshake.
func (p Policy) describe() mail.TLSPolicy {
	return mail.TLSPolicy{Level: string(p.Level), Source: p.Source}
}

// Clear is what is to be told of a connection in clear, for a reason.
func (p Policy) Clear(because string) *mail.TLSPolicy {
	told := p.describe()
	told.Met, told.Because = !p.Demanded(), because
	return &told
}

// Unmet is what is to be told of a connection on which TLS failed before the handshake.
func (p Policy) Unmet(err error) *mail.TLSPolicy {
	told := p.describe()
	told.Because = err.Error()
	return &told
}

// Told is what is to be told of the handshake, which has ended with err.
func (c *Check) Told(err error) *mail.TLSPolicy {
	c.found.Met = err == nil
	if err != nil {
		c.found.Because = err.Error()
	}
	return &c.found
}

// show returns the certificate for a server that asks for one, if the server can use its key.
// From which authorities the server would have one is its own affair: the configuration names this.
func (c *Check) show(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	own := c.policy.Certificate.Certificate()
	if own == nil {
		return &tls.Certificate{}, nil
	}
	usable := *asked
	usable.AcceptableCAs = nil
	if usable.SupportsCertificate(own) != nil {
		return &tls.Certificate{}, nil
	}
	c.found.Certificate = c.policy.Certificate.Name()
	return own, nil
}

// judge decides whether the certificate of the server is good enough.
func (c *Check) judge(state tls.ConnectionState) error {
	var failure *Failure
	switch c.policy.Level {
	case Verify:
		failure = c.verify(state.PeerCertificates)
	case Pin:
		failure = c.compare(state.PeerCertificates[0])
	default:
		c.found.Because = "the certificate may be anybody's"
	}
	if failure != nil {
		return failure
	}
	return nil
}

// compare wants a certificate with a pin. Its dates and names are of no interest: whoever has
// the key is the server.
func (c *Check) compare(leaf *x509.Certificate) *Failure {
	pin, what, found := c.policy.Pins.of(leaf)
	if !found {
		return failf("%s has another key than was expected",
			"no pin of %d is that of the certificate of %s: its key is %s, and itself it is %s",
			c.policy.Pins.count(), nameOf(leaf), mail.KeyPin(leaf), mail.CertificatePin(leaf)).at(c.host)
	}
	c.found.Pin, c.found.Because = pin.String(), "the "+what+" of the server is pinned"
	return nil
}

// verify wants a certificate that is for the name, and leads to an authority.
func (c *Check) verify(shown []*x509.Certificate) *Failure {
	leaf := shown[0]
	c.found.Trust = "system"
	if c.policy.Trust != nil {
		c.found.Trust = c.policy.Trust.Name()
	}
	name, good := c.wanted().good(leaf)
	if !good {
		return failf("the certificate of %s is for other names",
			"the certificate is for %s, and not for %s", namesOf(leaf), strings.Join(c.wanted().each(), " or ")).at(c.host)
	}
	issuers := x509.NewCertPool()
	for _, other := range shown[1:] {
		issuers.AddCert(other)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: c.roots, Intermediates: issuers, CurrentTime: c.now()})
	if err != nil {
		return explain(err, leaf, c.now()).at(c.host)
	}
	authority := chains[0][len(chains[0])-1]
	c.found.Name = name
	c.found.Because = fmt.Sprintf("the certificate is for %s, and %s vouches for it", name, nameOf(authority))
	return nil
}

// wanted are the names for one of which the certificate must be.
func (c *Check) wanted() Names { return cmp.Or(c.policy.Names, NamesOf(c.host)) }
