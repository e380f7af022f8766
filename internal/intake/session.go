package intake

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/queue"
	"postern/internal/smtp"
)

// Session answers the commands of one SMTP session. It satisfies the session
// interface of the SMTP engine, and says to it which decisions of policy led to
// a refusal. A zero reply leaves the answer to the engine.
type Session struct {
	in     *Intake
	origin mail.Origin
	name   func() string // of the client, as far as it is known
	ruled  *ruled        // nil where policy has nothing to say

	recorded   bool // the last refusal needs no fact
	envelope   mail.Envelope
	recipients []mail.Recipient
	// members is for how many addresses they stand; expands says that one stands for
	// another than itself.
	members int
	expands bool
}

// Session opens a session for a client.
func (in *Intake) Session(o mail.Origin) *Session {
	s := &Session{in: in, origin: o, name: in.ClientName(o.Client.Addr())}
	if in.Policy == nil {
		return s
	}
	if p := in.Policy(o); p != nil {
		s.ruled = &ruled{rules: p}
	}
	return s
}

// Begin decides whether the client is served: what policy says of whoever
// connects.
func (s *Session) Begin(ctx context.Context) mail.Reply {
	if refusal := s.refuseBanned(); !refusal.IsZero() {
		return refusal
	}
	if s.ruled == nil {
		return mail.Reply{}
	}
	return s.ruled.answer(&s.ruled.connect, s.ruled.rules.Connect(ctx))
}

// Hello notes what EHLO or HELO said, and what TLS is like by now.
func (s *Session) Hello(ctx context.Context, o mail.Origin) mail.Reply {
	if refusal := s.imply(ctx, &o); !refusal.IsZero() {
		return refusal
	}
	if s.ruled == nil {
		s.origin = o
		return mail.Reply{}
	}
	reply := s.ruled.hello(ctx, o)
	if reply.IsZero() {
		s.origin = o
	}
	return reply
}

// Auth decides about a client who has proved to be somebody. If he is accepted, his
// mail has the account in its origin from now on.
func (s *Session) Auth(ctx context.Context, p mail.Principal) mail.Reply {
	if s.ruled != nil {
		if reply := s.ruled.answer(&s.ruled.user, s.ruled.rules.Auth(ctx, p)); !reply.IsZero() {
			return reply
		}
	}
	s.origin.Account = &p.Account
	s.origin.Protocol = smtp.ESMTPProtocol(s.origin.TLS != nil, true)
	return mail.Reply{}
}

// Know says who the client is without asking policy whether he may be: one that is
// known by its certificate or its address has not said AUTH.
func (s *Session) Know(p mail.Principal) {
	if s.ruled != nil {
		s.ruled.rules.Know(p)
	}
	s.origin.Account = &p.Account
}

// Mail begins a transaction if there is room for the message, whoever it is
// for: it is cheaper to say no before the content than behind it. What the
// shortage is has been told when it began, so each refusal is no news.
func (s *Session) Mail(ctx context.Context, m smtp.Mail) mail.Reply {
	if s.in.Suspended() {
		return errSuspended.Reply
	}
	if refusal := s.mayGoOn(); !refusal.IsZero() {
		return refusal
	}
	if err := s.in.Room(m.Size); err != nil {
		s.in.Logger.Debug("no room for a message", "session", s.origin.Session, "size", m.Size, "error", err)
		return errNoRoom.Reply
	}
	s.envelope = m.Envelope
	s.recipients, s.members, s.expands = s.recipients[:0], 0, false
	if s.ruled == nil {
		return mail.Reply{}
	}
	return s.ruled.mail(ctx, m)
}

// Rcpt decides about one recipient: whether it is local, and for whom it stands, and
// whether this client may send to it, which is policy's business. What policy sends
// elsewhere need not be known here.
func (s *Session) Rcpt(ctx context.Context, r smtp.Rcpt) mail.Reply {
	to := r.Recipient.Readdressed(s.in.Routed(s.origin.Listener, r.Recipient.Address, s.origin.Local.Addr()))
	x, err := s.in.recipient(ctx, to.Address, s.sending())
	if s.ruled != nil {
		return s.ruledRcpt(ctx, to, x, err)
	}
	if err == nil {
		err = s.take(to, x)
	}
	return mail.ReplyOf(err)
}

// take takes a recipient that stands for others, or for itself.
func (s *Session) take(to mail.Recipient, x *Expansion) error {
	n := 1
	if x != nil {
		n = len(x.Members) + len(x.Unknown)
	}
	if n > 1 && s.members+n > maxMembers {
		return errMembers
	}
	s.members += n
	s.expands = s.expands || x != nil
	s.recipients = append(s.recipients, to)
	return nil
}

// ruledRcpt is Rcpt where policy has something to say. Without that, the recipient would
// stand for x, or be refused with err.
func (s *Session) ruledRcpt(ctx context.Context, to mail.Recipient, x *Expansion, err error) mail.Reply {
	a, reply := s.ruled.rcpt(ctx, to)
	if !reply.IsZero() {
		return reply
	}
	if t := &a.Treatment; t.Route != "" || t.Discard {
		x, err = nil, nil
	} else if !t.Address.IsNull() {
		x, err = s.in.instead(ctx, t, s.sending())
	}
	if err == nil {
		err = s.take(to, x)
	}
	if err != nil {
		s.ruled.rules.Withdraw()
		return mail.ReplyOf(err)
	}
	s.ruled.keep(a)
	return mail.Reply{}
}

// Data lets the client go on.
func (s *Session) Data(context.Context) mail.Reply { return mail.Reply{} }

// Content stores the message and says so only when it is durable.
func (s *Session) Content(ctx context.Context, c smtp.Content) mail.Reply {
	id, err := s.Submit(ctx, Message{Content: c, Gone: c.ClientGone, Repaired: repaired(c)})
	switch {
	case errors.Is(err, queue.ErrUnknown):
		return mail.Reply{Code: mail.NoReply}
	case err != nil:
		reply := mail.ReplyOf(err)
		s.in.Logger.Log(ctx, refusalLevel(reply), "message not accepted", "session", s.origin.Session, "error", err)
		return reply
	}
	crashpoint.Reach(crashpoint.Before250)
	return mail.NewReply(250, "2.0.0", "Ok: accepted as %s", id)
}

// Submit stores a message for the recipients that were accepted, and ends the
// transaction. Origin, envelope and recipients of m are those of the session. It
// returns what Accept does.
func (s *Session) Submit(ctx context.Context, m Message) (mail.ID, error) {
	defer s.Reset()
	m.Origin, m.Envelope, m.Recipients = s.origin, s.envelope, s.recipients
	m.Origin.ClientName = s.name()
	switch {
	case s.ruled == nil && !s.expands:
		return s.in.Accept(ctx, m)
	case s.ruled == nil:
		return s.in.acceptBy(ctx, m, asNamed(s.recipients))
	}
	m.MaxSize = s.ruled.rules.MaxSize()
	if s.ruled.plain() && !s.expands {
		m.Trail = s.ruled.trail()
		return s.in.Accept(ctx, m)
	}
	return s.in.acceptBy(ctx, m, s.ruled.data)
}

// asNamed accepts a message for all its recipients.
func asNamed(recipients []mail.Recipient) judge {
	var v verdict
	for _, r := range recipients {
		v.recipients = append(v.recipients, policy.Addressee{Recipient: r})
	}
	return func(context.Context, *taken) (verdict, error) { return v, nil }
}

// refusalLevel is how loud the log is about a message that was not accepted.
// Trouble of our own (RFC 3463 3.4) is the operator's concern; what a client
// did wrong the engine has recorded.
func refusalLevel(r mail.Reply) slog.Level {
	if strings.HasPrefix(r.Enhanced, "4.3.") {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// Reset drops the transaction.
func (s *Session) Reset() {
	s.envelope = mail.Envelope{}
	s.recipients, s.members, s.expands = nil, 0, false
	if s.ruled != nil {
		s.ruled.reset()
	}
}

// Trail returns the decisions behind the last reply, and forgets them.
func (s *Session) Trail() []mail.Decided {
	if s.ruled == nil {
		return nil
	}
	trail := s.ruled.last
	s.ruled.last = nil
	return trail
}

// Greeting is what policy has for the first line of the reply to EHLO; empty
// for what the engine says.
func (s *Session) Greeting() string {
	if s.ruled == nil {
		return ""
	}
	return s.ruled.greeting
}

// End ends the session; there is nothing to free.
func (s *Session) End() {}
