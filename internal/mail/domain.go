package mail

import (
	"strings"

	"golang.org/x/net/idna"
)

// ASCIIDomain returns a domain as DNS knows it, its U-labels as A-labels
// (RFC 5891 4): "xn--bcher-kva.example" for "bücher.example". A domain that is
// ASCII stays as it is: it may be older than those rules.
//
// It fails when the domain has no such form, or that is no domain (CheckDomain).
func ASCIIDomain(domain string) (string, error) {
	if !isASCII(domain) {
		// STD3 rules would forbid the underscores that real mail domains have.
		profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))
		var err error
		if domain, err = profile.ToASCII(domain); err != nil {
			return "", err
		}
	}
	return domain, CheckDomain(domain)
}

// SameDomain reports whether two domains are one, in whatever case and form
// they are written.
func SameDomain(a, b string) bool {
	if a == b || isASCII(a) && isASCII(b) {
		return strings.EqualFold(a, b)
	}
	a, errA := ASCIIDomain(a)
	b, errB := ASCIIDomain(b)
	return errA == nil && errB == nil && strings.EqualFold(a, b)
}
