package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"unicode/utf8"

	"postern/internal/directory"
	"postern/internal/mail"
)

// Methods are what one source can do. What it cannot is nil.
type Methods struct {
	Passwords    Source
	Keys         KeySource
	Tokens       TokenSource
	Certificates CertificateSource
	Accounts     AccountSource
}

// Options are what an Authenticator needs.
type Options struct {
	// Sources are those that there are, by name.
	Sources map[string]Methods
	// Listeners are how their clients can authenticate, by the names of the listeners.
	Listeners map[string]Listener
	// Addresses knows users by their address. Nil: nobody is known so.
	Addresses Addresses
	// Masks says why an address tells nobody who a client is; empty for one that tells.
	// Nil: each tells.
	Masks func(client netip.Addr) string
	// Hasher bounds what is computed. Required.
	Hasher *Hasher
	// Secret makes the keys of users that there are not; of 32 octets. It should outlive
	// the process, as the keys of users do.
	Secret []byte
	// Usage is told who of the directory's users has logged in, and who has not. Nil: it
	// is not noted.
	Usage Usage
	// Guard slows and bans those who guess. Nil: nobody is.
	Guard  *Guard
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Usage notes what becomes of users; it is a directory.Directory.
type Usage interface {
	// Used notes that a user has logged in.
	Used(login string)
	// LoginFailed notes that somebody could not log in as a user. It does nothing when
	// there is no such user.
	LoginFailed(login string)
}

// Authenticator begins exchanges. It is safe for use by several goroutines.
type Authenticator struct{ Options }

// New returns an Authenticator.
func New(o Options) *Authenticator {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Authenticator{Options: o}
}

// Attempt is what one exchange is about.
type Attempt struct {
	Mechanism string
	// Origin is who connected, and from where.
	Origin mail.Origin
	// TLS is that of the connection; nil in clear.
	TLS *tls.ConnectionState
	// Mechanisms are those that the client was offered: SCRAM-SHA-256 tells by them
	// whether somebody on the way took SCRAM-SHA-256-PLUS out.
	Mechanisms []string
	// Sources names those to ask about a user, in order: the next one when the user is
	// unknown to one. None: those of the listener. A reply that is not zero refuses the
	// attempt. The name of the user is as names are compared, so that a client has no
	// choice by how it writes it; empty where it is not known before the source has been
	// asked.
	Sources func(ctx context.Context, user string) ([]string, mail.Reply)
	// Accept decides about a client that is verified: any reply but the zero one
	// refuses it. Nil: it is accepted.
	Accept func(ctx context.Context, who mail.Principal) mail.Reply
	// Guessed says that the attempt is refused, and counted by the guard. Nil: nobody
	// wants to know.
	Guessed func()
}

// sources are the methods of those that are to be asked about a user, with their names.
func (a *Authenticator) sources(ctx context.Context, at *Attempt, user string) ([]namedMethods, error) {
	names, reply := at.Sources(ctx, canonical(user))
	if !reply.IsZero() {
		return nil, &mail.Error{Reply: reply}
	}
	if len(names) == 0 {
		names = a.Listeners[at.Origin.Listener].Sources
	}
	list := make([]namedMethods, 0, len(names))
	for _, name := range names {
		m, known := a.Options.Sources[name]
		if !known {
			return nil, errors.New("there is no source of the name " + name)
		}
		list = append(list, namedMethods{name, m})
	}
	return list, nil
}

// Usable reports whether an account may still be used, as far as its source can say
// that: one that is disabled while its client is connected must not go on.
func (a *Authenticator) Usable(account mail.Account) bool {
	m := a.Options.Sources[account.Source]
	return m.Accounts == nil || m.Accounts.Usable(account.Name)
}

type namedMethods struct {
	name string
	Methods
}

// password asks the sources about a password, if the guard lets it.
func (a *Authenticator) password(ctx context.Context, at *Attempt, user, password string) (mail.Principal, error) {
	if !isName(user) {
		return mail.Principal{}, ErrInvalid
	}
	prepared, err := Prepare(password)
	if err != nil {
		return mail.Principal{}, err
	}
	if err := a.admit(at, user); err != nil {
		return mail.Principal{}, err
	}
	who, err := a.ofPassword(ctx, at, user, prepared)
	g := guess{user: user, said: user, secret: prepared}
	if who.Name != "" && canonical(who.Name) != canonical(user) {
		g.user = who.Name
		if banned := a.admit(at, g.user); banned != nil { // right or wrong is not told
			return mail.Principal{}, banned
		}
	}
	a.settle(at, g, err)
	return who, err
}

// admit says whether a password may be verified for a user at present.
func (a *Authenticator) admit(at *Attempt, user string) error {
	if a.Guard == nil {
		return nil
	}
	return a.Guard.admit(user, at.Origin.Client.Addr())
}

// settle tells guard and directory what has come of a guess.
func (a *Authenticator) settle(at *Attempt, g guess, err error) {
	if a.Usage != nil && errors.Is(err, ErrInvalid) {
		a.Usage.LoginFailed(g.user)
	}
	if a.Guard == nil {
		return
	}
	g.client, g.exists, g.masked = at.Origin.Client.Addr(), !errors.Is(err, ErrUnknown), a.masked(&at.Origin)
	switch {
	case err == nil:
		a.Guard.succeeded(g)
	case errors.Is(err, ErrInvalid):
		a.Guard.failed(g)
	}
}

// ofPassword asks the sources whose a password is. Whoever is not known costs as much as
// somebody whose password is wrong.
func (a *Authenticator) ofPassword(ctx context.Context, at *Attempt, user, prepared string) (mail.Principal, error) {
	list, err := a.sources(ctx, at, user)
	if err != nil {
		return mail.Principal{}, err
	}
	for _, m := range list {
		if m.Passwords == nil {
			continue
		}
		who, err := m.Passwords.Password(ctx, user, prepared)
		if !errors.Is(err, ErrUnknown) {
			return m.own(who), err
		}
	}
	if err := a.Hasher.Nobody(ctx, canonical(user), prepared); !errors.Is(err, ErrInvalid) {
		return mail.Principal{}, err
	}
	return mail.Principal{}, ErrUnknown
}

// own notes in a principal whose it is.
func (m *namedMethods) own(who mail.Principal) mail.Principal {
	who.Source = m.name
	return who
}

// keys asks the sources for the keys of a user. Who has none gets such that match no
// password; then nobody is returned.
func (a *Authenticator) keys(ctx context.Context, at *Attempt, user string) (Keys, *mail.Principal, error) {
	if !isName(user) {
		return Keys{}, nil, ErrInvalid
	}
	if err := a.admit(at, user); err != nil {
		return Keys{}, nil, err
	}
	list, err := a.sources(ctx, at, user)
	if err != nil {
		return Keys{}, nil, err
	}
	for _, m := range list {
		if m.Keys == nil {
			continue
		}
		k, who, err := m.Keys.Keys(ctx, user)
		switch {
		case err == nil:
			who = m.own(who)
			return k, &who, nil
		case errors.Is(err, ErrUnknown):
		case errors.Is(err, ErrInvalid):
			return fakeKeys(a.Secret, canonical(user)), nil, nil
		default:
			return Keys{}, nil, err
		}
	}
	return fakeKeys(a.Secret, canonical(user)), nil, nil
}

// token asks the sources for whom a token is. A token that is wrong counts for its
// network alone: nobody guesses tokens, and an old one must not close an account. So it
// works for an account that is closed, too.
func (a *Authenticator) token(ctx context.Context, at *Attempt, user, token string) (mail.Principal, error) {
	if a.Guard != nil {
		if err := a.Guard.admitToken(user, at.Origin.Client.Addr()); err != nil {
			return mail.Principal{}, err
		}
	}
	who, err := a.ask(ctx, at, user, func(m *Methods) (mail.Principal, error) {
		if m.Tokens == nil {
			return mail.Principal{}, ErrUnknown
		}
		return m.Tokens.Token(ctx, user, token)
	})
	g := guess{secret: token}
	if err == nil {
		g.user, g.said = who.Name, who.Name
	}
	a.settle(at, g, err)
	return who, err
}

func (a *Authenticator) certificate(ctx context.Context, at *Attempt, user string) (mail.Principal, error) {
	if at.Origin.TLS == nil || at.Origin.TLS.Certificate == nil {
		return mail.Principal{}, ErrInvalid
	}
	t := at.Origin.TLS
	return a.ask(ctx, at, user, func(m *Methods) (mail.Principal, error) {
		if m.Certificates == nil {
			return mail.Principal{}, ErrUnknown
		}
		return m.Certificates.Certificate(ctx, *t.Certificate, t.Verified)
	})
}

// ask asks one source after the other, until one knows the user.
func (a *Authenticator) ask(ctx context.Context, at *Attempt, user string, question func(*Methods) (mail.Principal, error)) (mail.Principal, error) {
	list, err := a.sources(ctx, at, user)
	if err != nil {
		return mail.Principal{}, err
	}
	for _, m := range list {
		who, err := question(&m.Methods)
		if !errors.Is(err, ErrUnknown) {
			return m.own(who), err
		}
	}
	return mail.Principal{}, ErrUnknown
}

// isName reports whether a user can have the name.
func isName(user string) bool {
	return user != "" && len(user) <= MaxUser && utf8.ValidString(user) && !strings.ContainsFunc(user, isControl)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// canonical is a name as names are compared.
func canonical(user string) string {
	if name, err := directory.Login(user); err == nil {
		return name
	}
	return strings.ToLower(user)
}

// same reports whether a client means itself when it says for whom it acts: to act for
// others is not offered.
func same(authzid, authcid string) bool {
	return authzid == "" || canonical(authzid) == canonical(authcid)
}
