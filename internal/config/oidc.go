package config

import (
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// OIDC is one table [[oidc]].
type OIDC struct {
	Placed

	Name            string // unique among all sources
	Issuer          string // a URL, as the issuer writes it
	Audience        []string
	UserClaim       string
	UnverifiedEmail bool
	MustExist       bool
	AddressClaims   []string
	GroupsClaim     string // empty: none
	Services        []Grant
	RequiredClaims  []Claim
	Scopes          []string
	Algorithms      []string
	ClockSkew       time.Duration
	Authorities     string // a file; empty: those of the system
	Timeout         time.Duration
	Refresh         time.Duration
	KeyWait         time.Duration
	KeepKeys        time.Duration
}

// DefaultOIDC returns a table with every default set. Name, Issuer and Audience have none.
func DefaultOIDC() OIDC { return defaultTable[OIDC]("oidc") }

// Problem returns one with a setting of the issuer, which it names, at its place if it was
// set, else at that of the table.
func (o *OIDC) Problem(key, message, hint string) Problem {
	return o.Placed.Problem(key, "oidc "+o.Name+": "+message, hint)
}

// Wrong returns the problem that the value of a setting of the issuer cannot be used.
func (o *OIDC) Wrong(key string, err error) Problem {
	return o.Problem(key, err.Error(), "").because(err)
}

// Claim is a claim of a token with the value that it must have.
type Claim struct{ Name, Value string }

// String returns it as it is written.
func (c Claim) String() string { return c.Name + "=" + c.Value }

// Grant is a service that an account has: each, or those of a group.
type Grant struct {
	Service Service
	Group   string // empty: each account
}

// String returns it as it is written.
func (g Grant) String() string {
	if g.Group == "" {
		return string(g.Service)
	}
	return string(g.Service) + "=" + g.Group
}

// Service is what an account may do.
type Service string

// The services of accounts.
const (
	ServiceSubmit Service = "submit"
	ServiceRelay  Service = "relay"
	ServicePOP    Service = "pop"
)

// Services returns what the grants give to an account that is in groups.
func Services(grants []Grant, groups []string) mail.Services {
	var s mail.Services
	for _, g := range grants {
		if g.Group != "" && !slices.Contains(groups, g.Group) {
			continue
		}
		switch g.Service {
		case ServiceSubmit:
			s.Submit = true
		case ServiceRelay:
			s.Relay = true
		case ServicePOP:
			s.POP = true
		}
	}
	return s
}

// maxClaim bounds the name of a claim, and what is compared with one.
const maxClaim = 255

// claimName is the name of a claim (RFC 7519 4: any text).
var claimName = textType("name of a claim", "names of claims", `write the name as it stands in the token, such as "email"; dots lead into a claim that is an object`,
	func(s string) (string, *fault) {
		if !isToken(s) {
			return "", faultf("", "%q is not the name of a claim", clip(s))
		}
		return s, nil
	})

// isToken reports whether a text can be the name of a claim or a scope: printable
// ASCII without spaces (RFC 6749 3.3 for a scope).
func isToken(s string) bool {
	other := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }
	return s != "" && len(s) <= maxClaim && !strings.ContainsFunc(s, other)
}

var claim = textType("claim", "claims", `write the name of the claim, "=" and its value, such as "hd=example.com"`,
	func(s string) (Claim, *fault) {
		name, value, found := strings.Cut(s, "=")
		if !found || !isToken(name) || value == "" || len(value) > maxClaim {
			return Claim{}, faultf("", "%q is not a claim with a value", clip(s))
		}
		return Claim{name, value}, nil
	})

var scope = textType("scope", "scopes", `write each scope as a text of its own, such as "mail.send"`,
	func(s string) (string, *fault) {
		if !isToken(s) {
			return "", faultf("", "%q is not a scope", clip(s))
		}
		return s, nil
	})

var audience = textType("audience", "audiences", `write what the issuer puts into the claim aud, such as the client ID of the mail programs`,
	func(s string) (string, *fault) {
		if s == "" || len(s) > maxClaim {
			return "", faultf("", "%q is not an audience", clip(s))
		}
		return s, nil
	})

var grant = textType("service", "services", `write "submit", "relay" or "pop", and behind "=" the group that has it, if it is not for everybody: "relay=mail-senders"`,
	func(s string) (Grant, *fault) {
		service, group, limited := strings.Cut(s, "=")
		g := Grant{Service(service), group}
		known := slices.Contains([]Service{ServiceSubmit, ServiceRelay, ServicePOP}, g.Service)
		if !known || limited && (group == "" || len(group) > maxClaim) {
			return Grant{}, faultf("", "%q is not a service", clip(s))
		}
		return g, nil
	})

// tokenAlgorithms are the algorithms of signatures that can be allowed (RFC 7518 3.1,
// RFC 8037 3.1): those of a key pair. "none" is no signature, and with HS256 and its
// like whoever verifies can sign.
var tokenAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// usualAlgorithms are those that count when nothing else is said.
var usualAlgorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}

var algorithm = textType("algorithm", "algorithms", "write one of "+strings.Join(tokenAlgorithms, ", "),
	func(s string) (string, *fault) {
		switch {
		case slices.Contains(tokenAlgorithms, s):
			return s, nil
		case strings.EqualFold(s, "none"):
			return "", faultf("", "%q is no signature: everybody could make tokens", clip(s))
		case slices.Contains([]string{"HS256", "HS384", "HS512"}, s):
			return "", faultf("", "%q has no key pair: with the key that verifies a token everybody could make one", clip(s))
		}
		return "", faultf("", "%q is not the name of an algorithm", clip(s))
	})

// checkOIDC wants no more issuers than can be kept an eye on, and lists that let
// somebody in.
func (d *decoder) checkOIDC() {
	for _, t := range d.tables["oidc"] {
		d.checkNotEmpty(t, "audience", "name at least one: tokens that were made for others would be taken")
		d.checkNotEmpty(t, "algorithms", "name those that the issuer signs with, or leave it out")
		if o, at := t.fields.oidc, t.given["keep_keys"]; o.KeepKeys < o.Refresh {
			if _, is := t.given["keep_keys"]; !is {
				at = t.given["refresh"]
			}
			d.fault(at.value, "oidc.keep_keys", faultf("set keep_keys to more, or refresh to less",
				"is %s, and refresh is %s: the keys would be given up before they are asked for again", formatDuration(o.KeepKeys), formatDuration(o.Refresh)))
		}
	}
}

// checkNotEmpty wants a list that is given to have something in it.
func (d *decoder) checkNotEmpty(t *table, setting, hint string) {
	if at, is := t.given[setting]; is && at.node.kind == nodeList && len(at.node.items) == 0 {
		d.fault(at.value, t.section.name+"."+setting, faultf(hint, "is empty"))
	}
}

// withoutDirectory is whether an account must be in the directory, which had better
// be so where the issuer serves others too.
func withoutDirectory(s scalar[bool]) scalar[bool] {
	s.unwise = func(must bool) *fault {
		if must {
			return nil
		}
		return advicef("set required_claims or services so that only your own people are let in, and read docs/oidc.md",
			"is %s: whoever gets a token of this issuer for the audience has an account here", s.show(must))
	}
	return s
}
