package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"postern/internal/directory"
	"postern/internal/mail"
)

// DirectorySource verifies the users of this host's directory: by password, by the keys
// of SCRAM, and by certificate. It is safe for use by several goroutines.
type DirectorySource struct {
	directory *directory.Directory
	hasher    *Hasher
	clock     mail.Clock
	logger    *slog.Logger
}

// NewDirectorySource returns one.
func NewDirectorySource(d *directory.Directory, h *Hasher, clock mail.Clock, logger *slog.Logger) *DirectorySource {
	return &DirectorySource{directory: d, hasher: h, clock: clock, logger: logger}
}

// Methods are what it can do.
func (s *DirectorySource) Methods() Methods {
	return Methods{Passwords: s, Keys: s, Certificates: s, Accounts: s}
}

// Usable reports whether there is such a user, and it may be used now.
func (s *DirectorySource) Usable(user string) bool {
	u, known := s.directory.User(user)
	return known && u.Usable(s.clock.Now())
}

// What is wrong with a user who has shown the right password or certificate; only the log
// tells it.
var (
	errUnusable   = fmt.Errorf("%w: the user is disabled, or has expired", ErrInvalid)
	errNoPassword = fmt.Errorf("%w: the user has no password", ErrInvalid)
)

// Password verifies a password. One that is stored as is no longer usual is stored anew.
func (s *DirectorySource) Password(ctx context.Context, user, password string) (mail.Principal, error) {
	u, known := s.directory.User(user)
	if !known {
		return mail.Principal{}, ErrUnknown
	}
	if err := s.verify(ctx, &u, password); err != nil {
		return mail.Principal{}, err
	}
	if (Credentials{u.Password, u.SCRAM}).Outdated() {
		s.renew(ctx, u, password)
	}
	return s.directory.Principal(u), nil
}

// verify says what is wrong with the password of a user, or with the user.
func (s *DirectorySource) verify(ctx context.Context, u *directory.User, password string) error {
	if u.Password == "" {
		if err := s.hasher.Nobody(ctx, u.Login, password); !errors.Is(err, ErrInvalid) {
			return err
		}
		return errNoPassword
	}
	err := s.hasher.Verify(ctx, u.Password, password)
	if err == nil && !u.Usable(s.clock.Now()) {
		err = errUnusable
	}
	return err
}

// renew makes the credentials of a user anew. That it fails keeps nobody out.
func (s *DirectorySource) renew(ctx context.Context, u directory.User, password string) {
	c, err := s.hasher.Make(ctx, password)
	if err == nil {
		err = s.directory.Change(ctx, "postern", func(tx *directory.Tx) error {
			now, known := tx.User(u.Login)
			if !known || now.Password != u.Password { // it was changed meanwhile
				return nil
			}
			now.Password, now.SCRAM = c.Password, c.SCRAM
			return tx.PutUser(now)
		})
	}
	if err != nil {
		s.logger.Warn("credentials cannot be renewed", "user", u.Login, "error", err)
	}
}

// Keys returns the keys of SCRAM of a user.
func (s *DirectorySource) Keys(_ context.Context, user string) (Keys, mail.Principal, error) {
	u, known := s.directory.User(user)
	switch {
	case !known || u.SCRAM == "":
		return Keys{}, mail.Principal{}, ErrUnknown
	case !u.Usable(s.clock.Now()):
		return Keys{}, mail.Principal{}, errUnusable
	}
	k, err := ParseKeys(u.SCRAM)
	if err != nil {
		return Keys{}, mail.Principal{}, fmt.Errorf("the SCRAM keys of %s cannot be used: %w", u.Login, err)
	}
	return k, s.directory.Principal(u), nil
}

// Certificate returns the user whose certificate it is.
func (s *DirectorySource) Certificate(_ context.Context, c mail.Certificate, verified bool) (mail.Principal, error) {
	u, known := s.directory.UserByCertificate(c, verified)
	switch {
	case !known:
		return mail.Principal{}, ErrUnknown
	case !u.Usable(s.clock.Now()):
		return mail.Principal{}, errUnusable
	}
	return s.directory.Principal(u), nil
}

// Address returns the user whose network a client is in.
func (s *DirectorySource) Address(client netip.Addr) (mail.Principal, bool) {
	u, known := s.directory.UserByAddress(client)
	if !known {
		return mail.Principal{}, false
	}
	return s.directory.Principal(u), true
}
