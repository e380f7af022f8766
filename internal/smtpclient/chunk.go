package smtpclient

import (
	"bufio"
	"bytes"
	"context"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// maxChunk is the size of the largest message that goes by BDAT, in octets.
//
// BDAT pays where it saves a round trip: the whole message leaves with MAIL and
// RCPT, before anything was answered (RFC 3030 2, 4.2). If all recipients are
// refused the content went for nothing, so that it must be small. A larger
// message goes by DATA, which costs it nothing that would be felt.
const maxChunk = 32 << 10

// fitsChunk reports whether the message goes by BDAT.
func (s *sending) fitsChunk() bool {
	return s.extensions.Chunking && s.extensions.Pipelining && !s.options.NoChunking && !s.options.LMTP &&
		s.t.Size > 0 && s.t.Size <= maxChunk && len(s.commands) < pipelined
}

// loadChunk reads the content, which obeys the law of line ends afterwards,
// and puts its BDAT in the place of DATA.
func (s *sending) loadChunk(ctx context.Context) *Error {
	var b bytes.Buffer
	b.Grow(int(s.t.Size) + len("\r\n"))
	bw := bufio.NewWriterSize(&b, readBuffer)
	w := smtp.NewChunkWriter(bw)
	if err := s.copyBody(ctx, w); err != nil {
		return err
	}
	// To write to memory cannot fail.
	_ = w.Close()
	_ = bw.Flush()
	s.chunk = b.Bytes()
	s.commands[len(s.commands)-1] = smtp.Chunk{Size: int64(len(s.chunk)), Last: true}.String()
	return nil
}

// takeChunk takes the reply to BDAT.
//
// A reply that speaks of the command and not of the message (RFC 5321 4.2.3)
// comes from a server, or something before it, that offers CHUNKING and does
// not know it: it may have taken the content for commands. That is no reason
// to bounce mail; NoChunking is the way to send it.
func (s *sending) takeChunk(reply mail.Reply) *Error {
	switch {
	case reply.Intermediate():
		return s.unexpected("end of data", reply)
	case s.refused || s.accepted == 0:
		return nil
	case reply.Code >= 500 && reply.Code <= 504:
		s.chunksRefused = true
		return s.unexpected("end of data", reply)
	}
	s.settleTaken(reply)
	return nil
}

// behindChunk returns the failure of a connection on which the whole message
// has left already: whatever was not answered, the server may have taken it.
func (s *sending) behindChunk(err *Error) *Error {
	if !s.chunked || err.Remote || err.Command == "end of data" && s.chunksRefused {
		return err
	}
	err.Command = "end of data"
	return unknownOutcome(err)
}

// ChunksRefused reports whether the server has refused BDAT although it offers
// CHUNKING. Options.NoChunking is for the next connection to it.
func (c *Conn) ChunksRefused() bool { return c.chunksRefused }
