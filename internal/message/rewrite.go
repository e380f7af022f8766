package message

import (
	"bufio"
	"io"
	"sync"
	"time"

	"postern/internal/mail"
)

// DefaultMaxReceived is the hop limit: RFC 5321 6.3 wants at least 100.
const DefaultMaxReceived = 100

// Rewrite is what acceptance makes of a message's header. Apart from it,
// and from a CRLF after a last line that lacks one, content stays as it is.
//
// QUIRK: a message may begin with the line that a mailbox file puts before
// it, because a program sent a piece of such a file. The line becomes the
// field X-Mailbox-Line. Left alone it would end the header before its first
// field, so that the whole of it, Bcc included, would show as text.
type Rewrite struct {
	// Received is the complete field to put on top; "" for none.
	Received string
	// AddDate and AddMessageID add the field at the end of the header when
	// the message has none (RFC 6409 8.2, 8.3).
	AddDate      bool
	AddMessageID bool
	// Drop are the names of fields to leave out.
	Drop []string
	// Edits are done to the header in their order, after all else. UTF8 says
	// that they may bring UTF-8 into it.
	Edits []Edit
	UTF8  bool
	// MaxReceived is how many Received fields a message may come with;
	// 0 means DefaultMaxReceived.
	MaxReceived int
	// Priority has the class looked for that the message gives itself.
	Priority bool
	// Limits bound the header that comes in.
	Limits Limits
	// ID and Host make the Message-ID; Now the Date.
	ID   mail.ID
	Host string
	Now  time.Time
}

// Summary is what Copy saw of the content that it wrote.
type Summary struct {
	Size int64 // octets
	// MessageID is the value of the first Message-ID field, also when it was
	// added; "" when there is none.
	MessageID string
	// From is the value of the first From field; "" when there is none, or it has more than
	// MaxFrom octets.
	From string
	// EightBit says that an octet is not US-ASCII; HeaderUTF8 that one of
	// the header is not, which only SMTPUTF8 allows (RFC 6532).
	EightBit   bool
	HeaderUTF8 bool
	// Class is that which the message gives itself, as it came (mail.ClassOfHeader); nil
	// when it gives itself none, or nobody asked.
	Class *mail.Class
	// Hops is the number of Received fields the message came with.
	Hops int
	// LongestLine is the longest line of header or body in octets, less its
	// CRLF.
	LongestLine int
}

// MaxFrom is how long a From field is at most that a Summary has, in octets.
const MaxFrom = 1000

// copyBuffer is the size of the reads from src and of the writes of the body
// to dst.
const copyBuffer = 32 << 10

// copier is the memory of one Copy.
type copier struct {
	br      *bufio.Reader
	header  Header
	head    []byte
	scanner scanner
	tail    [2]byte // the last octets written
	size    int64
}

var copiers = sync.Pool{New: func() any { return &copier{br: bufio.NewReaderSize(nil, copyBuffer)} }}

// Copy writes the message that src gives to dst, rewritten. It reads src
// once, to io.EOF, and holds no more than the header and one buffer.
//
// It fails with a *mail.Error when the header exceeds a limit, or when the
// message has been through too many servers (554 5.4.6); then nothing was
// written, and src was not read to its end. Errors of src and dst are
// returned unchanged. It fails with ErrField when Received is no field, and
// with what Header.Apply says of an edit.
func (r Rewrite) Copy(dst io.Writer, src io.Reader) (Summary, error) {
	c := copiers.Get().(*copier)
	defer c.free()
	c.br.Reset(src)
	c.scanner, c.tail, c.size = scanner{}, [2]byte{}, 0

	mailbox, err := takeMailboxLine(c.br)
	if err != nil {
		return Summary{}, err
	}
	if err := c.header.read(c.br, r.Limits.withDefaults()); err != nil {
		return Summary{}, err
	}
	if mailbox != "" {
		c.header.Prepend(newField(mailboxField, mailbox))
	}
	var s Summary
	if err := r.apply(&c.header, &s); err != nil {
		return Summary{}, err
	}
	c.head = c.header.AppendTo(c.head[:0])
	if err := c.write(dst, c.head); err != nil {
		return Summary{}, err
	}
	s.HeaderUTF8 = c.scanner.eightBit
	if err := c.copyBody(dst); err != nil {
		return Summary{}, err
	}
	s.Size, s.EightBit, s.LongestLine = c.size, c.scanner.eightBit, c.scanner.longestLine()
	return s, nil
}

// apply rewrites h and notes what it finds.
func (r Rewrite) apply(h *Header, s *Summary) error {
	s.Hops = h.Count("Received")
	limit := r.MaxReceived
	if limit == 0 {
		limit = DefaultMaxReceived
	}
	if s.Hops > limit {
		return mail.Refuse(554, "5.4.6", "Too many hops, the message seems to loop: %d Received fields, the limit is %d", s.Hops, limit)
	}
	if r.Priority {
		if class, told := mail.ClassOfHeader(func(name string) string { return string(h.trimmed(name)) }); told {
			s.Class = &class
		}
	}
	h.Delete(r.Drop...)
	if r.Received != "" {
		received, err := ParseField(r.Received)
		if err != nil {
			return err
		}
		h.Prepend(received)
	}
	if r.AddMessageID && !h.Has("Message-ID") {
		h.Append(newField("Message-ID", MessageID(r.ID, r.Host)))
	}
	if r.AddDate && !h.Has("Date") {
		h.Append(newField("Date", FormatDate(r.Now)))
	}
	for i := range r.Edits {
		if err := h.Apply(&r.Edits[i], r.UTF8); err != nil {
			return err
		}
	}
	s.MessageID, s.From = h.firstTwo("Message-ID", "From", MaxFrom)
	return nil
}

// copyBody writes what is left in the reader, straight from its buffer.
func (c *copier) copyBody(dst io.Writer) error {
	for {
		_, err := c.br.Peek(1)
		if err == io.EOF {
			return c.endLine(dst)
		}
		if err != nil {
			return err
		}
		chunk, _ := c.br.Peek(c.br.Buffered())
		if err := c.write(dst, chunk); err != nil {
			return err
		}
		if _, err := c.br.Discard(len(chunk)); err != nil {
			return err
		}
	}
}

// endLine gives the last line its CRLF if it has none.
func (c *copier) endLine(dst io.Writer) error {
	switch {
	case c.size == 0 || c.tail == [2]byte{'\r', '\n'}:
		return nil
	case c.tail[1] == '\r':
		return c.write(dst, []byte("\n"))
	}
	return c.write(dst, []byte("\r\n"))
}

func (c *copier) write(dst io.Writer, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	c.scanner.scan(p)
	if len(p) == 1 {
		c.tail[0], c.tail[1] = c.tail[1], p[0]
	} else {
		c.tail = [2]byte(p[len(p)-2:])
	}
	c.size += int64(len(p))
	_, err := dst.Write(p)
	return err
}

// maxKept is the memory for a header that is kept for the next message.
const maxKept = 64 << 10

func (c *copier) free() {
	c.br.Reset(nil)
	if cap(c.header.buf) > maxKept || cap(c.head) > maxKept {
		c.header, c.head = Header{}, nil
	}
	clear(c.header.fields[:cap(c.header.fields)])
	copiers.Put(c)
}
