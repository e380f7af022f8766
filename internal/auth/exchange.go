package auth

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/smtp"
)

// The names of the mechanisms, in the order in which they are offered: the best first,
// since many clients take the first that they know.
const (
	ScramPlus   = "SCRAM-SHA-256-PLUS"
	Scram       = "SCRAM-SHA-256"
	External    = "EXTERNAL"
	OAuthBearer = "OAUTHBEARER"
	XOAuth2     = "XOAUTH2"
	Plain       = "PLAIN"
	Login       = "LOGIN"
)

// mechanism is one conversation of a mechanism of SASL (RFC 4422 4). next takes what
// the client has said, nil when it has said nothing yet, and returns a challenge, or
// who it is. It is called no more when it has returned either a principal or an error.
type mechanism interface {
	next(ctx context.Context, response []byte) (challenge []byte, who *mail.Principal, err error)
}

// begin is how a conversation of each mechanism begins.
var begin = []struct {
	name  string
	begin func(*Authenticator, *Attempt) mechanism
	// needs says what a source must be able to do; possible, whether the client can.
	needs    func(*Methods) bool
	possible func(*mail.Origin) bool
}{
	{ScramPlus, beginScram, hasKeys, underTLS},
	{Scram, beginScram, hasKeys, anyhow},
	{External, beginExternal, hasCertificates, withCertificate},
	{OAuthBearer, beginOAuthBearer, hasTokens, anyhow},
	{XOAuth2, beginXOAuth2, hasTokens, anyhow},
	{Plain, beginPlain, hasPasswords, anyhow},
	{Login, beginLogin, hasPasswords, anyhow},
}

func hasPasswords(m *Methods) bool    { return m.Passwords != nil }
func hasKeys(m *Methods) bool         { return m.Keys != nil }
func hasTokens(m *Methods) bool       { return m.Tokens != nil }
func hasCertificates(m *Methods) bool { return m.Certificates != nil }

func anyhow(*mail.Origin) bool            { return true }
func underTLS(o *mail.Origin) bool        { return o.TLS != nil }
func withCertificate(o *mail.Origin) bool { return o.TLS != nil && o.TLS.Certificate != nil }

// Mechanisms are all that there are, in the order in which they are offered.
func Mechanisms() []string {
	names := make([]string, len(begin))
	for i := range begin {
		names[i] = begin[i].name
	}
	return names
}

// The replies to AUTH (RFC 4954 6). One for all that is wrong with credentials.
var (
	replySuccess   = mail.NewReply(235, "2.7.0", "Authentication successful")
	replyInvalid   = mail.NewReply(535, "5.7.8", "Authentication credentials invalid")
	replyMalformed = mail.NewReply(501, "5.5.2", "What the mechanism needs is malformed")
	replyUnknown   = mail.NewReply(504, "5.5.4", "There is no such mechanism")
	replyTemporary = mail.NewReply(454, "4.7.0", "Temporary authentication failure, please try again later")
)

// errMalformed says that a client does not speak the mechanism that it chose.
var errMalformed = errors.New("the client does not keep to the mechanism")

// Exchange is one authentication, from the side of the server. It is a smtp.Exchange,
// for one goroutine.
type Exchange struct {
	auth      *Authenticator
	attempt   Attempt
	mechanism mechanism
}

var _ smtp.Exchange = (*Exchange)(nil)

// Begin begins an exchange by a mechanism that was offered; another is refused (504
// 5.5.4).
func (a *Authenticator) Begin(at Attempt) (*Exchange, mail.Reply) {
	for _, m := range begin {
		if m.name == at.Mechanism && slices.Contains(at.Mechanisms, m.name) {
			e := &Exchange{auth: a, attempt: at}
			e.mechanism = m.begin(a, &e.attempt)
			return e, mail.Reply{}
		}
	}
	return nil, replyUnknown
}

// Next goes on with what the client has said.
func (e *Exchange) Next(ctx context.Context, response []byte) ([]byte, *mail.Account, mail.Reply) {
	began := time.Now()
	challenge, who, err := e.mechanism.next(ctx, response)
	switch {
	case err != nil:
		return nil, nil, e.refuse(ctx, err, began)
	case who == nil:
		return challenge, nil, mail.Reply{}
	}
	who.Mechanism = e.attempt.Mechanism
	if e.attempt.Accept != nil {
		if reply := e.attempt.Accept(ctx, *who); !reply.IsZero() {
			e.count(resultRefused)
			return nil, nil, reply
		}
	}
	e.count(resultSuccess)
	if e.auth.Usage != nil && who.Source == directory.Source {
		e.auth.Usage.Used(who.Name)
	}
	return nil, &who.Account, replySuccess
}

func (e *Exchange) count(result string) {
	e.auth.Metrics.exchanges.Add(1, e.attempt.Mechanism, result)
}

// refuse returns the reply to a failure, and tells the log why: no cause repeats what
// the client has sent. What may be guessing is refused slowly.
func (e *Exchange) refuse(ctx context.Context, err error, began time.Time) mail.Reply {
	reply, result := outcome(err)
	e.count(result)
	level := slog.LevelInfo
	if result == resultTemporary {
		level = slog.LevelWarn
	}
	o := &e.attempt.Origin
	e.auth.Logger.Log(ctx, level, "authentication failed", "session", o.Session, "client", o.Client, "mechanism", e.attempt.Mechanism, "error", err)
	if guard := e.auth.Guard; guard != nil && (result == resultInvalid || result == resultBanned) {
		if e.attempt.Guessed != nil {
			e.attempt.Guessed()
		}
		guard.slow(ctx, o.Client.Addr(), began)
	}
	return reply
}

// outcome is what a client is told of a failure, and as what it counts.
func outcome(err error) (reply mail.Reply, result string) {
	refused, is := errors.AsType[*mail.Error](err)
	switch {
	case errors.Is(err, errBanned):
		return errBanned.Reply, resultBanned
	case errors.Is(err, ErrInvalid):
		return replyInvalid, resultInvalid
	case errors.Is(err, errMalformed):
		return replyMalformed, resultMalformed
	case is && !refused.Reply.Temporary():
		return refused.Reply, resultRefused
	case is:
		return refused.Reply, resultTemporary
	}
	return replyTemporary, resultTemporary
}

// End forgets what the client has said.
func (e *Exchange) End() { e.mechanism = nil }

// clientFirst is a mechanism in which the client speaks first: one that has said
// nothing yet is asked with an empty challenge (RFC 4954 4).
type clientFirst struct {
	mechanism
	asked bool
}

func (c *clientFirst) next(ctx context.Context, response []byte) ([]byte, *mail.Principal, error) {
	if response == nil && !c.asked {
		c.asked = true
		return []byte{}, nil, nil
	}
	c.asked = true
	return c.mechanism.next(ctx, response)
}

// one is a mechanism of which the client says all at once.
type one func(ctx context.Context, response []byte) (mail.Principal, error)

func (f one) next(ctx context.Context, response []byte) ([]byte, *mail.Principal, error) {
	who, err := f(ctx, response)
	if err != nil {
		return nil, nil, err
	}
	return nil, &who, nil
}
