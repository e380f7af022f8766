package smtpserver

import (
	"context"
	"strings"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// hello does EHLO and HELO. A client that said HELO has no extensions, and
// none of their parameters. If it is refused, nothing changes; if not, an open
// transaction is dropped (RFC 5321 4.1.4).
func (s *session) hello(ctx context.Context, c smtp.Command) mail.Reply {
	h, err := smtp.ParseHello(c)
	if err != nil {
		return err.Reply
	}
	origin := s.origin
	origin.Hello = h.Domain
	origin.Protocol = smtp.ProtocolSMTP
	var ext smtp.Extensions
	lines := []string{s.options.Hostname}
	if h.Verb == "EHLO" {
		origin.Protocol = smtp.ProtocolESMTP
		ext = s.offer()
		lines = append([]string{s.options.Hostname + " greets " + h.Domain}, ext.Keywords()...)
	}
	if origin.TLS != nil && h.Verb == "EHLO" {
		origin.Protocol = smtp.ProtocolESMTPS
	}
	r := or(s.handler.Hello(ctx, origin), 250, "", strings.Join(lines, "\n"))
	if r.Success() {
		s.dropTransaction()
		s.origin, s.ext, s.greeted = origin, ext, true
	}
	return r
}

// offer returns the extensions that EHLO offers now.
func (s *session) offer() smtp.Extensions {
	return smtp.Extensions{
		Pipelining:          true,
		HasSize:             true,
		MaxSize:             s.options.MaxSize,
		EightBitMIME:        true,
		SMTPUTF8:            true,
		DSN:                 true,
		EnhancedStatusCodes: true,
		Chunking:            true,
		StartTLS:            s.options.TLS != nil && s.origin.TLS == nil,
		MaxRecipients:       s.options.MaxRecipients,
		MaxMessages:         s.options.MaxMessages,
		Help:                true,
	}
}
