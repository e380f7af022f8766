package smtpserver

import (
	"context"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// starttls does STARTTLS (RFC 3207). What the client sent in clear behind it
// might be an attacker's, so it ends the session; nothing of it is executed.
// After the handshake all that the client said before is forgotten (RFC 3207
// 4.2), its name and who it has proved to be included.
func (s *session) starttls(ctx context.Context, c smtp.Command) mail.Reply {
	if !isBlank(c.Args) {
		return errArguments(c.Verb)
	}
	if s.conn.br.Buffered() > 0 {
		s.log.Warn("client sent more in clear behind STARTTLS", "client", s.origin.Client)
		s.closing = true
		return mail.NewReply(554, "5.5.1", "Nothing may follow STARTTLS before its reply")
	}
	r := or(s.handler.Command(ctx, c), 220, "2.0.0", "Ready to start TLS")
	if r.Code != 220 {
		return r
	}
	s.conn.reply(r)
	state, err := s.conn.startTLS(ctx)
	if err != nil {
		s.handshakeFailed(err)
		return mail.Reply{Code: mail.NoReply}
	}
	s.dropTransaction()
	s.greeted, s.ext = false, smtp.Extensions{}
	s.origin.Hello, s.origin.Protocol, s.origin.Account = "", smtp.ProtocolSMTP, nil
	s.secured(state)
	return mail.Reply{}
}
