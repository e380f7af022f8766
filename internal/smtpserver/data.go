package smtpserver

import (
	"context"
	"errors"
	"os"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// drainSlack is how much more than MaxSize is dropped of a message that is
// not wanted, before the client is.
const drainSlack = 1 << 20

// content is what the handler reads.
type content struct {
	*smtp.DataReader
	conn *conn
}

// ClientGone implements smtp.Content.
func (c content) ClientGone() bool { return c.conn.gone() }

// endOfData is what facts call the end of content, which is no command.
const endOfData = "end of data"

var noRecipients = mail.NewReply(554, "5.5.1", "No valid recipients")

// data does DATA. If it is refused, the transaction stays open.
func (s *session) data(ctx context.Context, c smtp.Command) mail.Reply {
	if !isBlank(c.Args) {
		return errArguments(c.Verb)
	}
	if s.tx.recipients == 0 { // RFC 2920 3.1: a client that pipelines cannot know
		return noRecipients
	}
	r := or(s.handler.Data(ctx), 354, "", "End data with <CR><LF>.<CR><LF>")
	switch {
	case r.Success(): // the client would take its content for delivered
		return mail.LocalError
	case r.Intermediate() && r.Code != 354:
		return mail.LocalError
	case !r.Intermediate():
		return r
	}
	s.conn.reply(r)
	s.takeContent(ctx)
	return mail.Reply{}
}

// takeContent hands the message to the handler, brings the stream to the end
// of data, and answers it.
func (s *session) takeContent(ctx context.Context) {
	s.conn.widen()
	data := smtp.NewDataReader(s.conn.br, s.options.Newlines(s.origin), s.options.MaxSize)
	_ = s.conn.flush() // the next read returns its error
	s.conn.pace = s.newPace()
	r := s.handler.Content(ctx, content{data, s.conn})
	if r.Code != mail.NoReply {
		data.Drain(s.options.MaxSize + drainSlack)
		r = verdict(data, r)
	}
	s.conn.pace = nil
	s.logBroken(data)
	s.closing = s.closing || !data.Ended() // what follows is content still
	s.noteContent(data)
	s.endMessage(endOfData, r)
}

func (s *session) newPace() *pace {
	return &pace{timeout: s.options.DataTimeout, rate: s.options.MinDataRate}
}

// endMessage answers a message that the handler has ended.
func (s *session) endMessage(command string, r mail.Reply) {
	s.answer(command, r)
	s.tx = nil
	if r.Success() {
		s.accepted++
		s.errors, s.chatter = 0, 0
	}
}

// verdict returns the reply to the end of data: the handler's, unless the
// content is not what the handler took it for, or its end was never reached.
// Content without end in sight is too large for good: after a temporary reply
// the client would send it all again, for days.
func verdict(data *smtp.DataReader, r mail.Reply) mail.Reply {
	switch {
	case data.Broken() != nil:
		return mail.ReplyOf(data.Broken())
	case !data.Ended():
		return mail.NewReply(552, "5.3.4", "The message is far larger than allowed, closing connection")
	case r.Success() && data.Err() != nil:
		return mail.ReplyOf(data.Err())
	}
	return answerTo(r)
}

// answerTo returns r, which must be an answer to content.
func answerTo(r mail.Reply) mail.Reply {
	if !r.Success() && !r.Temporary() && !r.Permanent() {
		return mail.LocalError
	}
	return r
}

// logBroken tells the operator of content that did not come to its end.
func (s *session) logBroken(data *smtp.DataReader) {
	err := data.Broken()
	if err == nil {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && data.BareDot() {
		s.log.Warn("client waits after LF . LF: it must end content with CRLF . CRLF", "client", s.origin.Client, "size", data.Size())
		return
	}
	s.log.Info("content broken off", "client", s.origin.Client, "size", data.Size(), "error", err)
}
