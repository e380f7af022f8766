// Package alignment says what other servers will find in DNS of the mail that this one
// sends for a domain: whether the records of its keys are there (DKIM, RFC 6376), whether
// its addresses may send (SPF, RFC 7208), and what the domain asks to be done with mail for which neither
// speaks (DMARC, RFC 7489).
//
// It asks DNS, a bounded number of questions, and changes nothing. What DNS does not answer is
// a finding, and no error.
package alignment

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/internal/dkim"
	"postern/internal/dns"
	"postern/internal/mail"
)

// Resolver is what is asked: DNS alone, without a file of host names.
type Resolver interface {
	dns.Resolver
	LookupText(ctx context.Context, name string) ([]string, error)
	LookupAlias(ctx context.Context, name string) (string, error)
}

// Checker looks at domains for which mail is sent.
type Checker struct {
	Resolver Resolver
	// Signing says who signs for a domain. Nil: nobody knows.
	Signing *dkim.Signing
	// Sources are the addresses from which mail leaves, as others see them; none: they are not
	// known.
	Sources []netip.Addr
	// Relayed says that others send on what leaves, from addresses of theirs.
	Relayed bool
	// Hostname is the name in EHLO.
	Hostname string
}

// Level is how bad a finding is.
type Level string

// The levels.
const (
	Problem Level = "problem" // mail is refused for it, or taken for forged
	Warning Level = "warning" // it may be
	Note    Level = "note"    // to be known
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Level Level  `json:"level" enum:"problem,warning,note"`
	Text  string `json:"text" doc:"What was found"`
	Hint  string `json:"hint,omitempty" doc:"What to do"`
}

// Alignment is what was found of a domain.
type Alignment struct {
	Domain string         `json:"domain"`
	Signer string         `json:"signer,omitempty" doc:"The domain that signs its mail (d=); none if nobody does"`
	Keys   []PublishedKey `json:"keys" doc:"The keys of that domain, with what DNS has of them"`
	SPF    SPF            `json:"spf"`
	DMARC  *DMARC         `json:"dmarc,omitempty" doc:"What the domain asks; absent if it asks nothing"`
	// Findings are what is wrong, the worst first.
	Findings []Finding `json:"findings"`
}

// PublishedKey is a key with what DNS has of it.
type PublishedKey struct {
	Name  string     `json:"name" doc:"The name of its record"`
	State dkim.State `json:"state"`
	Good  bool       `json:"good" doc:"Whether its record is as it should be"`
}

// SPF is what the record of a domain says of our addresses.
type SPF struct {
	Record  string      `json:"record,omitempty" doc:"The record; none if there is none"`
	Results []SPFResult `json:"results" doc:"What it says of each address from which mail leaves"`
}

// SPFResult is what SPF says of one address (RFC 7208 2.6).
type SPFResult struct {
	Address netip.Addr `json:"address"`
	Result  string     `json:"result" doc:"pass, fail, softfail, neutral, none, temperror or permerror"`
}

// Organizational returns the organizational domain of a domain (RFC 7489 3.2): that below
// the public suffix. A domain that has none above it is its own.
func Organizational(domain string) string {
	if top, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(domain)); err == nil {
		return top
	}
	return strings.ToLower(domain)
}

// find notes a finding.
func (r *Alignment) find(level Level, hint, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{level, fmt.Sprintf(format, args...), hint})
}

// Check looks at a domain. It fails with dkim.ErrDomain when that is none.
func (c Checker) Check(ctx context.Context, domain string) (*Alignment, error) {
	domain, err := dkim.Domain(domain)
	if err != nil {
		return nil, err
	}
	r := &Alignment{Domain: domain, Keys: []PublishedKey{}, SPF: SPF{Results: []SPFResult{}}, Findings: []Finding{}}
	c.dkim(ctx, r)
	c.spf(ctx, r)
	c.dmarc(ctx, r)
	order := []Level{Problem, Warning, Note}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return slices.Index(order, a.Level) - slices.Index(order, b.Level) })
	return r, nil
}

// dkim looks at who signs, and at the records of the keys.
func (c Checker) dkim(ctx context.Context, r *Alignment) {
	if c.Signing == nil {
		r.find(Note, "ask as the user of the server", "which keys there are is not known: they can be read by the server's user alone")
		return
	}
	signer, err := c.Signing.Signer(r.Domain, mail.Address{Local: "postmaster", Domain: r.Domain})
	if err != nil {
		r.find(Problem, "see postern dkim key list", "mail of %s is deferred: %v", r.Domain, errors.Unwrap(err))
	}
	r.Signer = signer
	of := signer
	if of == "" {
		of = r.Domain
	}
	keys, err := c.Signing.Store.Of(of)
	if signer == "" && err != nil {
		r.find(Warning, "postern dkim key add "+r.Domain, "mail of %s is signed by no key", r.Domain)
		return
	}
	for i := range keys {
		before := len(r.Findings)
		c.key(ctx, r, &keys[i])
		r.Keys = append(r.Keys, PublishedKey{keys[i].Name(), keys[i].State, len(r.Findings) == before})
	}
	if signer == "" {
		r.find(Warning, "publish the records that are missing; the server looks for them twice a minute, and signs from then on", "mail of %s is signed by no key yet: those of it wait until the server has seen their records", r.Domain)
	}
}
