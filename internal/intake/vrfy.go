package intake

import (
	"context"
	"strings"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// Disclosure is what VRFY tells of addresses (RFC 5321 3.5).
type Disclosure int

// What it tells.
const (
	TellNothing Disclosure = iota // it can be found out by sending mail
	TellUsers                     // whether there is somebody at an address of this host
	TellOff                       // nobody is answered
)

var notTold = mail.NewReply(550, "5.7.1", "Addresses are not verified here")

// vrfy answers VRFY; the zero reply leaves it to the engine, which tells nothing. Policy is not asked: it may have somebody elsewhere for an address
// that nobody has here.
func (s *Session) vrfy(ctx context.Context, args string) mail.Reply {
	switch s.in.VRFY(s.origin.Listener) {
	case TellOff:
		return notTold
	case TellUsers:
		return s.verify(ctx, args)
	}
	return mail.Reply{}
}

// verify says whether mail for an address of this host would find somebody. To whom it
// would go is not told.
func (s *Session) verify(ctx context.Context, args string) mail.Reply {
	to, err := s.verified(args)
	if err != nil {
		return mail.NewReply(553, "5.1.3", "Not an address, nor the name of a user")
	}
	x, err := s.in.Local.Expand(ctx, to, s.sending())
	switch reply := mail.ReplyOf(err); {
	case reply.Enhanced == errUnknownUser.Reply.Enhanced:
		return reply
	case reply.Temporary(), err == nil && x == nil, !to.IsASCII(): // a reply is US-ASCII (RFC 5321 4.2)
		return mail.Reply{}
	}
	return mail.NewReply(250, "2.1.5", "%s", to.Path())
}

// verified reads the argument: an address with or without brackets, or the local part of
// one at this host; perhaps with SMTPUTF8 behind it.
func (s *Session) verified(args string) (mail.Address, error) {
	text := strings.TrimSpace(args)
	if at := strings.LastIndexByte(text, ' '); at >= 0 && strings.EqualFold(text[at+1:], "SMTPUTF8") {
		text = strings.TrimSpace(text[:at])
	}
	if inner, bracketed := strings.CutPrefix(text, "<"); bracketed {
		text = strings.TrimSuffix(inner, ">")
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		a, err = mail.ParseAddress(text + "@" + s.in.Hostname)
	}
	if err != nil {
		return a, err
	}
	return s.in.Routed(s.origin.Listener, a, s.origin.Local.Addr()), nil
}

// Command answers VRFY, and leaves every other command to the engine.
func (s *Session) Command(ctx context.Context, c smtp.Command) mail.Reply {
	if c.Verb == "VRFY" {
		return s.vrfy(ctx, c.Args)
	}
	return mail.Reply{}
}
