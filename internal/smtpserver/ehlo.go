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
		origin.Protocol = smtp.ESMTPProtocol(origin.TLS != nil, origin.Account != nil)
		ext = s.offer(origin)
		lines = append([]string{s.options.Hostname + " greets " + h.Domain}, ext.Keywords()...)
	}
	r := s.handler.Hello(ctx, origin)
	if g, ok := s.handler.(Greeter); ok && r.IsZero() {
		if words := greeting(g.Greeting()); words != "" {
			lines[0] = s.options.Hostname + " " + words
		}
	}
	r = or(r, 250, "", strings.Join(lines, "\n"))
	if r.Success() {
		s.dropTransaction()
		s.origin, s.ext, s.greeted = origin, ext, true
		if h.Verb == "HELO" {
			s.note(habitHELO)
		}
	}
	return r
}

// maxGreeting bounds the words of a greeting: a line of a reply has 512 octets
// (RFC 5321 4.5.3.1.5), of which the name of the server takes up to 255.
const maxGreeting = 200

// greeting makes words of the handler's fit for a reply: whatever is in them,
// they are one line of printable US-ASCII.
func greeting(words string) string {
	words = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, words)
	return words[:min(len(words), maxGreeting)]
}

// offer returns the extensions that EHLO offers to a client now.
func (s *session) offer(o mail.Origin) smtp.Extensions {
	e := Offered(s.options)
	e.StartTLS = e.StartTLS && o.TLS == nil
	e.RequireTLS = e.RequireTLS && o.TLS != nil
	e.Auth, _ = s.authOffer(o)
	return e
}

// Offered returns the extensions that a listener with these options offers, but for
// AUTH, which is the handler's.
func Offered(o *Options) smtp.Extensions {
	return smtp.Extensions{
		Pipelining:          !o.Without.Pipelining,
		HasSize:             true,
		MaxSize:             o.MaxSize,
		EightBitMIME:        !o.Without.EightBitMIME,
		SMTPUTF8:            !o.Without.SMTPUTF8,
		DSN:                 !o.Without.DSN,
		EnhancedStatusCodes: true,
		Chunking:            !o.Without.Chunking,
		StartTLS:            o.TLS != nil && !o.Implicit,
		RequireTLS:          o.RequireTLS && o.TLS != nil && !o.Without.RequireTLS,
		MaxRecipients:       o.MaxRecipients,
		MaxMessages:         o.MaxMessages,
		Help:                true,
	}
}
