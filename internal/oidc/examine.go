package oidc

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/secure/precis"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/mail"
)

// Report is what was found out about a token.
type Report struct {
	// Algorithm, KeyID and Type are what its header says.
	Algorithm string `json:"algorithm,omitempty"`
	KeyID     string `json:"key_id,omitempty"`
	Type      string `json:"type,omitempty"`
	// Claims are those that were looked at, in this order.
	Claims []Claim `json:"claims"`
	// Principal is who it is; it counts if Err is nil.
	Principal mail.Principal `json:"-"`
	// Err is nil, a *Refusal, or why nothing can be said.
	Err error `json:"-"`
}

// Claim is a claim that was looked at.
type Claim struct {
	Name  string `json:"name"`
	Value string `json:"value"` // as JSON, clipped; empty: it is not there
}

// Examine finds out about a token, step by step, until one of them refuses it. user is
// as for Token. It is Token with all that was seen on the way.
func (s *Source) Examine(ctx context.Context, user, text string) Report {
	e := examination{Source: s, ctx: ctx, user: user, text: text, now: s.options.Clock.Now()}
	for _, step := range []func(*examination) error{
		(*examination).ours, (*examination).signed, (*examination).inTime, (*examination).forUs, (*examination).required,
		(*examination).allowed, (*examination).named, (*examination).account,
	} {
		if e.report.Err = step(&e); e.report.Err != nil {
			break
		}
	}
	return e.report
}

// examination is a token that is examined.
type examination struct {
	*Source
	ctx        context.Context
	user, text string
	now        time.Time

	claims claims
	name   string // of the account
	report Report
}

// see returns a claim, and notes that it was looked at.
func (e *examination) see(name string) {
	value, has := e.claims.get(name)
	shown := ""
	if has {
		shown = clip(asJSON(value))
	}
	e.report.Claims = append(e.report.Claims, Claim{name, shown})
}

// ours asks whether the issuer is the one of this source, so that others are not asked
// for keys in vain, and another source may be asked. Nothing is believed of the token
// yet. What is no JWT has no issuer; signed says what is wrong with it.
func (e *examination) ours() error {
	if len(e.text) > maxToken {
		return nil
	}
	_, rest, _ := strings.Cut(e.text, ".")
	middle, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(middle)
	if err != nil {
		return nil
	}
	c, err := parseClaims(payload)
	if err != nil {
		return nil
	}
	if issuer, is := c["iss"].(string); !is || issuer != e.config.Issuer {
		e.claims = c
		e.see("iss")
		r := e.refuse("the token is of the issuer %q, and not of %q", clip(issuer), e.config.Issuer)
		r.cause = auth.ErrUnknown
		return r
	}
	return nil
}

// signed asks whether one of the issuer's keys has signed it (RFC 7515 5.2).
func (e *examination) signed() error {
	t, err := parseToken(e.text, e.config.Algorithms)
	if err != nil {
		return e.refuse("%v", err)
	}
	e.report.Algorithm, e.report.KeyID, e.report.Type = t.algorithm, clip(t.keyID), clip(t.kind)
	payload, err := e.payload(t)
	if err != nil {
		return err
	}
	if e.claims, err = parseClaims(payload); err != nil {
		return e.refuse("%v", err)
	}
	e.see("iss")
	if issuer, is := e.claims["iss"].(string); !is || issuer != e.config.Issuer {
		return e.refuse("the token is of another issuer than it seemed to be")
	}
	return nil
}

// payload returns what the token says, verified. Keys that are not known are asked for.
func (e *examination) payload(t *token) ([]byte, error) {
	keys, err := e.known(e.now)
	asked := false
	if err != nil {
		if err := e.want(e.ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoKeys, err)
		}
		asked = true
		if keys, err = e.known(e.options.Clock.Now()); err != nil {
			return nil, err
		}
	}
	if payload, ok := t.verified(choose(keys, t.keyID, t.algorithm)); ok {
		return payload, nil
	}
	isKnown := t.keyID != "" && slices.ContainsFunc(keys, func(k key) bool { return k.id == t.keyID })
	if isKnown {
		return nil, e.refuse("the token was not signed by the key that it names, or that key is not for %s", t.algorithm)
	}
	if !asked {
		if err := e.want(e.ctx); err != nil {
			return nil, fmt.Errorf("the token names no key that is known, and the issuer cannot be asked: %w", err)
		}
		if keys, err = e.known(e.options.Clock.Now()); err != nil {
			return nil, err
		}
		if payload, ok := t.verified(choose(keys, t.keyID, t.algorithm)); ok {
			return payload, nil
		}
	}
	return nil, e.refuse("no key of the issuer has signed the token; it names %q", clip(t.keyID))
}

// inTime asks whether it is valid now: exp must be there (RFC 7519 4.1.4 to 4.1.6).
func (e *examination) inTime() error {
	for _, name := range []string{"exp", "nbf", "iat"} {
		at, has, err := e.claims.time(name)
		if has || name == "exp" {
			e.see(name)
		}
		switch {
		case err != nil:
			return e.refuse("%v", err)
		case name == "exp" && !has:
			return e.refuse("the token never expires: it has no claim exp")
		case name == "exp" && !e.now.Before(at.Add(e.config.ClockSkew)):
			return e.refuse("the token has expired at %s", stamp(at))
		case name != "exp" && has && at.After(e.now.Add(e.config.ClockSkew)):
			return e.refuse("the token is not valid before %s (%s)", stamp(at), name)
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// forUs asks whether it was made for this server (RFC 7519 4.1.3).
func (e *examination) forUs() error {
	e.see("aud")
	audience := e.claims.texts("aud")
	if !slices.ContainsFunc(e.config.Audience, func(a string) bool { return slices.Contains(audience, a) }) {
		return e.refuse("the token is for %q, and not for %q", clip(strings.Join(audience, " ")), strings.Join(e.config.Audience, " "))
	}
	return nil
}

// required asks whether it has the claims that a token must have.
func (e *examination) required() error {
	for _, c := range e.config.RequiredClaims {
		e.see(c.Name)
		if !e.claims.is(c.Name, c.Value) {
			return e.refuse("the claim %s of the token is not %q", c.Name, c.Value)
		}
	}
	return nil
}

// allowed asks whether it has the scopes.
func (e *examination) allowed() error {
	if len(e.config.Scopes) == 0 {
		return nil
	}
	scopes := e.claims.words("scope")
	name := "scope"
	if _, has := e.claims["scope"]; !has {
		name, scopes = "scp", e.claims.words("scp")
	}
	e.see(name)
	for _, want := range e.config.Scopes {
		if !slices.Contains(scopes, want) {
			r := e.refuse("the token lacks the scope %s", want)
			r.Status, r.Scope = insufficientScope, strings.Join(e.config.Scopes, " ")
			return r
		}
	}
	return nil
}

// The claims about a mail address (OpenID Connect Core 1.0, 5.1).
const (
	claimEmail    = "email"
	claimVerified = "email_verified"
)

// named finds the name of the account, which the client must have given.
func (e *examination) named() error {
	claim := e.config.UserClaim
	e.see(claim)
	name, err := e.claims.text(claim)
	if err != nil {
		return e.refuse("%v", err)
	}
	if claim == claimEmail {
		e.see(claimVerified)
		if !e.emailCounts() {
			return e.refuse("the token has a claim email that the issuer has not verified")
		}
	}
	if len(name) > maxName || strings.ContainsFunc(name, unicode.IsControl) {
		return e.refuse("the claim %s of the token is no name of an account", claim)
	}
	if e.user != "" && !sameName(e.user, name) {
		return e.refuse("the client says that it is %q, and the token is of %q", clip(e.user), clip(name))
	}
	e.name = name
	return nil
}

// emailCounts reports whether the claim email is to be believed. Some issuers write a
// boolean as text.
func (e *examination) emailCounts() bool {
	value, has := e.claims.get(claimVerified)
	if !has {
		return e.config.UnverifiedEmail
	}
	return value == true || value == "true"
}

// sameName compares two names of an account as the directory does (RFC 8265 3.3).
func sameName(a, b string) bool {
	return precis.UsernameCaseMapped.Compare(a, b) || a == b
}

// account finds what the account is and may do.
func (e *examination) account() error {
	groups := e.groups()
	if e.config.MustExist {
		who, ok := e.options.Account(e.name)
		if !ok {
			return e.refuse("there is no account %q in the directory that may be used", clip(e.name))
		}
		for _, g := range groups {
			if !slices.Contains(who.Groups, g) {
				who.Groups = append(slices.Clip(who.Groups), g)
			}
		}
		who.Source = e.config.Name
		e.report.Principal = who
		return nil
	}
	e.report.Principal = mail.Principal{
		Account:   mail.Account{Name: e.name, Source: e.config.Name},
		Services:  config.Services(e.config.Services, groups),
		Addresses: e.addresses(),
		Groups:    groups,
	}
	return nil
}

// groups are those that the token names.
func (e *examination) groups() []string {
	if e.config.GroupsClaim == "" {
		return nil
	}
	e.see(e.config.GroupsClaim)
	return e.claims.texts(e.config.GroupsClaim)
}

// maxAddresses bounds the addresses of an account.
const maxAddresses = 1000

// addresses are those that the token says belong to the account.
func (e *examination) addresses() []string {
	var list []string
	for _, claim := range e.config.AddressClaims {
		e.see(claim)
		if claim == claimEmail && !e.emailCounts() {
			continue
		}
		for _, text := range e.claims.texts(claim) {
			if a, ok := parseOwn(text); ok && !slices.Contains(list, a) && len(list) < maxAddresses {
				list = append(list, a)
			}
		}
	}
	return list
}

// parseOwn reads an address of an account. A local part of a star is one by RFC 5321,
// and in a Principal all addresses of a domain: no token has those.
func parseOwn(text string) (address string, ok bool) {
	a, err := mail.ParseAddress(text)
	return a.String(), err == nil && a.Domain != "" && a.Local != "*"
}
