package ldap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/auth"
	"postern/internal/mail"
)

// maxLogin bounds the name of a user, in octets.
const maxLogin = 255

// maxValues bounds what is taken of the addresses, groups and certificates of a user.
const maxValues = 1000

// user is what the directory says of one.
type user struct {
	dn           string
	principal    mail.Principal
	barred       string    // why the account must not be used; empty if it may
	expires      time.Time // zero for never
	certificates []string  // their fingerprints
}

// weight is how much there is to remember of a user.
func (u *user) weight() int {
	return len(u.principal.Addresses) + len(u.principal.Groups) + len(u.certificates)
}

// usable says why a user is not to be let in, nil for one who may be.
func (u *user) usable(now time.Time) error {
	switch {
	case u.barred != "":
		return fmt.Errorf("%w: %s", auth.ErrInvalid, u.barred)
	case !u.expires.IsZero() && !now.Before(u.expires):
		return fmt.Errorf("%w: the account has expired at %s", auth.ErrInvalid, u.expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// plausible reports whether a directory can have a user of that name at all.
func plausible(login string) bool {
	return login != "" && len(login) <= maxLogin && utf8.ValidString(login) && !strings.ContainsFunc(login, unicode.IsControl)
}

// user finds the one who logs in by a name; remembered says that nobody was asked now.
func (d *Directory) user(ctx context.Context, login string) (u *user, remembered bool, err error) {
	if !plausible(login) {
		return nil, false, auth.ErrUnknown
	}
	return recall(ctx, d, d.users, login, func(ctx context.Context) (*user, error) {
		e, err := d.one(ctx, search{key: "user_filter", base: d.plan.Base, filter: d.plan.users.fill(map[string]string{"login": login})})
		if err != nil {
			return nil, err
		}
		return d.read(ctx, e, login)
	})
}

// read makes a user of an entry.
func (d *Directory) read(ctx context.Context, e *ldap3.Entry, login string) (*user, error) {
	name, err := loginOf(e, d.plan.LoginAttribute, login)
	if err != nil {
		return nil, err
	}
	groups, err := d.groups(ctx, e, name)
	if err != nil {
		return nil, err
	}
	u := &user{dn: e.DN, principal: mail.Principal{
		Account:   mail.Account{Name: name, Source: d.Name()},
		Addresses: d.addressesOf(e),
		Groups:    groups,
		Services:  mail.Services{Submit: allowed(d.plan.SubmitGroups, groups), Relay: allowed(d.plan.RelayGroups, groups)},
		Language:  value(e, "preferredLanguage"),
	}}
	u.barred, u.expires = d.plan.state(e)
	if d.plan.CertificateAttribute != "" {
		u.certificates = fingerprints(e, d.plan.CertificateAttribute)
	}
	return u, nil
}

// loginOf is the name by which a user is known: of several, the one that was said.
func loginOf(e *ldap3.Entry, attribute, said string) (string, error) {
	names := values(e, attribute)
	if i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, said) }); i >= 0 {
		return names[i], nil
	}
	if len(names) == 0 || !plausible(names[0]) {
		return "", fmt.Errorf("%s has no %s by which the user could be known", e.DN, attribute)
	}
	return names[0], nil
}

// allowed reports whether one who is in some groups is among those of others; none is
// everybody.
func allowed(of, groups []string) bool {
	return len(of) == 0 || slices.ContainsFunc(of, func(g string) bool {
		return slices.ContainsFunc(groups, func(in string) bool { return strings.EqualFold(in, g) })
	})
}

// addressesOf returns the mail addresses of an entry, the first one of
// address_attributes first, each once.
func (d *Directory) addressesOf(e *ldap3.Entry) []string {
	var list []string
	for _, a := range d.plan.AddressAttributes {
		for _, v := range addressValues(e, a) {
			if address, ok := readAddress(v); ok && !slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, address) }) {
				list = append(list, address)
			}
		}
	}
	if len(list) > maxValues {
		d.options.Logger.Warn("an entry of a directory has too many addresses; the others are left out", "ldap", d.Name(), "entry", e.DN, "addresses", len(list), "taken", maxValues)
		list = list[:maxValues]
	}
	return list
}

// addressValues returns the values of an attribute that are meant as mail addresses.
func addressValues(e *ldap3.Entry, attribute string) []string {
	all := values(e, attribute)
	if !strings.EqualFold(attribute, proxyAddresses) {
		return all
	}
	var first, others []string
	for _, v := range all {
		kind, address, _ := strings.Cut(v, ":")
		switch kind {
		case "SMTP":
			first = append(first, address)
		case "smtp":
			others = append(others, address)
		}
	}
	return append(first, others...)
}

// readAddress reads an address of an entry. One with an asterisk is none: it would be a
// pattern, and with it a user who can change the own entry would be everybody.
func readAddress(v string) (string, bool) {
	a, err := mail.ParseAddress(strings.TrimSpace(v))
	if err != nil || a.Domain == "" || strings.Contains(a.Local, "*") {
		return "", false
	}
	return a.String(), true
}

// fingerprints returns those of the certificates of an entry.
func fingerprints(e *ldap3.Entry, attribute string) []string {
	var list []string
	for _, a := range e.Attributes {
		if !sameAttribute(a.Name, attribute) {
			continue
		}
		for _, der := range a.ByteValues {
			sum := sha256.Sum256(der)
			list = append(list, hex.EncodeToString(sum[:]))
		}
	}
	return list[:min(len(list), maxValues)]
}

// one finds the entry that there is for a filter.
func (d *Directory) one(ctx context.Context, s search) (*ldap3.Entry, error) {
	s.scope, s.attributes, s.most = ldap3.ScopeWholeSubtree, d.plan.attributes(), 2
	found, _, err := d.search(ctx, s)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, auth.ErrUnknown
	case len(found) > 1:
		return nil, fmt.Errorf("%w, by %s: %q and %q", errAmbiguous, s.key, found[0].DN, found[1].DN)
	case found[0].DN == "":
		return nil, fmt.Errorf("an entry without a name was found by %s", s.key)
	}
	return found[0], nil
}

// search is one search. Errors name its key in place of the filter, in which stands what
// a client has said: that may be a password, typed into the wrong field.
type search struct {
	key        string
	base       string
	scope      int
	filter     string
	attributes []string
	most       int
}

// search finds entries; more says that there are others than the most that were wanted.
func (d *Directory) search(ctx context.Context, s search) (found []*ldap3.Entry, more bool, err error) {
	seconds := int((d.timeout() + time.Second - 1) / time.Second)
	request := ldap3.NewSearchRequest(s.base, s.scope, ldap3.NeverDerefAliases, s.most+1, seconds, false, s.filter, s.attributes, nil)
	err = d.ask(ctx, searchers, func(l *ldap3.Conn) error {
		result, err := l.Search(request)
		if result != nil {
			found = result.Entries
		}
		return err
	})
	if ldap3.IsErrorWithCode(err, ldap3.LDAPResultSizeLimitExceeded) {
		err, more = nil, true
	}
	if err != nil {
		return nil, false, fmt.Errorf("search below %q by %s: %w", s.base, s.key, err)
	}
	if len(found) > s.most {
		found, more = found[:s.most], true
	}
	return found, more, nil
}

// values returns those of an attribute, with whatever options it has (RFC 4512 2.5).
func values(e *ldap3.Entry, attribute string) []string {
	var list []string
	for _, a := range e.Attributes {
		if sameAttribute(a.Name, attribute) {
			list = append(list, a.Values...)
		}
	}
	return list
}

// value returns the first value of an attribute, empty if there is none.
func value(e *ldap3.Entry, attribute string) string {
	if all := values(e, attribute); len(all) > 0 {
		return all[0]
	}
	return ""
}

func sameAttribute(a, b string) bool {
	a, _, _ = strings.Cut(a, ";")
	b, _, _ = strings.Cut(b, ";")
	return strings.EqualFold(a, b)
}
