package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"postern/internal/mail"
)

// Error is a failure of Dial, or one that broke a connection. Its fields mean
// what those of mail.Outcome do.
type Error struct {
	Host    string
	Address netip.AddrPort
	// Command is what Reply answers: "connect", "greeting", "EHLO", "HELO",
	// "LHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA" or "end of data".
	Command string
	Reply   mail.Reply
	// Remote says that Reply is the server's own.
	Remote bool
	TLS    *mail.TLS
	// TLSPolicy is nil when the failure came before TLS was spoken of.
	TLSPolicy *mail.TLSPolicy
	// Credential is the name of the record that was to be shown, of a failure of AUTH.
	Credential string
	Cause      error
}

// Error returns all of it in one line, for the log.
func (e *Error) Error() string {
	where := e.Host
	if e.Address.IsValid() { // of a Unix socket there is none
		where += " [" + e.Address.String() + "]"
	}
	s := fmt.Sprintf("%s: %s: %s", where, e.Command, e.Reply)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Outcome returns what the failure makes of a recipient: bounced if the reply
// is permanent, else deferred.
func (e *Error) Outcome() mail.Outcome {
	o := mail.Outcome{
		State:     mail.Deferred,
		Host:      e.Host,
		Address:   e.Address,
		Command:   e.Command,
		Reply:     e.Reply,
		Remote:    e.Remote,
		TLS:       e.TLS,
		TLSPolicy: e.TLSPolicy,
	}
	if e.Reply.Permanent() {
		o.State = mail.Bounced
	}
	if e.Cause != nil {
		o.Cause = e.Cause.Error()
	}
	return o
}

// CredentialsRefused reports whether the server has refused the credentials, for good. What says that there can be
// no AUTH, not so, or not in clear (RFC 5321 4.2.2, RFC 4954 4 and 6) says nothing of them, unless it names them.
//
// QUIRK: some servers answer 500 or 501 to a wrong password.
func (e *Error) CredentialsRefused() bool {
	if e.Command != "AUTH" || !e.Remote || !e.Reply.Permanent() {
		return false
	}
	switch e.Reply.Code {
	case 502, 503, 504, 530, 538:
		return e.Reply.Enhanced == "5.7.8"
	}
	return true
}

// Causes of failures that are not errors of the network.
var (
	errOutOfStep    = errors.New("the server sent a reply to nothing")
	errTruncated    = errors.New("the content's length is not the transaction's size")
	errNotUsable    = errors.New("the connection is not usable")
	errInjection    = errors.New("the server sent data between its reply to STARTTLS and the handshake")
	errUnknown      = errors.New("the end of data was sent, whether the message was taken is unknown")
	errUnknownLevel = errors.New("the level of the TLS policy is unknown")
	// errNoQuestion is of a server that asks for more than there is in the mechanism.
	errNoQuestion     = errors.New("the server asks for more than there is")
	errAsksWithoutEnd = errors.New("the server asks without end")
)

// unexpectedReply is the cause of a failure in which the server's reply has
// no meaning in its place.
type unexpectedReply struct{ reply mail.Reply }

func (e unexpectedReply) Error() string { return "the server replied " + e.reply.String() }

// local returns a failure in Postern's own words.
func (c *Conn) local(command string, reply mail.Reply, cause error) *Error {
	return &Error{Host: c.host, Address: c.address, Command: command, Reply: reply, TLS: c.tls, TLSPolicy: c.judged, Cause: cause}
}

// remote returns a failure that the server stated.
func (c *Conn) remote(command string, reply mail.Reply) *Error {
	return &Error{Host: c.host, Address: c.address, Command: command, Reply: reply, Remote: true, TLS: c.tls, TLSPolicy: c.judged}
}

// unexpected returns the failure that reply has no meaning as an answer to
// command (RFC 3463 3.6).
func (c *Conn) unexpected(command string, reply mail.Reply) *Error {
	return c.local(command, mail.NewReply(451, "4.5.0", "Unexpected reply from %s to %s", c.host, command),
		unexpectedReply{reply})
}

// unexpectedBefore returns the failure that the server replied to nothing
// before command was sent.
func (c *Conn) unexpectedBefore(command string) *Error {
	return c.local(command, mail.NewReply(451, "4.5.0", "Unexpected reply from %s before %s", c.host, command),
		errOutOfStep)
}

// broken returns the failure that the connection broke (RFC 3463 3.5).
func (c *Conn) broken(ctx context.Context, command string, cause error) *Error {
	what := "lost"
	switch {
	case ctx.Err() != nil:
		what, cause = "given up", context.Cause(ctx)
	case errors.Is(cause, os.ErrDeadlineExceeded):
		what = "timed out"
	}
	return c.local(command, mail.NewReply(451, "4.4.2", "Connection to %s %s %s", c.host, what, phases[command]), cause)
}

// phases are what the client was waiting for when a connection broke.
var phases = map[string]string{
	"connect":     "while connecting",
	"greeting":    "while waiting for the greeting",
	"EHLO":        "while waiting for the reply to EHLO",
	"HELO":        "while waiting for the reply to HELO",
	"LHLO":        "while waiting for the reply to LHLO",
	"STARTTLS":    "while starting TLS",
	"AUTH":        "while waiting for the reply to AUTH",
	"MAIL":        "while waiting for the reply to MAIL",
	"RCPT":        "while waiting for the reply to RCPT",
	"DATA":        "before the end of the message",
	"end of data": "after the end of the message",
}
