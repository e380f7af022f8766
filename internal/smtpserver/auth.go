package smtpserver

import (
	"context"
	"crypto/tls"
	"errors"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// This file is AUTH (RFC 4954). The engine owns its syntax, sequence and limits;
// what is said within an exchange is for the handler alone: it stands in no fact
// and in no log, and neither does what may be credentials of a client that is out
// of step.

// maxRounds is how many lines a client may need to prove who it is. SCRAM takes
// two, or three with no initial response.
const maxRounds = 10

var noExchange = mail.NewReply(454, "4.7.0", "Temporary authentication failure")

// authOffer returns the mechanisms that EHLO offers now. hidden says that there
// are some, but not in clear.
func (s *session) authOffer(o mail.Origin) (offered smtp.Mechanisms, hidden bool) {
	a, ok := s.handler.(Authenticator)
	if !ok {
		return nil, false
	}
	offered = a.Mechanisms(o)
	if o.TLS == nil && !s.options.AuthInClear {
		return nil, len(offered) > 0
	}
	return offered, false
}

// mayAuth returns why AUTH is not for this client at this time.
func (s *session) mayAuth(hidden bool) mail.Reply {
	if r := s.checkSequence(hello | noTransaction); !r.IsZero() { // RFC 4954 4
		return r
	}
	switch {
	case s.origin.Account != nil: // RFC 4954 4
		return mail.NewReply(503, "5.5.1", "You have authenticated already")
	case hidden:
		return mail.NewReply(538, "5.7.11", "Encryption required: send STARTTLS first")
	case len(s.ext.Auth) == 0: // after HELO
		return mail.NewReply(503, "5.5.1", "AUTH needs EHLO")
	}
	return mail.Reply{}
}

// auth does AUTH. Where it is not offered it is not known (RFC 5321 4.2.4), and the
// handler does not hear what may be a password.
func (s *session) auth(ctx context.Context, c smtp.Command) mail.Reply {
	offered, hidden := s.authOffer(s.origin)
	if len(offered) == 0 && !hidden {
		return s.unknown(ctx, smtp.Command{Verb: c.Verb})
	}
	if r := s.mayAuth(hidden); !r.IsZero() {
		return r
	}
	a, err := smtp.ParseAuth(c.Args)
	switch {
	case err != nil:
		return err.Reply
	case !s.ext.Auth.Has(a.Mechanism):
		return mail.NewReply(504, "5.5.4", "The mechanism is not offered here")
	}
	x, r := s.handler.(Authenticator).Authenticate(ctx, a.Mechanism, s.conn.tlsState())
	if x != nil {
		defer x.End()
	}
	if x == nil || !r.IsZero() {
		return authRefusal(r)
	}
	who, r := s.exchange(ctx, x, a.Initial)
	if who == nil {
		return r
	}
	s.origin.Account = who
	s.origin.Protocol = smtp.ESMTPProtocol(s.origin.TLS != nil, true)
	s.options.Metrics.logins.Add(1)
	if s.origin.TLS == nil {
		s.note(habitClearAuth)
	}
	return r
}

// exchange leads an exchange to its end. who is nil unless the reply is 235; the
// zero reply is for a connection that is over, and was answered if it could be.
func (s *session) exchange(ctx context.Context, x smtp.Exchange, response []byte) (who *mail.Account, r mail.Reply) {
	for range maxRounds {
		challenge, who, r := x.Next(ctx, response)
		switch {
		case r.Code == 235 && who != nil:
			return who, r
		case !r.IsZero():
			return nil, authRefusal(r)
		}
		s.conn.challenge(challenge)
		line, err := s.conn.readResponse()
		if refused, ok := errors.AsType[*mail.Error](err); ok {
			return nil, refused.Reply
		}
		if err != nil {
			s.lineFailed(err)
			return nil, mail.Reply{}
		}
		if string(line) == smtp.CancelAuth {
			return nil, mail.NewReply(501, "5.7.0", "Authentication cancelled")
		}
		var malformed *mail.Error
		if response, malformed = smtp.DecodeResponse(line); malformed != nil {
			return nil, malformed.Reply
		}
	}
	return nil, mail.NewReply(500, "5.5.6", "Authentication takes too many lines")
}

// authRefusal returns r, which must refuse.
func authRefusal(r mail.Reply) mail.Reply {
	if r.Code != mail.NoReply && !r.Temporary() && !r.Permanent() {
		return noExchange
	}
	return r
}

// tlsState returns what was negotiated, to which an exchange may be bound; nil in
// clear.
func (c *conn) tlsState() *tls.ConnectionState {
	tc, ok := c.rw.(*tls.Conn)
	if !ok {
		return nil
	}
	state := tc.ConnectionState()
	return &state
}

// challenge queues a challenge.
func (c *conn) challenge(challenge []byte) { c.queue = smtp.AppendChallenge(c.queue, challenge) }
