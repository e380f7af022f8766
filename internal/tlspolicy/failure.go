package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Failure is why TLS with a server is not good enough.
type Failure struct {
	// Reply is temporary, and fit for a report to the sender: servers are mended, and so
	// are policies.
	Reply mail.Reply
	// Cause is what exactly is wrong, for operators. What it repeats of a certificate is bounded.
	Cause string

	public string
}

// Error returns the cause.
func (f *Failure) Error() string { return f.Cause }

// failf returns a failure of which the public is told in a sentence that names the host.
func failf(public, format string, args ...any) *Failure {
	return &Failure{Cause: fmt.Sprintf(format, args...), public: public}
}

// at gives the failure its reply.
func (f *Failure) at(host string) *Failure {
	f.Reply = mail.NewReply(451, "4.7.5", "TLS is required, but "+f.public, host)
	return f
}

// explain says what is wrong with a certificate that could not be verified.
func explain(err error, leaf *x509.Certificate, now time.Time) *Failure {
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return explainTime(invalid.Cert, leaf, now)
	case isUnknown && string(leaf.RawIssuer) == string(leaf.RawSubject):
		return failf("the certificate of %s is from no authority that is trusted here",
			"the certificate of %s is signed by nobody else", nameOf(leaf))
	case isUnknown:
		return failf("the certificate of %s is from no authority that is trusted here",
			"the certificate of %s is from %s, which no authority that is trusted vouches for", nameOf(leaf), quote(leaf.Issuer.String()))
	}
	return failf("the certificate of %s cannot be verified", "the certificate of %s cannot be verified: %v", nameOf(leaf), err)
}

// explainTime tells of a certificate, that of the server or of an issuer, that is not
// valid now.
func explainTime(wrong, leaf *x509.Certificate, now time.Time) *Failure {
	of := "the certificate of %s"
	if wrong != leaf && !wrong.Equal(leaf) {
		of = "the certificate of an issuer of that of %s"
	}
	if now.Before(wrong.NotBefore) {
		return failf(of+" is not valid yet", "the certificate of %s is valid from %s", nameOf(wrong), wrong.NotBefore.UTC().Format(time.RFC3339))
	}
	return failf(of+" has expired", "the certificate of %s expired on %s", nameOf(wrong), wrong.NotAfter.UTC().Format(time.RFC3339))
}

// Broken is what a handshake means that failed before any certificate was judged. It is nil unless
// the reason is known.
func (p Policy) Broken(host string, err error) *Failure {
	if failure, is := errors.AsType[*Failure](err); is {
		return failure
	}
	// Neither our own complaint of the version nor the alert for it has a type.
	if !strings.Contains(err.Error(), "protocol version") {
		return nil
	}
	f := failf("", "the server does not speak %s or a newer one: %v", tls.VersionName(p.Lowest()), err)
	f.Reply = mail.NewReply(451, "4.7.4", "%s is required, but %s does not speak it", tls.VersionName(p.Lowest()), host)
	return f
}

// maxShown bounds what is repeated of a certificate: whoever makes one writes into it what he likes.
const maxShown = 100

func quote(s string) string { return fmt.Sprintf("%.*q", maxShown, s) }

// nameOf is what a certificate is called.
func nameOf(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return quote(s)
	}
	return namesOf(c)
}

// maxNames bounds the names that are shown of a certificate.
const maxNames = 5

// namesOf are the names that a certificate is for.
func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name at all"
	}
	var shown []string
	for _, n := range names[:min(len(names), maxNames)] {
		shown = append(shown, quote(n))
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return strings.Join(shown, ", ")
}
