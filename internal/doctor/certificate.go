package doctor

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"time"

	"postern/internal/config"
)

const (
	// soon is how long before its end a certificate should have been renewed:
	// those of 90 days are renewed 30 days before, and some try at night only.
	soon = 14 * 24 * time.Hour
	// leastRSA is the length of a key that is still good (NIST SP 800-131A).
	leastRSA = 2048
)

// Certificate looks at the certificate of a listener, which is valid now.
func Certificate(l *config.Listener, leaf *x509.Certificate, hostname string, now time.Time) []config.Problem {
	var problems []config.Problem
	say := func(message, hint string) {
		problems = append(problems, l.Problem("listener.tls_certificate", message, hint))
	}
	if left := leaf.NotAfter.Sub(now); left < soon {
		say(fmt.Sprintf("%s expires at %s, and then the server does not start again", l.TLSCertificate, leaf.NotAfter.UTC().Format(time.RFC3339)),
			"renew it now; see why it was not renewed")
	}
	if err := leaf.VerifyHostname(hostname); err != nil {
		say(fmt.Sprintf("%s is not for %s: clients that verify it send no mail", l.TLSCertificate, hostname),
			"get one that has hostname among its names")
	}
	if key, is := leaf.PublicKey.(*rsa.PublicKey); is && key.N.BitLen() < leastRSA {
		say(fmt.Sprintf("%s has an RSA key of %d bits, which can be broken", l.TLSCertificate, key.N.BitLen()),
			fmt.Sprintf("make one of at least %d bits, or an ECDSA key", leastRSA))
	}
	return problems
}
