package smtpserver

import (
	"context"
	"strings"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// need is what a command needs before it is done.
type need uint8

const (
	hello           need = 1 << iota // EHLO or HELO accepted
	openTransaction                  // a transaction is open
	noTransaction                    // none is
	tlsOffer                         // STARTTLS is on offer
	chatter                          // nothing, and counts as chatter
	inClear                          // no TLS where the listener demands it
	unproven                         // no certificate where the listener demands it
)

// command says how one verb is done. do returns the reply, or the zero reply
// when it has answered.
type command struct {
	verb  string
	needs need
	do    func(*session, context.Context, smtp.Command) mail.Reply
}

// commands are all verbs, the most frequent first.
var commands = [...]command{
	{"RCPT", hello | openTransaction, (*session).rcpt},
	{"MAIL", hello | noTransaction, (*session).mail},
	{"DATA", hello | openTransaction, (*session).data},
	{"EHLO", chatter | inClear, (*session).hello},
	{"HELO", chatter | inClear, (*session).hello},
	{"QUIT", inClear | unproven, (*session).quit},
	{"RSET", chatter | inClear, (*session).rset},
	{"NOOP", chatter | inClear, (*session).noop},
	{"STARTTLS", tlsOffer | inClear, (*session).starttls}, // also before EHLO, as some clients have it (RFC 5321 4.1.4)
	{"AUTH", 0, (*session).auth},
	{"VRFY", chatter, (*session).vrfy},
	{"HELP", chatter, (*session).help},
	{"BDAT", inClear | unproven, (*session).bdat}, // which has to drop its content
	{"EXPN", 0, (*session).notImplemented},
	{"TURN", 0, (*session).notImplemented},
	{"SEND", 0, (*session).notImplemented},
	{"SOML", 0, (*session).notImplemented},
	{"SAML", 0, (*session).notImplemented},
}

// lookup returns the command of a verb; one for those nobody knows.
func lookup(verb string) command {
	for i := range commands {
		if commands[i].verb == verb {
			return commands[i]
		}
	}
	return command{verb: verb, do: (*session).unknown}
}

// checkSequence returns the zero reply, or the one that says what is missing
// (RFC 5321 4.1.4).
func (s *session) checkSequence(needs need) mail.Reply {
	if r := s.checkCertificate(); needs&unproven == 0 && !r.IsZero() {
		return r
	}
	switch {
	case needs&inClear == 0 && s.options.TLSRequired && s.origin.TLS == nil: // RFC 3207 4
		return mail.NewReply(530, "5.7.0", "Must issue a STARTTLS command first")
	case needs&hello != 0 && !s.greeted:
		return mail.NewReply(503, "5.5.1", "Send EHLO or HELO first")
	case needs&openTransaction != 0 && s.tx == nil:
		return mail.NewReply(503, "5.5.1", "Send MAIL first")
	case needs&noTransaction != 0 && s.tx != nil:
		return mail.NewReply(503, "5.5.1", "A transaction is open already")
	case needs&tlsOffer != 0 && s.options.TLS == nil:
		return mail.NewReply(502, "5.5.1", "STARTTLS is not offered here")
	case needs&tlsOffer != 0 && s.origin.TLS != nil:
		return mail.NewReply(503, "5.5.1", "TLS is on already")
	}
	return mail.Reply{}
}

// checkCertificate returns the zero reply, or the one that refuses a client without
// the certificate that it must have (RFC 3207 4).
func (s *session) checkCertificate() mail.Reply {
	t := s.origin.TLS
	switch {
	case !s.options.ClientCertificates.Require || t == nil || t.Verified:
		return mail.Reply{}
	case t.Certificate == nil:
		return mail.NewReply(554, "5.7.0", "Refused: a client certificate is required, and none was shown")
	}
	return mail.NewReply(554, "5.7.0", "Refused: the client certificate %.16s... does not verify", t.Certificate.Fingerprint)
}

// isBlank reports whether a command has no arguments. Space at the end of a
// line is none (RFC 5321 4.1.1).
func isBlank(args string) bool { return strings.Trim(args, " \t") == "" }

// errArguments refuses arguments of a command that has none (RFC 5321 4.1.1).
func errArguments(verb string) mail.Reply {
	return mail.NewReply(501, "5.5.4", "%s has no arguments", verb)
}

func (s *session) quit(ctx context.Context, c smtp.Command) mail.Reply {
	if !isBlank(c.Args) {
		return errArguments(c.Verb)
	}
	s.closing = true
	return or(s.handler.Command(ctx, c), 221, "2.0.0", s.options.Hostname+" closing connection")
}

func (s *session) rset(ctx context.Context, c smtp.Command) mail.Reply {
	if !isBlank(c.Args) {
		return errArguments(c.Verb)
	}
	r := or(s.handler.Command(ctx, c), 250, "2.0.0", "Ok")
	if r.Success() {
		s.dropTransaction()
	}
	return r
}

func (s *session) noop(ctx context.Context, c smtp.Command) mail.Reply {
	return or(s.handler.Command(ctx, c), 250, "2.0.0", "Ok")
}

func (s *session) vrfy(ctx context.Context, c smtp.Command) mail.Reply {
	if isBlank(c.Args) {
		return mail.NewReply(501, "5.5.4", "Syntax: VRFY address")
	}
	// RFC 5321 7.3: whoever does not tell says 252.
	return or(s.handler.Command(ctx, c), 252, "2.5.0", "Cannot verify the address, send mail to find out")
}

func (s *session) help(ctx context.Context, c smtp.Command) mail.Reply {
	offer := s.offer(s.origin)
	commands := "EHLO HELO MAIL RCPT DATA"
	if offer.Chunking {
		commands += " BDAT"
	}
	commands += " RSET NOOP VRFY HELP QUIT"
	if offer.StartTLS {
		commands += " STARTTLS"
	}
	if len(offer.Auth) > 0 {
		commands += " AUTH"
	}
	return or(s.handler.Command(ctx, c), 214, "2.0.0", "Commands: "+commands+"\nSee RFC 5321")
}

func (s *session) notImplemented(ctx context.Context, c smtp.Command) mail.Reply {
	return or(s.handler.Command(ctx, c), 502, "5.5.1", "Command not implemented")
}

func (s *session) unknown(ctx context.Context, c smtp.Command) mail.Reply {
	return or(s.handler.Command(ctx, c), 500, "5.5.1", "Command not recognized")
}
