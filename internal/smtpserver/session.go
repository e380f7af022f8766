package smtpserver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime/debug"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// maxChatter is how many commands that bring no mail nearer a client may
// send between two messages. Each one more counts as an error.
const maxChatter = 100

// session is one client's session.
type session struct {
	server  *Server
	options *Options // those of the server when the session began
	conn    *conn
	handler Session
	log     *slog.Logger

	origin  mail.Origin
	ext     smtp.Extensions // in force: what EHLO offered
	greeted bool            // EHLO or HELO was accepted
	tx      *transaction    // nil outside a transaction
	unread  []byte          // a command line that was read too early
	named   *mail.Address   // the address in the command at hand, for facts

	mails    int // MAIL commands
	accepted int // messages
	errors   int // refused commands since the last accepted message
	chatter  int // commands without use since the last accepted message
	closing  bool

	noted     notes
	authTried bool // AUTH was said: what is no command may be credentials
}

func newSession(s *Server, c *conn, o mail.Origin) *session {
	return &session{
		server: s, options: &c.edition.options, conn: c, origin: o,
		log: c.edition.options.Logger.With("session", o.Session),
	}
}

// run leads the session from its first octet to its end, which is when the last
// reply was written. What admit returns, if not zero, is what the client gets
// instead of a greeting.
func (s *session) run(ctx context.Context, admit func(context.Context, *session) mail.Reply) {
	s.log.Debug("session begins", "listener", s.origin.Listener, "client", s.origin.Client)
	defer func() {
		err := s.conn.flush()
		s.log.Debug("session ended", "messages", s.accepted, "mails", s.mails, "error", err)
	}()
	defer s.survive()
	defer func() {
		if s.handler != nil {
			s.handler.End()
		}
	}()
	s.greet(ctx, admit(ctx, s))
	for !s.closing {
		line, err := s.readLine()
		if err != nil {
			s.lineFailed(err)
			continue
		}
		s.execute(ctx, line)
	}
}

// readLine returns the next command line: the one that ended a message in
// chunks, or one from the client.
func (s *session) readLine() ([]byte, error) {
	if line := s.unread; line != nil {
		s.unread = nil
		return line, nil
	}
	s.conn.narrow()
	return s.conn.readLine(s.tx == nil)
}

// survive turns a panic of the handler into the end of this session alone.
func (s *session) survive() {
	if p := recover(); p != nil {
		s.log.Error("panic in a handler", "panic", p, "stack", string(debug.Stack()))
		s.conn.reply(mail.NewReply(421, "4.3.0", "%s: internal error, closing connection", s.options.Hostname))
	}
}

// greet sends the greeting, or the refusal: ours, or the handler's.
func (s *session) greet(ctx context.Context, r mail.Reply) {
	if r.IsZero() {
		r = s.checkCertificate()
	}
	if r.IsZero() {
		s.handler, r = s.conn.edition.handler.Begin(ctx, s.origin)
		r = or(r, 220, "", s.options.Hostname+" ESMTP Postern")
	}
	if r.Success() && s.handler == nil {
		r = mail.NewReply(421, mail.LocalError.Enhanced, "%s", mail.LocalError.Text)
	}
	if !r.Success() {
		s.closing = true
	}
	s.answer("connect", r)
}

// lineFailed deals with a command line that could not be read.
func (s *session) lineFailed(err error) {
	if refusal, ok := errors.AsType[*mail.Error](err); ok {
		s.answer("", refusal.Reply)
		return
	}
	s.closing = true
	switch {
	case errors.Is(err, errStopping):
		s.conn.reply(s.endReply())
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.log.Info("client is silent", "transaction", s.tx != nil)
		s.conn.reply(mail.NewReply(421, "4.4.2", "%s: timeout, closing connection", s.options.Hostname))
	default:
		s.log.Debug("connection lost", "error", err)
	}
}

// endReply says why a session has to end between two transactions.
func (s *session) endReply() mail.Reply {
	if s.server.isStopping() {
		return stoppingReply(s.options.Hostname)
	}
	s.log.Info("session ends: its settings are no longer in force", "client", s.origin.Client)
	return reconfiguredReply(s.options.Hostname)
}

// execute does one command.
func (s *session) execute(ctx context.Context, line []byte) {
	s.named = nil
	cmd, err := s.parse(line)
	switch {
	case isOtherProtocol(cmd.Verb, line):
		s.otherProtocol(cmd.Verb, line)
		return
	case err != nil:
		s.answer(cmd.Verb, mail.ReplyOf(err))
		return
	}
	c := lookup(cmd.Verb)
	r := s.checkSequence(c.needs)
	if r.IsZero() && c.needs&chatter != 0 {
		r = s.countChatter()
	}
	if r.IsZero() {
		r = c.do(s, ctx, cmd)
	}
	s.answer(cmd.Verb, r)
}

// parse reads a command line.
func (s *session) parse(line []byte) (smtp.Command, error) {
	c, err := smtp.ParseCommand(line)
	s.authTried = s.authTried || c.Verb == "AUTH"
	return c, err
}

// shown returns what facts have of a command: nothing of a verb that nobody knows,
// when it may be what a client that is out of step says to a challenge.
func (s *session) shown(command string) string {
	if s.authTried && command != endOfData && !smtp.IsVerb(command) {
		return ""
	}
	return command[:min(len(command), maxFactCommand)]
}

// answer queues the reply to a command; the zero reply stands for one that
// was answered already. A refusal is counted and recorded here, and here
// only; the one too many becomes a 421, unless it ends the session anyway.
func (s *session) answer(command string, r mail.Reply) {
	switch {
	case r.IsZero():
		return
	case r.Code == mail.NoReply:
		s.closing = true
		return
	case r.Code < 200 || r.Code > 599:
		r = mail.LocalError
	}
	if r.Code >= 400 {
		cause := ""
		if s.errors++; s.errors >= s.options.MaxErrors && r.Code != 421 && !s.closing {
			cause = r.String()
			r = s.tooManyErrors()
		}
		s.refused(command, r, cause)
	}
	if r.Code == 421 {
		s.closing = true
	}
	s.conn.reply(r)
}

// countChatter counts a command that brings no mail nearer, and returns the
// reply that ends the session after too many.
func (s *session) countChatter() mail.Reply {
	if s.chatter++; s.chatter <= maxChatter {
		return mail.Reply{}
	}
	if s.errors++; s.errors < s.options.MaxErrors {
		return mail.Reply{}
	}
	return s.tooManyErrors()
}

func (s *session) tooManyErrors() mail.Reply {
	s.log.Info("too many errors", "client", s.origin.Client)
	return mail.NewReply(421, "4.7.0", "%s: too many errors, closing connection", s.options.Hostname)
}

// maxFactCommand cuts what a client calls a command in a fact.
const maxFactCommand = 32

// refused records a refusal. cause is what the client was not told.
func (s *session) refused(command string, r mail.Reply, cause string) {
	origin := s.origin
	fact := mail.Fact{
		Time:    s.options.Clock.Now(),
		Reason:  mail.ReasonRefused,
		Session: origin.Session,
		Origin:  &origin,
		Command: s.shown(command),
		Reply:   &r,
		Text:    cause,
	}
	if e, ok := s.handler.(Explainer); ok {
		fact.Trail = mail.Trail(e.Trail())
	}
	if s.tx != nil {
		s.tx.describe(&fact)
	}
	switch {
	case s.named == nil:
	case command == "MAIL":
		fact.From = s.named.Path()
	case command == "RCPT":
		fact.To = []string{s.named.Path()}
	}
	if r, ok := s.handler.(Recorder); !ok || !r.Recorded() {
		s.options.Record(fact)
	}
	s.options.Metrics.refused(command, r)
	s.log.Debug("refused", "command", fact.Command, "reply", r.String(), "cause", cause)
}

// dropTransaction ends an open transaction without a message.
func (s *session) dropTransaction() {
	if s.tx != nil {
		s.tx = nil
		s.handler.Reset()
	}
}

// or returns r, or the reply of the other arguments when r is zero.
func or(r mail.Reply, code int, enhanced, text string) mail.Reply {
	if !r.IsZero() {
		return r
	}
	return mail.Reply{Code: code, Enhanced: enhanced, Text: text}
}

// otherProtocol hangs up on a client of another protocol.
func (s *session) otherProtocol(verb string, line []byte) {
	said := string(line[:min(len(line), 80)])
	if s.authTried {
		said = "(not shown: it may be a password)"
	}
	s.log.Info("client speaks another protocol", "line", said)
	s.closing = true
	s.answer(verb, mail.NewReply(554, "5.5.1", "This is an SMTP server"))
}

// isOtherProtocol reports whether a line is the talk of an HTTP client, or a
// header field: of an HTTP request, or of a message whose client did not wait
// for the reply to DATA. Such a client cannot be kept in step, and what it
// says next may have been chosen by somebody else.
func isOtherProtocol(verb string, line []byte) bool {
	switch verb {
	case "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT":
		return true
	}
	name := bytes.IndexFunc(line, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	return name > 0 && line[name] == ':'
}
