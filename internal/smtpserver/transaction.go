package smtpserver

import (
	"context"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// transaction is one message, from the accepted MAIL to its end.
type transaction struct {
	mail       smtp.Mail
	recipients int // accepted
	surplus    int // refused because there are too many
}

// describe puts what is known of the message into a fact.
func (t *transaction) describe(f *mail.Fact) {
	f.From = t.mail.Envelope.From.Path()
	if t.mail.Envelope.UTF8 {
		f.Origin.Protocol = smtp.UTF8Protocol(f.Origin.Protocol)
	}
}

// mail does MAIL. MAILMAX counts every one, whatever its reply (RFC 9422);
// the one too many gets 421, so that the client goes on in a new session. So
// does one that is asked to give way; between messages nothing is lost by it.
func (s *session) mail(ctx context.Context, c smtp.Command) mail.Reply {
	if s.mails >= s.options.MaxMessages {
		return mail.NewReply(421, "4.5.3", "%s takes %d messages in a session, reconnect for more", s.options.Hostname, s.options.MaxMessages)
	}
	if s.server.giveWay(s.conn, &s.origin) {
		return crowdedReply(s.options.Hostname)
	}
	s.mails++
	m, err := smtp.ParseMail(c.Args, s.ext)
	if err != nil {
		return err.Reply
	}
	s.named = &m.Envelope.From
	if m.Size > s.options.MaxSize { // RFC 1870 6.1
		return TooLarge(s.options.MaxSize)
	}
	r := or(s.handler.Mail(ctx, m), 250, "2.1.0", "Ok")
	if r.Success() {
		s.tx = &transaction{mail: m}
	}
	return r
}

// TooLarge refuses a message that is said to have more octets than it may (RFC 1870
// 6.1).
func TooLarge(max int64) mail.Reply {
	return mail.NewReply(552, "5.3.4", "The message is larger than %d octets", max)
}

// TooMany refuses a recipient over RCPTMAX (RFC 9422).
func TooMany(max int) mail.Reply {
	return mail.NewReply(452, "4.5.3", "Too many recipients: %d are taken at a time", max)
}

// rcpt does RCPT. Recipients over RCPTMAX get 452, upon which a client sends
// to those accepted and then to the rest (RFC 5321 4.5.3.1.10). As it may do
// so with a list of twice the length, those are no errors.
func (s *session) rcpt(ctx context.Context, c smtp.Command) mail.Reply {
	ext := s.ext
	ext.SMTPUTF8 = s.tx.mail.Envelope.UTF8
	rcpt, err := smtp.ParseRcpt(c.Args, ext)
	if err != nil {
		return err.Reply
	}
	s.named = &rcpt.Address
	if s.tx.recipients >= s.options.MaxRecipients {
		return s.surplusRecipient()
	}
	r := or(s.handler.Rcpt(ctx, rcpt), 250, "2.1.5", "Ok")
	if r.Success() {
		s.tx.recipients++
	}
	return r
}

func (s *session) surplusRecipient() mail.Reply {
	r := TooMany(s.options.MaxRecipients)
	s.tx.surplus++
	if s.tx.surplus > s.options.MaxRecipients {
		return r
	}
	if s.tx.surplus == 1 {
		s.refused("RCPT", r, "")
	}
	s.conn.reply(r)
	return mail.Reply{}
}
