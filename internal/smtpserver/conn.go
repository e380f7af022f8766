package smtpserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/smtp"
)

// readBuffer is the size of a connection's input buffer: twice the longest
// command line, and the largest part of what an idle connection costs.
const readBuffer = 4096

// contentBuffer is the size of the buffer through which content is read: fewer
// reads of a message that takes more than one.
const contentBuffer = 32 << 10

// contentReaders are as big as contentBuffer. Connections have one only as long
// as content comes.
var contentReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, contentBuffer) }}

const (
	// maxQueued is how many octets of replies wait before they are written
	// although the client has sent more.
	maxQueued = 8 << 10
	// keepQueue is the largest reply buffer that is kept between writes.
	keepQueue = 512
	// maxLongLine is how many octets of a line that is too long are dropped
	// before the client is.
	maxLongLine = 64 << 10
)

var errStopping = errors.New("the session has to end")

// conn is one connection. Replies queue in it; its Read, which only br calls
// and only when it is empty, writes them before it waits. So replies leave
// together when all commands at hand are done (RFC 2920 3.2).
type conn struct {
	nc      net.Conn // the socket
	rw      net.Conn // what is read and written: nc, or TLS over it
	br      *bufio.Reader
	small   *bufio.Reader // what br is but for content; nil while br is that
	carry   []byte        // octets of small that br has not taken
	edition *edition      // the options of the session; set before it begins
	timeout time.Duration
	cancel  context.CancelFunc // cuts the session off

	queue    []byte // replies not yet written
	broken   error  // the error of the first write that failed
	deadline time.Time
	pace     *pace // set while content is read
	admitted bool  // has a place; the server's mu guards it

	mu        sync.Mutex
	idle      bool // waits for a command outside a transaction
	lingering bool // is over, and waits for the client to close
	stopping  bool
}

func newConn(nc net.Conn, br *bufio.Reader, cancel context.CancelFunc) *conn {
	c := &conn{nc: nc, rw: nc, br: br, cancel: cancel}
	br.Reset(c)
	return c
}

// begin gives the connection its options.
func (c *conn) begin(e *edition) { c.edition, c.timeout = e, e.options.CommandTimeout }

// reply queues r.
func (c *conn) reply(r mail.Reply) {
	c.queue = smtp.AppendReply(c.queue, r)
	if len(c.queue) > maxQueued {
		_ = c.flush() // the next read returns its error
	}
}

// flush writes the queued replies. A client that does not read them fails it
// when the time-out is over; after that it fails for good.
func (c *conn) flush() error {
	if len(c.queue) == 0 || c.broken != nil {
		return c.broken
	}
	c.nc.SetWriteDeadline(time.Now().Add(c.timeout))
	_, c.broken = c.rw.Write(c.queue)
	crashpoint.Reach(crashpoint.Replied)
	c.queue = c.queue[:0]
	if cap(c.queue) > keepQueue {
		c.queue = nil
	}
	return c.broken
}

// close closes the connection, under TLS with the alert that says so.
func (c *conn) close() { c.rw.Close() }

// widen gives the connection the large buffer; narrow takes it back.
func (c *conn) widen() {
	if c.small != nil {
		return
	}
	c.carry, _ = c.br.Peek(c.br.Buffered())
	c.small, c.br = c.br, contentReaders.Get().(*bufio.Reader)
	c.br.Reset(c)
}

// narrow takes the large buffer back, unless it holds what the client has sent
// behind the content.
func (c *conn) narrow() {
	if c.small == nil || c.br.Buffered() > 0 || len(c.carry) > 0 {
		return
	}
	c.br.Reset(nil)
	contentReaders.Put(c.br)
	c.br, c.small = c.small, nil
	c.br.Reset(c)
}

// Read implements io.Reader for br.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.carry) > 0 {
		n := copy(p, c.carry)
		c.carry = c.carry[n:]
		return n, nil
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	if c.pace == nil {
		return c.read(p, c.deadline)
	}
	start := time.Now()
	n, err := c.read(p, start.Add(c.pace.patience()))
	c.pace.waited += time.Since(start)
	c.pace.got += int64(n)
	return n, err
}

func (c *conn) read(p []byte, deadline time.Time) (int, error) {
	if !c.arm(deadline) {
		return 0, errStopping
	}
	n, err := c.rw.Read(p)
	if err != nil && !c.arm(deadline) {
		return n, errStopping
	}
	return n, err
}

// arm sets the deadline of a read. It reports false when there must be none,
// because the session has to end and no transaction is open.
func (c *conn) arm(deadline time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping && c.idle {
		return false
	}
	c.nc.SetReadDeadline(deadline)
	return true
}

// stop ends the wait for a command when the connection is idle, and every
// one that begins later; it shortens the wait for a client to close. It is
// called when the server stops, and when the session's options are too old.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	switch {
	case c.idle:
		c.nc.SetReadDeadline(time.Unix(1, 0))
	case c.lingering:
		c.nc.SetReadDeadline(time.Now().Add(lingerStopping))
	}
}

// setIdle reports false when an idle connection has to end.
func (c *conn) setIdle(idle bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = idle
	return !(idle && c.stopping)
}

// readLine returns the next command line without its CRLF, valid until the
// next read. idle says that no transaction is open.
//
// A line that is too long, or that ends with a bare LF, is dropped and fails
// with a *mail.Error; so does a line without end, with 421. Other errors are
// errStopping and those of the connection.
func (c *conn) readLine(idle bool) ([]byte, error) { return c.line(idle, smtp.LineLimit) }

// readResponse is readLine within an authentication exchange.
func (c *conn) readResponse() ([]byte, error) {
	return c.line(true, func([]byte) int { return smtp.MaxAuthLine })
}

// line returns the next line. limit says how long it may be, by how it begins.
func (c *conn) line(idle bool, limit func(begin []byte) int) ([]byte, error) {
	if !c.setIdle(idle) {
		return nil, errStopping
	}
	defer c.setIdle(false)
	c.deadline = time.Now().Add(c.timeout)
	line, err := c.br.ReadSlice('\n')
	most := limit(line)
	if err == bufio.ErrBufferFull {
		line, err = c.longLine(line, most)
	}
	switch {
	case err != nil:
		return nil, err
	case len(line) > most:
		return nil, errLineTooLong(most)
	case len(line) < 2 || line[len(line)-2] != '\r':
		return nil, mail.Refuse(500, "5.5.2", "Lines must end with CRLF")
	}
	return line[:len(line)-2], nil
}

// longLine returns the line that begins with begin and does not fit into the
// buffer, if it may be that long. If not, it is dropped.
func (c *conn) longLine(begin []byte, most int) ([]byte, error) {
	line := bytes.Clone(begin)
	for len(line) <= most {
		more, err := c.br.ReadSlice('\n')
		line = append(line, more...)
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
	return nil, c.dropLine(most)
}

// dropLine drops the rest of a line that is longer than it may be.
func (c *conn) dropLine(most int) error {
	for dropped := readBuffer; dropped < maxLongLine; dropped += readBuffer {
		if _, err := c.br.ReadSlice('\n'); err != bufio.ErrBufferFull {
			if err != nil {
				return err
			}
			return errLineTooLong(most)
		}
	}
	return mail.Refuse(421, "4.7.0", "Endless line, closing connection")
}

func errLineTooLong(most int) *mail.Error {
	enhanced := "5.5.2"
	if most == smtp.MaxAuthLine { // RFC 4954 6
		enhanced = "5.5.6"
	}
	return mail.Refuse(500, enhanced, "Line too long: the limit is %d octets", most)
}

// gone reports whether the client has closed or reset the connection with no
// input pending. It does not wait for the client.
func (c *conn) gone() bool {
	if c.br.Buffered() > 0 || !hungUp(c.nc) {
		return false
	}
	// All the client ever sent has arrived, so this read cannot wait. Under
	// TLS it tells pending commands from the alert that closes.
	_, err := c.br.Peek(1)
	return err != nil
}

// pace holds a client to a minimum rate while it sends content. Only the
// time spent in waiting for it counts.
type pace struct {
	timeout time.Duration // the longest silence, and the grace
	rate    int64         // octets a second
	got     int64
	waited  time.Duration
}

// patience is how long the next read may take.
func (p *pace) patience() time.Duration {
	const century = 100 * 365 * 24 * 60 * 60 // keeps the sum in range
	earned := time.Duration(min(p.got/p.rate, century)) * time.Second
	return min(p.timeout, p.timeout+earned-p.waited)
}
