package smtpserver

import (
	"context"
	"crypto/tls"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// Handler decides which clients are served, and by what.
type Handler interface {
	// Begin opens a session for a client that has connected. The zero reply
	// stands for the engine's 220; a 4xx or 5xx reply refuses the client, and
	// the session may be nil. One that is not is ended all the same, and may be
	// an Explainer.
	Begin(ctx context.Context, o mail.Origin) (Session, mail.Reply)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, o mail.Origin) (Session, mail.Reply)

// Begin calls f.
func (f HandlerFunc) Begin(ctx context.Context, o mail.Origin) (Session, mail.Reply) {
	return f(ctx, o)
}

// Session answers the commands of one client. Its methods are called one at
// a time, in the order of the commands, and only for commands whose syntax
// and sequence are right.
//
// The zero reply leaves the answer to the engine: it accepts. Any other is
// sent as it is. A reply with code 421 ends the connection after it was sent;
// one with code mail.NoReply ends it at once, with nothing said. The context
// ends when the server stops for good.
type Session interface {
	// Hello is EHLO or HELO, with Hello, Protocol and TLS of o set. A reply
	// 250 supplies all of the answer, the extensions of EHLO included.
	Hello(ctx context.Context, o mail.Origin) mail.Reply
	// Mail begins a transaction if its reply is a success.
	Mail(ctx context.Context, m smtp.Mail) mail.Reply
	// Rcpt adds a recipient to it if its reply is a success.
	Rcpt(ctx context.Context, r smtp.Rcpt) mail.Reply
	// Data is asked before the content is; only 354 lets it come.
	Data(ctx context.Context) mail.Reply
	// Content takes the message and ends the transaction. Its reply answers
	// the end of data and must not be zero. Content that was not read is
	// dropped; a success then counts only if nothing was wrong with it. c is
	// of no use after the call.
	Content(ctx context.Context, c smtp.Content) mail.Reply
	// Command is any other command: RSET, NOOP, VRFY, HELP, QUIT, STARTTLS
	// and verbs the engine does not know.
	Command(ctx context.Context, c smtp.Command) mail.Reply
	// Reset says that the transaction was dropped, by RSET, EHLO, HELO or
	// STARTTLS. It is not called for one that Content has ended, nor at the
	// end of the connection.
	Reset()
	// End says that the connection is over. It is called exactly once.
	End()
}

// Explainer is a Session, of whatever kind, that can say which decisions led to
// its replies. It is asked, with the session's other methods, after each reply
// that refuses something, whether the session gave that reply or the engine.
type Explainer interface {
	// Trail returns the decisions behind the last reply that the session gave,
	// and forgets them; nil when there is nothing to tell.
	Trail() []mail.Decided
}

// Recorder is a Session that tells of some refusals itself, together with others like
// them. It is asked, with the session's other methods, after each reply that refuses
// something.
type Recorder interface {
	// Recorded reports whether the last refusal that the session gave needs no fact of
	// its own, and forgets it.
	Recorded() bool
}

// Greeter is a Session that has words of its own for the first line of the
// reply to EHLO and HELO. It is asked when Hello has accepted.
type Greeter interface {
	// Greeting returns what stands behind the server's name (RFC 5321 4.1.1.1,
	// ehlo-greet); empty for the engine's words. What cannot stand in a reply is
	// masked, and what is too long for one is cut.
	Greeting() string
}

// Authenticator is a Session whose client can prove who it is, with AUTH.
type Authenticator interface {
	// Mechanisms returns the mechanisms that are offered to a client, in the order in
	// which EHLO has them; none: AUTH is not offered. It is asked at EHLO, AUTH and
	// HELP, and must be quick. In clear, what it returns is offered only with
	// Options.AuthInClear.
	Mechanisms(o mail.Origin) smtp.Mechanisms
	// Authenticate begins an exchange by a mechanism that was offered, unless its
	// reply refuses. tls is nil in clear. When an exchange ends with 235, its account is
	// that of Origin from then on, until the end of the session or STARTTLS, upon
	// which Hello has an Origin without it.
	Authenticate(ctx context.Context, mechanism string, tls *tls.ConnectionState) (smtp.Exchange, mail.Reply)
}
