package doctor

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
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

// Shown is a certificate that a listener shows to clients.
type Shown struct {
	Name string // of it, or of its file
	// Blocks says that the server does not start again once it has expired.
	Blocks      bool
	Certificate *tls.Certificate
}

// Certificates looks at the certificates of a listener, which are valid now. None is for
// others to tell.
func Certificates(l *config.Listener, shown []Shown, hostname string, now time.Time) []config.Problem {
	key := "listener.tls_certificate"
	if l.TLSCertificate == "" {
		key = "listener.certificates"
	}
	var problems []config.Problem
	say := func(message, hint string) { problems = append(problems, l.Problem(key, message, hint)) }
	for _, s := range shown {
		leaf := s.Certificate.Leaf
		if left := leaf.NotAfter.Sub(now); left < soon {
			then := "clients that verify it send no mail"
			if s.Blocks {
				then = "the server does not start again"
			}
			say(fmt.Sprintf("%s expires at %s, and then %s", s.Name, leaf.NotAfter.UTC().Format(time.RFC3339), then),
				"renew it now; see why it was not renewed")
		}
		if key, is := leaf.PublicKey.(*rsa.PublicKey); is && key.N.BitLen() < leastRSA {
			say(fmt.Sprintf("%s has an RSA key of %d bits, which can be broken", s.Name, key.N.BitLen()),
				fmt.Sprintf("make one of at least %d bits, or an ECDSA key", leastRSA))
		}
		if message, hint := chainFault(s.Certificate); message != "" {
			say(s.Name+" "+message, hint)
		}
	}
	is := func(s Shown) bool { return s.Certificate.Leaf.VerifyHostname(hostname) == nil }
	if len(shown) > 0 && !slices.ContainsFunc(shown, is) {
		say(fmt.Sprintf("%s is not for %s: clients that verify it send no mail", shown[0].Name, hostname), "get one that has hostname among its names")
	}
	return problems
}

// weakSignatures are those that can be forged (RFC 9155).
var weakSignatures = []x509.SignatureAlgorithm{x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1}

// chainFault says what is wrong with a certificate and those of its issuers that are sent
// with it, and what would be right; "" if nothing is.
func chainFault(c *tls.Certificate) (message, hint string) {
	issued := c.Leaf
	for i := range c.Certificate {
		link, err := x509.ParseCertificate(c.Certificate[i])
		selfSigned := err == nil && string(link.RawIssuer) == string(link.RawSubject)
		switch {
		case err != nil:
			return fmt.Sprintf("has a certificate behind the first that cannot be read: %v", err), "put only certificates of its issuers there, in order"
		case i > 0 && (string(link.RawSubject) != string(issued.RawIssuer) || issued.CheckSignatureFrom(link) != nil):
			return fmt.Sprintf("is followed by the certificate of %s, which is not the issuer of the one before it", link.Subject),
				"put the certificates of its issuers behind it, in order, and nothing else"
		case !selfSigned && slices.Contains(weakSignatures, link.SignatureAlgorithm):
			return fmt.Sprintf("has a signature (%s) that can be forged, and that clients refuse", link.SignatureAlgorithm), "get one that is signed with SHA-256"
		}
		issued = link
	}
	if len(c.Certificate) == 1 && fromElsewhere(issued) {
		return "comes without the certificate of its issuer, " + issued.Issuer.String() + ": clients that do not have that cannot verify it",
			"put those of its issuers behind it in the same file (often called fullchain.pem)"
	}
	return "", ""
}

// fromElsewhere reports whether the issuer of a certificate is one that the system does
// not trust by itself, and that says where its own certificate can be had: so do those that are
// between a well known authority and this certificate (RFC 5280 4.2.2.1).
func fromElsewhere(c *x509.Certificate) bool {
	_, err := c.Verify(x509.VerifyOptions{CurrentTime: c.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err != nil && len(c.IssuingCertificateURL) > 0
}
