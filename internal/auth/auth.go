// Package auth verifies who a client is: the mechanisms of SASL, the passwords and keys
// of users, and what is done about those who guess. It is not the AUTH command: whoever
// speaks SMTP or POP3 hands it what the client has sent, and gets a challenge, an
// account or a refusal.
//
// Who the users are is said by sources: the directory of this host, and others that ask
// a server. A client that cannot be verified because a source does not answer is told to
// try again (454 4.7.0). One whose credentials are wrong gets the same reply, whatever
// is wrong with them (535 5.7.8): whether there is such a user, and whether it is
// enabled, is nobody's business. Passwords and tokens are in no error, log or fact.
package auth

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/mail"
)

// What a source says of credentials that it does not take. Any other error is trouble
// of the source's own, and temporary.
var (
	// ErrInvalid is all that is told of credentials that are no good: wrong user or
	// password, disabled, expired. An error that wraps it may say more, for the log.
	ErrInvalid = errors.New("invalid credentials")
	// ErrUnknown is ErrInvalid of a source that has no such user, so that another may be
	// asked. The source has not computed anything of the password by then.
	ErrUnknown = fmt.Errorf("%w: no such user", ErrInvalid)
	// ErrBusy says that there are too many to verify at the moment.
	ErrBusy = errors.New("too many authentications at a time")
)

// Source verifies passwords. It is safe for use by several goroutines.
type Source interface {
	// Password returns who the user is, if the password is right. The password has been
	// prepared (Prepare), the name of the user is as the client has sent it. The
	// principal's Source and Mechanism need not be set. One that is returned with
	// ErrInvalid has the name of the user whose password it is not, in a source that knows
	// users by several: wrong passwords are counted for that.
	//
	// Errors: ErrInvalid, ErrUnknown; any other is temporary.
	Password(ctx context.Context, user, password string) (mail.Principal, error)
}

// KeySource is a Source that knows the keys of SCRAM-SHA-256 (RFC 7677).
type KeySource interface {
	// Keys returns those of a user and who it is, which counts only when the client has
	// proved that it knows the password. Errors: as those of Source; ErrUnknown too
	// for a user that has no keys.
	Keys(ctx context.Context, user string) (Keys, mail.Principal, error)
}

// TokenSource is a Source that takes tokens (RFC 6750) in place of passwords.
type TokenSource interface {
	// Token returns for whom a token was issued. user is the name that the client has
	// given; empty when it has given none. One that is not the token's is ErrInvalid.
	// Errors: as those of Source.
	Token(ctx context.Context, user, token string) (mail.Principal, error)
}

// CertificateSource is a Source that knows users by their certificates.
type CertificateSource interface {
	// Certificate returns whose certificate it is. The client has proved to have its
	// key; verified says that an authority that is trusted vouches for what it says.
	// Errors: as those of Source.
	Certificate(ctx context.Context, c mail.Certificate, verified bool) (mail.Principal, error)
}

// AccountSource is a Source that can say of an account at any time whether it may be
// used. It asks nobody.
type AccountSource interface {
	// Usable reports whether there is such a user, and it may be used now.
	Usable(user string) bool
}
