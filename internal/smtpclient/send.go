package smtpclient

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// Transaction is one message for one server.
type Transaction struct {
	Envelope   mail.Envelope
	Recipients []mail.Recipient
	// Size is the length of what Body yields, in octets; 0 means that it is
	// not known. If Body yields another number, the message is not sent: it
	// has been cut short on its way here.
	Size int64
	// Body is the content, read once and to its end.
	Body io.Reader
	// SevenBit, if not nil, returns another form of the content, which is
	// 7-bit, for a server without 8BITMIME (RFC 6152 3). An error that is a
	// mail.Error says why there is none.
	SevenBit func() (Content, error)
	// Recoded, if not nil, returns the form of the content that goes to this server in any case, in 7 bits or
	// up to 8, because it knows one charset alone. An error that is a mail.Error says why there is
	// none. Then Size, Body and SevenBit are not used.
	Recoded func(sevenBit bool) (Content, error)
	// BeforeDot, if not nil, is called when all but the end of data has been
	// written. If it fails, the message is not sent.
	BeforeDot func() error
}

// Content is the content of a message.
type Content struct {
	Size int64 // octets
	Body io.Reader
}

// pipelined is how many commands go out before their replies are read, for a
// server with PIPELINING. It keeps both ends from waiting for each other with
// full buffers (RFC 2920 3.1).
const pipelined = 100

// Send sends one message and returns one outcome for each recipient, in their
// order; Attempt and At are left to the caller. States are delivered, relayed,
// deferred and bounced. A connection that broke, or was in doubt, is closed;
// afterwards Usable tells.
//
// What the server cannot take is bounced without being sent: REQUIRETLS, SMTPUTF8, 8-bit
// content without a 7-bit form, or a message larger than its SIZE. When ctx ends, Send
// does, and what is not settled by then is deferred.
func (c *Conn) Send(ctx context.Context, t *Transaction) []mail.Outcome {
	defer c.rest()
	s := &sending{Conn: c, t: t, outcomes: make([]mail.Outcome, len(t.Recipients))}
	if err := s.prepare(ctx); err != nil {
		s.settleOpen(err)
		return s.outcomes
	}
	if len(s.recipients) == 0 {
		return s.outcomes
	}
	c.sent++
	if err := c.guard(ctx, func() *Error { return s.run(ctx) }); err != nil {
		s.settleOpen(err)
	}
	return s.outcomes
}

// sending is one call of Send.
type sending struct {
	*Conn
	t        *Transaction
	outcomes []mail.Outcome // a state of "" means that the recipient is open

	// commands are MAIL, a RCPT for each of recipients, and DATA or BDAT.
	commands   []string
	recipients []int  // indices into outcomes
	chunked    bool   // the content goes with the commands, by BDAT
	chunk      []byte // that content

	refused  bool // MAIL was
	accepted int  // recipients
	started  bool // DATA was answered by 354
	taken    bool // the message was
}

// settleOpen gives all recipients that are open the outcome of err.
func (s *sending) settleOpen(err *Error) {
	for i := range s.outcomes {
		if s.outcomes[i].State == "" {
			s.outcomes[i] = err.Outcome()
		}
	}
}

// prepare builds the commands and settles what cannot be sent to this server.
func (s *sending) prepare(ctx context.Context) *Error {
	if ctx.Err() != nil {
		return s.broken(ctx, "MAIL", nil)
	}
	if !s.Usable() {
		return s.local("MAIL", mail.NewReply(451, "4.4.2", "Connection to %s lost", s.host), errNotUsable)
	}
	t, err := s.fitted(s.t)
	if err != nil {
		return s.local("MAIL", mail.ReplyOf(err), privateCause(err))
	}
	s.t = t
	envelope := s.t.Envelope
	s.commands = make([]string, 1, len(s.t.Recipients)+2)
	s.recipients = make([]int, 0, len(s.t.Recipients))
	for i, r := range s.t.Recipients {
		command := smtp.FormatRcpt(r, s.extensions)
		reply := s.unfitRecipient(r)
		if reply.IsZero() && !oneLine(command) {
			reply = mail.NewReply(553, "5.1.3", "Recipient address malformed")
		}
		if !reply.IsZero() {
			s.refuse(i, reply)
			continue
		}
		envelope.UTF8 = envelope.UTF8 || !r.Address.IsASCII()
		s.commands = append(s.commands, command)
		s.recipients = append(s.recipients, i)
	}
	s.chunked = s.fitsChunk()
	s.commands = append(s.commands, "DATA")
	s.commands[0] = smtp.FormatMail(envelope, s.t.Size, s.extensions)
	if !oneLine(s.commands[0]) {
		return s.local("MAIL", mail.NewReply(553, "5.1.7", "Sender address malformed"), nil)
	}
	return nil
}

// refuse gives a recipient the outcome that it cannot be sent to this server.
func (s *sending) refuse(recipient int, reply mail.Reply) {
	s.outcomes[recipient] = s.local("RCPT", reply, nil).Outcome()
}

// oneLine reports whether a command has no control characters. Addresses that
// were parsed have none; this is the last place to stop one that was not.
func oneLine(command string) bool {
	return !strings.ContainsFunc(command, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func (s *sending) run(ctx context.Context) *Error {
	if s.chunked {
		if err := s.loadChunk(ctx); err != nil {
			return err
		}
	}
	if err := s.sendEnvelope(ctx); err != nil {
		return err
	}
	switch {
	case s.taken:
		return nil
	case s.started && s.accepted > 0:
		// QUIRK: Postfix whose smtpd_end_of_data_restrictions refuse a message
		// keeps its envelope, and would take the next message's recipients and
		// content into it. So there is a RSET behind every refusal.
		if err := s.sendContent(ctx); err != nil || s.taken {
			return err
		}
	case s.started && s.options.LMTP:
		// It should have refused DATA (RFC 2033 4.2); how often it would answer the end
		// of an empty message nobody knows.
		s.drop()
		return nil
	case s.started:
		// The server wants content although no recipient was accepted: an
		// empty message ends the transaction (RFC 2920 3.1).
		s.put(".")
		if _, err := s.ask(ctx, "end of data", s.options.Timeouts.Reset); err != nil {
			return err
		}
	case s.refused && !s.chunked:
		return nil
	}
	return s.reset(ctx)
}

// reset ends a transaction that failed. All recipients are settled.
func (s *sending) reset(ctx context.Context) *Error {
	s.put("RSET")
	reply, err := s.ask(ctx, "RSET", s.options.Timeouts.Reset)
	if err == nil && !reply.Success() {
		err = s.unexpected("RSET", reply)
	}
	return err
}

// sendEnvelope sends MAIL, RCPT and DATA, as many at once as the server
// allows, and takes the replies.
func (s *sending) sendEnvelope(ctx context.Context) *Error {
	window := 1
	if s.extensions.Pipelining {
		window = pipelined
	}
	for from := 0; from < len(s.commands) && !s.hopeless(from); from += window {
		to := min(from+window, len(s.commands))
		for _, command := range s.commands[from:to] {
			s.put(command)
		}
		if to == len(s.commands) {
			_, _ = s.bw.Write(s.chunk)
		}
		command, timeout := s.phase(from)
		if err := s.flush(ctx, command, timeout); err != nil {
			return err
		}
		for n := from; n < to; n++ {
			command, timeout := s.phase(n)
			reply, err := s.reply(ctx, command, timeout)
			if err == nil {
				err = s.take(n, reply)
			}
			if err != nil {
				return s.behindChunk(err)
			}
		}
	}
	return nil
}

// hopeless reports whether nothing can come of command n.
func (s *sending) hopeless(n int) bool {
	return s.refused || n == len(s.commands)-1 && s.accepted == 0
}

// phase returns the name of command n and the time for its reply.
func (s *sending) phase(n int) (command string, timeout time.Duration) {
	switch n {
	case 0:
		return "MAIL", s.options.Timeouts.Mail
	case len(s.commands) - 1:
		if s.chunked {
			return "end of data", s.options.Timeouts.DataEnd
		}
		return "DATA", s.options.Timeouts.DataStart
	}
	return "RCPT", s.options.Timeouts.Rcpt
}

// take takes the reply to command n.
func (s *sending) take(n int, reply mail.Reply) *Error {
	switch {
	case n == 0:
		return s.takeMail(reply)
	case n == len(s.commands)-1 && s.chunked:
		return s.takeChunk(reply)
	case n == len(s.commands)-1:
		return s.takeData(reply)
	case s.refused: // and so were all RCPT commands that were sent with MAIL
		return nil
	}
	return s.takeRcpt(s.recipients[n-1], reply)
}

func (s *sending) takeMail(reply mail.Reply) *Error {
	switch {
	case reply.Success():
		return nil
	case reply.Intermediate():
		return s.unexpected("MAIL", reply)
	}
	s.refused = true
	s.settleOpen(s.remote("MAIL", reply))
	return nil
}

func (s *sending) takeRcpt(i int, reply mail.Reply) *Error {
	switch {
	case reply.Success():
		s.accepted++
		return nil
	case reply.Intermediate():
		return s.unexpected("RCPT", reply)
	case reply.Code == 552:
		// QUIRK: 552 here used to mean "too many recipients", and a client
		// takes it for the 452 that it should be (RFC 5321 4.5.3.1.10).
		reply.Code = 452
		if rest, found := strings.CutPrefix(reply.Enhanced, "5"); found {
			reply.Enhanced = "4" + rest
		}
	}
	s.outcomes[i] = s.remote("RCPT", reply).Outcome()
	return nil
}

func (s *sending) takeData(reply mail.Reply) *Error {
	switch {
	case reply.Code == 354:
		s.started = true
	case reply.Success(), reply.Intermediate():
		return s.unexpected("DATA", reply)
	default:
		s.settleOpen(s.remote("DATA", reply))
	}
	return nil
}

// sendContent sends the content and the end of data, and settles the
// recipients that were accepted.
func (s *sending) sendContent(ctx context.Context) *Error {
	if s.br.Buffered() > 0 {
		return s.unexpectedBefore("end of data")
	}
	dot := smtp.NewDotWriter(s.writer())
	if err := s.copyBody(ctx, dot); err != nil {
		return err
	}
	// From here on the server may have the whole message.
	err := dot.Close()
	if err == nil {
		err = s.bw.Flush()
	}
	if err != nil {
		return unknownOutcome(s.cutOff(ctx, "end of data", err))
	}
	if s.options.LMTP {
		return s.takeEach(ctx)
	}
	reply, failure := s.endOfData(ctx)
	if failure != nil {
		return failure
	}
	s.settleTaken(reply)
	return nil
}

// endOfData reads a reply to the end of data.
func (s *sending) endOfData(ctx context.Context) (mail.Reply, *Error) {
	reply, failure := s.reply(ctx, "end of data", s.options.Timeouts.DataEnd)
	switch {
	case failure != nil:
		return mail.Reply{}, unknownOutcome(failure)
	case reply.Intermediate():
		return mail.Reply{}, s.unexpected("end of data", reply)
	}
	return reply, nil
}

// settleTaken settles the recipients that were accepted by the reply to the
// end of the message.
func (s *sending) settleTaken(reply mail.Reply) {
	s.taken = reply.Success()
	for _, i := range s.recipients {
		if s.outcomes[i].State == "" {
			s.settleOne(i, reply)
		}
	}
}

// settleOne settles a recipient by the reply to the end of the message.
func (s *sending) settleOne(i int, reply mail.Reply) {
	s.outcomes[i] = s.remote("end of data", reply).Outcome()
	if reply.Success() {
		s.outcomes[i].State = s.successFor(s.t.Recipients[i])
	}
}

// successFor returns what a recipient is that the server has taken. Of one
// whose success the sender wants to hear of, a server without DSN would say
// nothing: that is for us to report now (RFC 3461 5.2.2).
func (s *sending) successFor(r mail.Recipient) mail.State {
	if r.Notify&mail.NotifySuccess != 0 && !s.extensions.DSN {
		return mail.Relayed
	}
	return mail.Delivered
}

// copyBody writes the content and makes sure that it may end here.
func (s *sending) copyBody(ctx context.Context, dot *smtp.DotWriter) *Error {
	s.allow(s.options.Timeouts.DataBlock)
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	n, err := io.CopyBuffer(dot, s.t.Body, buffer[:])
	switch _, broken := s.writer().Write(nil); {
	case broken != nil: // the writer's error is sticky
		return s.cutOff(ctx, "DATA", broken)
	case ctx.Err() != nil:
		return s.broken(ctx, "DATA", nil)
	case err != nil:
		return s.local("DATA", mail.LocalError, fmt.Errorf("cannot read the content: %w", err))
	case s.t.Size > 0 && n != s.t.Size:
		return s.local("DATA", mail.LocalError, fmt.Errorf("%w: %d octets instead of %d", errTruncated, n, s.t.Size))
	}
	if s.t.BeforeDot == nil {
		return nil
	}
	if err := s.t.BeforeDot(); err != nil {
		return s.local("DATA", mail.LocalError, err)
	}
	return nil
}

// cutOff returns the failure that content could not be written: the refusal
// that the server sent before it closed, if it did.
func (s *sending) cutOff(ctx context.Context, command string, cause error) *Error {
	reply, last := s.lastWords(ctx, "end of data")
	switch {
	case last != nil && last.Remote:
		return last
	case last == nil && (reply.Temporary() || reply.Permanent()):
		return s.remote("end of data", reply)
	}
	return s.broken(ctx, command, cause)
}

// unknownOutcome marks the failure of a connection that broke when the server
// may already have taken the message.
func unknownOutcome(err *Error) *Error {
	if !err.Remote {
		err.Cause = fmt.Errorf("%w: %w", errUnknown, err.Cause)
	}
	return err
}
