package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/auth"
	"postern/internal/mail"
)

// Password tells who a user is whose password the directory takes, by a bind.
//
// It fails with auth.ErrUnknown or auth.ErrInvalid, or for the moment. With ErrInvalid the
// user has its name, if there is one: servers find it by others too, such as with spaces.
func (d *Directory) Password(ctx context.Context, login, password string) (mail.Principal, error) {
	if password == "" {
		// A bind without a password succeeds as nobody (RFC 4513 5.1.2).
		return mail.Principal{}, d.wrap(fmt.Errorf("%w: the password is empty", auth.ErrInvalid))
	}
	u, err := d.verified(ctx, login, password)
	switch {
	case err == nil:
		return u.principal, nil
	case u != nil && errors.Is(err, auth.ErrInvalid):
		return mail.Principal{Account: u.principal.Account}, d.wrap(err)
	}
	return mail.Principal{}, d.wrap(err)
}

// verified finds a user and tries the password. What is remembered of a user who is not
// let in is looked at anew: the entry may have another name by now, or the account be
// enabled again.
func (d *Directory) verified(ctx context.Context, login, password string) (*user, error) {
	u, remembered, err := d.user(ctx, login)
	if err != nil {
		return nil, err
	}
	err = d.admit(ctx, u, password)
	if !remembered || !errors.Is(err, auth.ErrInvalid) {
		return u, err
	}
	d.users.forget(login)
	fresh, _, lost := d.user(ctx, login)
	switch {
	case lost != nil:
		return nil, lost
	case fresh.dn == u.dn && fresh.barred == u.barred && fresh.expires.Equal(u.expires):
		return u, err // with no second try of a wrong password, which would lock accounts
	}
	return fresh, d.admit(ctx, fresh, password)
}

// admit tries a password, and looks whether the account may be used.
func (d *Directory) admit(ctx context.Context, u *user, password string) error {
	if err := d.bind(ctx, u.dn, password); err != nil {
		return err
	}
	return u.usable(d.options.Clock.Now())
}

// bind tries a password. It fails with auth.ErrInvalid if the directory says that it is
// wrong (RFC 4511 A.2: invalidCredentials), or that the entry has none
// (inappropriateAuthentication).
func (d *Directory) bind(ctx context.Context, dn, password string) error {
	err := d.ask(ctx, binders, func(l *ldap3.Conn) error { return l.Bind(dn, password) })
	if ldap3.IsErrorAnyOf(err, ldap3.LDAPResultInvalidCredentials, ldap3.LDAPResultInappropriateAuthentication) {
		return fmt.Errorf("%w: %s", auth.ErrInvalid, why(err))
	}
	if err != nil {
		return fmt.Errorf("bind as %q: %w", dn, err)
	}
	return nil
}

// reasons are what Active Directory says in the text of invalidCredentials, as codes of
// Windows in hexadecimal.
var reasons = map[string]string{
	"525": "there is no such user",
	"52e": "the password is wrong",
	"530": "the account must not log in at this time",
	"531": "the account must not log in from here",
	"532": "the password has expired",
	"533": "the account is disabled",
	"701": "the account has expired",
	"773": "the password must be changed first",
	"775": "the account is locked",
}

// why says for a log why a bind was refused.
func why(err error) string {
	if _, rest, found := strings.Cut(err.Error(), ", data "); found {
		code, _, _ := strings.Cut(rest, ",")
		if text, known := reasons[strings.TrimSpace(code)]; known {
			return text
		}
	}
	return err.Error()
}

// maxNames bounds the names of a certificate that are looked for: anybody can make one
// with many, and each costs a search or two.
const maxNames = 4

// Certificate tells who the user is that has a certificate: the entry found by a name
// of the certificate must have the certificate itself. Whether it was verified does not
// matter for that.
//
// It fails with auth.ErrUnknown or auth.ErrInvalid, or for the moment.
func (d *Directory) Certificate(ctx context.Context, c mail.Certificate, _ bool) (mail.Principal, error) {
	if d.plan.CertificateAttribute == "" || c.Fingerprint == "" {
		return mail.Principal{}, auth.ErrUnknown
	}
	for _, name := range c.Names[:min(len(c.Names), maxNames)] {
		u, err := d.named(ctx, name)
		switch {
		case errors.Is(err, auth.ErrUnknown) || err == nil && !u.has(c):
		case err != nil:
			return mail.Principal{}, d.wrap(err)
		default:
			return u.principal, d.wrap(u.usable(d.options.Clock.Now()))
		}
	}
	return mail.Principal{}, auth.ErrUnknown
}

// named finds the user whose address, or else whose login, a name of a certificate is.
func (d *Directory) named(ctx context.Context, name string) (*user, error) {
	login := name
	if strings.Contains(name, "@") {
		a, err := mail.ParseAddress(name)
		if err != nil {
			return nil, auth.ErrUnknown
		}
		f, err := d.find(ctx, a)
		if err != nil {
			return nil, err
		}
		if f.login == "" {
			return nil, auth.ErrUnknown
		}
		login = f.login
	}
	u, _, err := d.user(ctx, login)
	return u, err
}

// has reports whether a certificate is one of the user's.
func (u *user) has(c mail.Certificate) bool {
	for _, f := range u.certificates {
		if strings.EqualFold(f, c.Fingerprint) {
			return true
		}
	}
	return false
}
