package alignment

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/internal/dkim"
	"postern/internal/dns"
)

// Policy is what a domain asks to be done with mail for which neither SPF nor DKIM speaks
// (RFC 7489 6.3).
type Policy string

// The policies.
const (
	PolicyNone       Policy = "none"
	PolicyQuarantine Policy = "quarantine"
	PolicyReject     Policy = "reject"
)

// DMARC is the record of a domain (RFC 7489 6.3).
type DMARC struct {
	// At is the domain that has it.
	At string `json:"at" doc:"The domain that has the record: its own, or the organizational one"`
	// Policy is that for mail of the domain that was looked at.
	Policy Policy `json:"policy" enum:"none,quarantine,reject"`
	// Below is that for domains below it, if the record has another.
	Below Policy `json:"below,omitempty" doc:"What it asks for domains below it (sp=)"`
	// StrictDKIM and StrictSPF ask for the same domain, and not only one of the same organization.
	StrictDKIM bool `json:"strict_dkim"`
	StrictSPF  bool `json:"strict_spf"`
	// Reports says that the domain wants reports.
	Reports bool `json:"reports"`
}

// Errors of records.
var (
	errVersion = errors.New("it does not begin with v=DMARC1")
	errPolicy  = errors.New("its p= is none of none, quarantine and reject")
)

// ParseDMARC reads a record. What is wrong in it and does not matter for its policy counts as
// not there (RFC 7489 6.3).
func ParseDMARC(text string) (*DMARC, error) {
	first, _, _ := strings.Cut(text, ";")
	name, value, _ := strings.Cut(first, "=")
	if strings.TrimSpace(name) != "v" || strings.TrimSpace(value) != "DMARC1" { // RFC 7489 6.3: exactly so
		return nil, errVersion
	}
	list, err := dkim.ParseTags(text)
	if err != nil {
		return nil, err
	}
	tags := dkim.Values(list)
	d := &DMARC{
		StrictDKIM: strings.EqualFold(tags["adkim"], "s"), StrictSPF: strings.EqualFold(tags["aspf"], "s"), Reports: tags["rua"] != "",
	}
	var known bool
	if d.Below, known = policyOf(tags["sp"]); !known {
		d.Below = ""
	}
	if d.Policy, known = policyOf(tags["p"]); !known {
		if !d.Reports {
			return nil, fmt.Errorf("%w: %.40q", errPolicy, tags["p"])
		}
		d.Policy = PolicyNone // RFC 7489 6.6.3, 6
	}
	return d, nil
}

func policyOf(s string) (Policy, bool) {
	p := Policy(strings.ToLower(s))
	return p, p == PolicyNone || p == PolicyQuarantine || p == PolicyReject
}

// dmarc asks what the domain wants, and whether our mail will be what it asks for.
func (c Checker) dmarc(ctx context.Context, r *Alignment) {
	c.findDMARC(ctx, r)
	signed := r.Signer != "" && c.aligned(r, r.Signer)
	if r.Signer != "" && !signed {
		r.find(Warning, "postern dkim key add "+r.Domain, "From %s is signed by %s, which DMARC does not take for the same domain", r.Domain, r.Signer)
	}
	covered := len(r.SPF.Results) > 0
	for _, s := range r.SPF.Results {
		covered = covered && s.Result == "pass"
	}
	if c.Signing == nil || r.DMARC == nil || signed || covered {
		return
	}
	level := Problem
	if r.DMARC.Policy == PolicyNone {
		level = Note
	}
	r.find(level, "postern dkim key add "+r.Domain, "neither DKIM nor SPF speaks for mail of %s, and DMARC asks for p=%s", r.Domain, r.DMARC.Policy)
}

// findDMARC finds the record (RFC 7489 6.6.3).
func (c Checker) findDMARC(ctx context.Context, r *Alignment) {
	for _, at := range []string{r.Domain, Organizational(r.Domain)} {
		texts, err := c.Resolver.LookupText(ctx, "_dmarc."+at)
		if err != nil && !errors.Is(err, dns.ErrNotFound) {
			r.find(Warning, "ask again later", "the DMARC record of %s could not be looked up: %v", at, err)
			return
		}
		d, err := theOne(texts)
		if err != nil {
			r.find(Problem, "mend it", "the DMARC record of %s is wrong: %v", at, err)
			return
		}
		if d == nil {
			continue
		}
		if d.At = at; at != r.Domain && d.Below != "" {
			d.Policy = d.Below
		}
		r.DMARC = d
		return
	}
	r.find(Note, fmt.Sprintf("publish a TXT record at _dmarc.%s, such as \"v=DMARC1; p=none; rua=mailto:postmaster@%[1]s\"", Organizational(r.Domain)),
		"%s has no DMARC record, which large receivers ask of who sends much", r.Domain)
}

// theOne returns the record among texts; nil if there is none.
func theOne(texts []string) (*DMARC, error) {
	var found *DMARC
	for _, text := range texts {
		d, err := ParseDMARC(text)
		switch {
		case errors.Is(err, errVersion): // it is something else
		case err != nil:
			return nil, err
		case found != nil:
			return nil, errors.New("there are two, which is as none (RFC 7489 6.6.3)")
		default:
			found = d
		}
	}
	return found, nil
}

// aligned reports whether DMARC takes the domain of a signature for that of the author (RFC
// 7489 3.1.1).
func (c Checker) aligned(r *Alignment, signer string) bool {
	if r.DMARC != nil && r.DMARC.StrictDKIM {
		return signer == r.Domain
	}
	return Organizational(signer) == Organizational(r.Domain)
}
