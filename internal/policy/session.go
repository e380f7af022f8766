package policy

import (
	"context"

	"postern/internal/mail"
)

// Session is one SMTP session, as policy sees it. A nil Session is one of a
// listener that no rule is for: it accepts everything. A Session is not safe for
// use by several goroutines.
//
// An effect of connect, helo and auth holds for the session, one of mail for the
// transaction, one of rcpt for the recipient, and one of data for the recipients
// with the same handler.
type Session struct {
	engine *Engine
	origin mail.Origin
}

// Begin begins a session. What is known of the client by then is in o.
func (e *Engine) Begin(o mail.Origin) *Session { return nil }

// Connect decides whether the client is greeted.
func (s *Session) Connect(ctx context.Context) Decision { return Decision{} }

// Helo decides about EHLO or HELO, which is in o, as TLS is by now.
func (s *Session) Helo(ctx context.Context, o mail.Origin) Decision { return Decision{} }

// Auth decides about a user whose credentials are good.
func (s *Session) Auth(ctx context.Context, user string) Decision { return Decision{} }

// Mail decides about a transaction. size is what the client said of it, in octets,
// and 0 when it said nothing.
func (s *Session) Mail(ctx context.Context, from mail.Address, size int64) Decision {
	return Decision{}
}

// Rcpt decides about one recipient: as it stands after percent routing.
func (s *Session) Rcpt(ctx context.Context, to mail.Recipient) (Decision, Treatment) {
	return Decision{}, Treatment{}
}

// Data decides about the message, with the recipients that were accepted.
func (s *Session) Data(ctx context.Context, to []Addressee, m Message) Disposition {
	return Disposition{Variants: []Variant{{Recipients: to}}}
}

// Reset ends the transaction, if there is one.
func (s *Session) Reset() {}
