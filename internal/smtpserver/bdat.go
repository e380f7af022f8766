package smtpserver

import (
	"bytes"
	"context"
	"errors"
	"io"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// bdat does BDAT: it takes the message to its last chunk, or the first chunk
// alone if that is refused. Content that is refused is dropped before the
// reply, so that what follows is read as commands (RFC 3030 2).
func (s *session) bdat(ctx context.Context, c smtp.Command) mail.Reply {
	chunk, err := smtp.ParseChunk(c.Args)
	if err != nil { // nobody knows where its content ends
		s.closing = true
		return err.Reply
	}
	if r := s.mayBegin(ctx); !r.IsZero() {
		// The chunks behind it, sent without waiting, must not be taken for
		// the begin of the message.
		if r.Code != mail.NoReply {
			r = s.afterChunk(chunk.Size, r)
		}
		s.answer(c.Verb, r)
		s.dropTransaction()
		return mail.Reply{}
	}
	s.takeChunks(ctx, chunk)
	return mail.Reply{}
}

// mayBegin returns why no content is taken now.
func (s *session) mayBegin(ctx context.Context) mail.Reply {
	if r := s.checkSequence(hello | openTransaction); !r.IsZero() {
		return r
	}
	switch {
	case s.options.Without.Chunking:
		return mail.NewReply(502, "5.5.1", "BDAT is not offered here")
	case !s.ext.Chunking: // after HELO
		return mail.NewReply(502, "5.5.1", "BDAT needs EHLO")
	case s.tx.recipients == 0:
		return noRecipients
	}
	r := s.handler.Data(ctx)
	switch {
	case r.IsZero(), r.Code == 354:
		return mail.Reply{}
	case r.Success(), r.Intermediate():
		return mail.LocalError
	}
	return r
}

// afterChunk drops so many octets of content and returns r, or what must be
// said instead when they do not come.
func (s *session) afterChunk(size int64, r mail.Reply) mail.Reply {
	if size > s.options.MaxSize+drainSlack {
		s.closing = true
		return mail.NewReply(552, "5.3.4", "The chunk is far larger than allowed, closing connection")
	}
	if s.conn.pace == nil {
		s.conn.pace = s.newPace()
		defer func() { s.conn.pace = nil }()
	}
	if _, err := io.CopyN(io.Discard, s.conn.br, size); err != nil {
		s.log.Info("content broken off", "client", s.origin.Client, "error", err)
		s.closing = true
		return mail.NewReply(421, "4.4.2", "Connection lost before the end of the chunk")
	}
	return r
}

// takeChunks hands the message to the handler as its chunks come in, and
// answers the last of them, or the one at which the handler had enough.
func (s *session) takeChunks(ctx context.Context, first smtp.Chunk) {
	s.conn.widen()
	in := &chunks{session: s, last: first}
	data := smtp.NewChunkReader(s.conn.br, s.options.Newlines(s.origin), s.options.MaxSize, first, in.more)
	in.data = data
	s.conn.pace = s.newPace()
	r := s.handler.Content(ctx, content{data, s.conn})
	if r.Success() && data.Err() == nil {
		data.Drain(s.options.MaxSize + drainSlack)
	}
	if r.Code != mail.NoReply && data.Broken() == nil {
		r = s.afterChunk(data.ChunkLeft(), r)
	}
	s.conn.pace = nil
	if in.other != nil && r.Code != mail.NoReply { // the client gave the message up
		s.tx, s.unread = nil, in.other
		return
	}
	if r.Code != mail.NoReply {
		r = chunkVerdict(data, r)
	}
	s.logBroken(data)
	s.closing = s.closing || data.Broken() != nil
	s.noteContent(data)
	s.endMessage("BDAT", r)
}

// chunkVerdict returns the reply to the last chunk, as verdict does for DATA:
// but a refusal may come before the end, because the chunk is where it ends.
func chunkVerdict(data *smtp.DataReader, r mail.Reply) mail.Reply {
	if !data.Ended() && data.Broken() == nil && !r.Success() {
		return answerTo(r)
	}
	return verdict(data, r)
}

// chunks reads the BDAT commands of one message.
type chunks struct {
	session *session
	data    *smtp.DataReader
	last    smtp.Chunk // that was begun
	count   int
	other   []byte // the command with which the client gave up
}

// A message in more chunks than these comes from a client that means to keep
// the server busy: some at first, and one for each KiB that has come.
const (
	freeChunks  = 1000
	chunkOctets = 1 << 10
)

var errGivenUp = mail.Refuse(451, "4.4.2", "The client has given the message up")

// more answers the chunk before, and returns the next. Only what ends the
// message or the session can come between two chunks, and NOOP (RFC 3030 2:
// DATA in a transaction of BDAT is 503, and only RSET clears it).
func (in *chunks) more() (smtp.Chunk, error) {
	s := in.session
	s.conn.reply(mail.NewReply(250, "2.0.0", "%d octets received", in.last.Size))
	for !s.closing {
		line, err := s.conn.readLine(false)
		if refused, ok := errors.AsType[*mail.Error](err); ok {
			s.answer("", refused.Reply)
			continue
		}
		if err != nil {
			return smtp.Chunk{}, err
		}
		c, refused := s.parse(line)
		switch {
		case isOtherProtocol(c.Verb, line):
			s.otherProtocol(c.Verb, line)
		case refused != nil:
			s.answer(c.Verb, mail.ReplyOf(refused))
		case c.Verb == "BDAT":
			return in.chunk(c)
		case c.Verb == "NOOP":
			s.answer(c.Verb, or(s.countChatter(), 250, "2.0.0", "Ok"))
		case givesUp(c):
			in.other = bytes.Clone(line)
			return smtp.Chunk{}, errGivenUp
		default:
			s.answer(c.Verb, mail.NewReply(503, "5.5.1", "The message is not at its end: send BDAT, or RSET"))
		}
	}
	return smtp.Chunk{}, errHungUp
}

// givesUp reports whether a command ends a message in the midst of it: not one
// that is a syntax error, which changes nothing (RFC 5321 4.1.4).
func givesUp(c smtp.Command) bool {
	switch c.Verb {
	case "RSET", "QUIT":
		return isBlank(c.Args)
	case "EHLO", "HELO":
		return !isBlank(c.Args)
	}
	return false
}

// errHungUp ends a message within which the session was ended. It has been
// answered.
var errHungUp = mail.Refuse(int(mail.NoReply), "", "closing connection")

func (in *chunks) chunk(c smtp.Command) (smtp.Chunk, error) {
	next, err := smtp.ParseChunk(c.Args)
	if err != nil {
		return smtp.Chunk{}, mail.Refuse(421, "4.5.2", "Nobody knows how long the chunk is, closing connection")
	}
	if in.count++; int64(in.count) > freeChunks+in.data.Size()/chunkOctets {
		return smtp.Chunk{}, mail.Refuse(421, "4.7.0", "Too many small chunks, closing connection")
	}
	in.last = next
	return next, nil
}
