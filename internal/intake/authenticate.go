package intake

import (
	"context"
	"crypto/tls"

	"postern/internal/auth"
	"postern/internal/mail"
	"postern/internal/smtp"
)

// Authenticator is who verifies the clients; it is an auth.Authenticator.
type Authenticator interface {
	// Offered returns the mechanisms that a client is offered.
	Offered(o mail.Origin) []string
	// Begin begins an exchange, or refuses it.
	Begin(at auth.Attempt) (*auth.Exchange, mail.Reply)
	// Implied returns who a client is that has said nothing.
	Implied(ctx context.Context, o mail.Origin) (who mail.Principal, known bool, err error)
	// Usable reports whether an account may still be used.
	Usable(account mail.Account) bool
	// Refuse refuses a client as it connects.
	Refuse(o mail.Origin) mail.Reply
}

// errNotKnown refuses EHLO while it cannot be said whose a certificate is: mail of a
// client that is taken for nobody would be refused for good.
var errNotKnown = mail.NewReply(451, "4.7.0", "Your certificate cannot be verified at the moment, please try again later")

// accountEnded ends the session of an account that was disabled, has expired or is gone
// since its client was verified. It is told to come again: AUTH will tell it more.
var accountEnded = mail.NewReply(421, "4.7.0", "Your account may have changed, please connect again")

// mayGoOn refuses a client whose account may not be used any more.
func (s *Session) mayGoOn() mail.Reply {
	if s.in.Auth == nil || s.origin.Account == nil || s.in.Auth.Usable(*s.origin.Account) {
		return mail.Reply{}
	}
	return accountEnded
}

// Mechanisms returns the mechanisms that the client is offered.
func (s *Session) Mechanisms(o mail.Origin) smtp.Mechanisms {
	if s.in.Auth == nil {
		return nil
	}
	return s.in.Auth.Offered(o)
}

// Authenticate begins an exchange. Who has been verified is then judged by policy.
func (s *Session) Authenticate(_ context.Context, mechanism string, tls *tls.ConnectionState) (smtp.Exchange, mail.Reply) {
	x, reply := s.in.Auth.Begin(auth.Attempt{
		Mechanism: mechanism, Origin: s.origin, TLS: tls, Mechanisms: s.Mechanisms(s.origin), Accept: s.Auth,
		Guessed: func() { s.recorded = true },
		Sources: func(ctx context.Context, user string) ([]string, mail.Reply) {
			return s.sources(ctx, user, mechanism)
		},
	})
	if x == nil {
		return nil, reply
	}
	return x, reply
}

// sources names the source that policy has chosen for a user; none where it has not.
func (s *Session) sources(ctx context.Context, user, mechanism string) ([]string, mail.Reply) {
	if s.ruled == nil {
		return nil, mail.Reply{}
	}
	source, d := s.ruled.rules.Source(ctx, user, mechanism)
	s.ruled.last = d.Trail
	if source == "" {
		return nil, replyOf(&d)
	}
	return []string{source}, mail.Reply{}
}

// imply notes in an origin who the client is, although it has not authenticated: by its
// certificate or its address.
func (s *Session) imply(ctx context.Context, o *mail.Origin) mail.Reply {
	if s.in.Auth == nil || o.Account != nil {
		return mail.Reply{}
	}
	who, known, err := s.in.Auth.Implied(ctx, *o)
	switch {
	case err != nil:
		s.in.Logger.Warn("it cannot be said whose a certificate is", "session", o.Session, "error", err)
		return errNotKnown
	case known:
		o.Account = &who.Account
		if s.ruled != nil {
			s.ruled.rules.Know(who)
		}
	}
	return mail.Reply{}
}

// refuseBanned refuses a client that guesses passwords.
func (s *Session) refuseBanned() mail.Reply {
	if s.in.Auth == nil {
		return mail.Reply{}
	}
	refusal := s.in.Auth.Refuse(s.origin)
	s.recorded = !refusal.IsZero()
	return refusal
}

// Recorded reports whether the last refusal is one of many guesses, which are told
// together.
func (s *Session) Recorded() bool {
	recorded := s.recorded
	s.recorded = false
	return recorded
}
