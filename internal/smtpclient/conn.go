package smtpclient

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// Conn is a connection to one server, past its greeting. It is used by one
// goroutine at a time.
type Conn struct {
	host    string
	address netip.AddrPort
	options Options

	socket net.Conn    // what was dialed
	silent func() bool // see silence
	stream net.Conn    // socket, or TLS on top of it
	br     *bufio.Reader
	bw     *bufio.Writer // nil while there is nothing to say: see writer
	// writeTimeout is for each block that bw writes to stream, behind how much of
	// it those before have used up: see deadlineWriter.
	writeTimeout, behind time.Duration

	extensions smtp.Extensions
	tls        *mail.TLS
	judged     *mail.TLSPolicy // what was demanded of TLS, and how it is met
	sent       int             // transactions
	over       bool            // no further command can be sent
	counted    bool            // among the connections that are open
	mechanism  string          // of AUTH
	esmtp      bool            // EHLO was taken
	// chunksRefused says that BDAT was offered, and refused.
	chunksRefused bool
}

// Sizes of the buffers of a connection, in octets.
const (
	readBuffer  = 4 << 10
	writeBuffer = 64 << 10
	copyBuffer  = 32 << 10
)

// writers and copyBuffers are the large buffers. Connections are kept for the
// next message by the thousand, and have none meanwhile.
var (
	writers     = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, writeBuffer) }}
	copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}
)

func newConn(socket net.Conn, host string, address netip.AddrPort, o Options) *Conn {
	c := &Conn{host: host, address: address, options: o, socket: socket, silent: silence(socket)}
	c.setStream(socket)
	return c
}

func (c *Conn) setStream(stream net.Conn) {
	c.stream = stream
	c.br = bufio.NewReaderSize(stream, readBuffer)
}

// writer returns the buffer for what is sent.
func (c *Conn) writer() *bufio.Writer {
	if c.bw == nil {
		c.bw = writers.Get().(*bufio.Writer)
		c.bw.Reset(deadlineWriter{c})
	}
	return c.bw
}

// rest gives the buffer back while the connection waits. One that was not
// sent, or could not be, stays: an error of the writer is sticky.
func (c *Conn) rest() {
	if c.bw == nil || c.bw.Buffered() > 0 || c.bw.Flush() != nil {
		return
	}
	c.bw.Reset(nil)
	writers.Put(c.bw)
	c.bw = nil
}

// minRate is the rate in octets a second at which a server must take what is
// sent, over any time longer than the timeout of a block.
const minRate = 500

// deadlineWriter gives each block of writeBuffer octets its own deadline. All
// is also bounded as a whole, or a server that takes content a little at a time
// could hold a connection and a message for days: what a block takes longer than
// it should at minRate, the next ones do not have.
type deadlineWriter struct{ c *Conn }

func (w deadlineWriter) Write(p []byte) (int, error) {
	written := 0
	for block := range slices.Chunk(p, writeBuffer) {
		n, err := w.writeBlock(block)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (w deadlineWriter) writeBlock(p []byte) (int, error) {
	begun := time.Now()
	if err := w.c.stream.SetWriteDeadline(begun.Add(w.c.writeTimeout - w.c.behind)); err != nil {
		return 0, err
	}
	n, err := w.c.stream.Write(p)
	w.c.behind = max(0, w.c.behind+time.Since(begun)-time.Duration(n)*time.Second/minRate)
	return n, err
}

// allow gives the writes to come time anew.
func (c *Conn) allow(timeout time.Duration) { c.writeTimeout, c.behind = timeout, 0 }

// TLS returns what was negotiated, nil when the connection is in clear.
func (c *Conn) TLS() *mail.TLS { return c.tls }

// TLSPolicy is what was demanded of TLS, and why what there is is good enough.
func (c *Conn) TLSPolicy() *mail.TLSPolicy { return c.judged }

// Extensions returns what the server offers now, under TLS if that was
// started.
func (c *Conn) Extensions() smtp.Extensions { return c.extensions }

// ESMTP reports whether the server has taken EHLO, or in LMTP LHLO.
func (c *Conn) ESMTP() bool { return c.esmtp }

// RecipientLimit returns how many recipients the server takes in one
// transaction (RFC 9422 4.2, RCPTMAX); 0 means that it did not say. Send does
// not split a transaction: the server refuses the rest with 452.
func (c *Conn) RecipientLimit() int { return c.extensions.MaxRecipients }

// Usable reports whether another transaction can be sent: the connection is
// in step and not closed by the server as far as this end can see, and the
// server's limit of transactions (RFC 9422 4.1, MAILMAX), or that of the options, is not
// reached.
func (c *Conn) Usable() bool {
	limit := c.extensions.MaxMessages
	if own := c.options.MaxMessages; limit == 0 || own > 0 && own < limit {
		limit = own
	}
	return !c.over && (limit == 0 || c.sent < limit) && c.quiet()
}

// quiet reports whether the server has sent nothing and not closed. Between
// transactions it can only send what answers nothing: a farewell, or a reply
// too many, which would be taken for that to the next command.
func (c *Conn) quiet() bool {
	return c.br.Buffered() == 0 && c.silent()
}

// Close says QUIT if the connection is in step, waits for the reply no longer
// than Timeouts.Quit, and closes.
func (c *Conn) Close() error {
	if c.over {
		return nil
	}
	c.put("QUIT")
	// Whatever the server says or fails to say, this is the end.
	_, _ = c.ask(context.Background(), "QUIT", c.options.Timeouts.Quit)
	c.over = true
	c.count(false)
	return c.stream.Close()
}

// drop closes the connection as it is. What lies in the write buffer is lost,
// so that an unfinished message stays unfinished.
func (c *Conn) drop() {
	c.over = true
	c.count(false)
	_ = c.socket.Close()
}

// put appends a command to what the next ask sends. An error of the writer is
// sticky and comes back there.
func (c *Conn) put(line string) {
	_, _ = c.writer().WriteString(line)
	_, _ = c.bw.WriteString("\r\n")
}

// ask sends what was put and reads the reply to it.
func (c *Conn) ask(ctx context.Context, command string, timeout time.Duration) (mail.Reply, *Error) {
	if err := c.flush(ctx, command, timeout); err != nil {
		return mail.Reply{}, err
	}
	return c.reply(ctx, command, timeout)
}

// flush sends what was put. Before a command is sent, the replies to all
// those before it have been read: if the server has said more than that, any
// reply to come could be taken for the reply to another command.
func (c *Conn) flush(ctx context.Context, command string, timeout time.Duration) *Error {
	if c.br.Buffered() > 0 {
		return c.unexpectedBefore(command)
	}
	c.allow(timeout)
	if err := c.bw.Flush(); err != nil {
		if _, last := c.lastWords(ctx, command); last != nil && last.Remote {
			return last
		}
		return c.broken(ctx, command, err)
	}
	return nil
}

// lastWords reads the reply that may lie in the socket of a connection that
// cannot be written to: it says why the server closed. A server that had less
// time than that to read gets no more to speak.
func (c *Conn) lastWords(ctx context.Context, command string) (mail.Reply, *Error) {
	const patience = 5 * time.Second
	return c.reply(ctx, command, min(patience, c.writeTimeout))
}

// reply reads one reply. It fails when there is none, and when it is 421: the
// server is closing (RFC 5321 3.8).
func (c *Conn) reply(ctx context.Context, command string, timeout time.Duration) (mail.Reply, *Error) {
	if err := c.stream.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return mail.Reply{}, c.broken(ctx, command, err)
	}
	reply, err := smtp.ReadReply(c.br, c.options.MaxReply)
	switch {
	case errors.Is(err, smtp.ErrReplySyntax), errors.Is(err, smtp.ErrReplyTooLong):
		return mail.Reply{}, c.local(command,
			mail.NewReply(451, "4.5.0", "Malformed reply from %s to %s", c.host, command), err)
	case err != nil:
		return mail.Reply{}, c.broken(ctx, command, err)
	case reply.Code == 421:
		return mail.Reply{}, c.remote(command, reply)
	}
	return reply, nil
}

// guard runs f, and closes the socket under it when ctx ends. An error of f
// ends the connection.
func (c *Conn) guard(ctx context.Context, f func() *Error) *Error {
	stop := context.AfterFunc(ctx, func() { _ = c.socket.Close() })
	err := f()
	if interrupted := !stop(); interrupted || err != nil {
		c.drop()
	}
	if err != nil {
		c.options.Logger.Debug("connection ended", "host", c.host, "address", c.address, "error", err)
	}
	return err
}
