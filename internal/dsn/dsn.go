// Package dsn composes delivery status notifications: the report of
// RFC 3464 in the multipart/report of RFC 6522, and in the forms of RFC 6533
// where an address needs UTF-8.
//
// It says what became of recipients; it does not decide. Whether a report is
// due (NOTIFY, the null sender) and what becomes of it is for its caller. It
// reads the original message and changes no octet of what it returns.
//
// What a report repeats comes from strangers: the words of other servers, the
// parameters of the sender, the original message. None of it can begin a
// line at the margin, add a field or end a part, and all of it is bounded.
package dsn

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/message"
)

// DefaultMaxReturn is the size in octets up to which a message is returned
// whole.
const DefaultMaxReturn = 50 << 10

// Report is one report to the sender of one message.
type Report struct {
	// ID is the id of the report itself; it makes its Message-ID.
	ID mail.ID
	// Host is the name of this server, the reporting MTA.
	Host string
	// From is the author of the report; the zero address means
	// postmaster@Host.
	From mail.Address
	Now  time.Time
	// CopyTo is who gets this report in place of the sender, as a copy: with
	// the header of the message only, for its text is none of theirs. The zero
	// address: it is for the sender.
	CopyTo mail.Address

	// About is the id of the message that the report is about, Envelope and
	// Origin those it came with, Accepted the time at which it came.
	About    mail.ID
	Envelope mail.Envelope
	Origin   mail.Origin
	Accepted time.Time
	// Recipients are those the report is about: at least one, and all of one
	// Action.
	Recipients []Recipient
	// RetryUntil is how long delivery is tried, for a report of delay.
	RetryUntil time.Time
	// Content is the original content, Size its octets.
	Content io.ReaderAt
	Size    int64

	// MaxReturn is the size in octets up to which the original is returned
	// whole with a report of failure, unless its sender wanted the header only
	// (RET, RFC 3461 4.3), or TLS (RFC 8689 5); 0 means DefaultMaxReturn. Of a larger one, of one with
	// 8-bit octets that can never be 7-bit, and with other reports, the header is
	// returned.
	MaxReturn int64
}

// Recipient is one recipient and what became of it.
type Recipient struct {
	mail.Recipient
	Outcome mail.Outcome
}

// Reasons for which Compose writes nothing.
var (
	ErrNullSender   = errors.New("no report can go to the null sender")
	ErrNoRecipients = errors.New("a report needs a recipient that it is about")
	ErrState        = errors.New("there is no report about this state")
	ErrMixed        = errors.New("one report speaks of one action")
)

// composer is one report on its way out. Errors of out stay with it until
// they are asked for, by Flush.
type composer struct {
	*Report
	action   Action
	kind     kind
	to       mail.Address
	from     mail.Address
	out      *bufio.Writer
	original original
	boundary string
	// namesUTF8 says that an address is not US-ASCII, so that the text which
	// names it is UTF-8.
	namesUTF8 bool
	// utf8 says that what is being written may be UTF-8.
	utf8 bool
}

// Compose writes the report to w, reading the original as it goes, and
// returns the envelope under which it must be sent: from the null sender
// (RFC 5321 4.5.5), with the body type and SMTPUTF8 that its octets need.
// The same report is always written in the same octets.
//
// It fails with one of the Err values above before anything is written, and
// with the errors of Content and w; io.ErrUnexpectedEOF says that Content is
// shorter than Size.
func (r *Report) Compose(w io.Writer) (mail.Envelope, error) {
	action, err := r.action()
	if err != nil {
		return mail.Envelope{}, err
	}
	original, err := r.readOriginal(action)
	if err != nil {
		return mail.Envelope{}, err
	}
	c := &composer{Report: r, action: action, kind: kinds[action], to: r.CopyTo, from: r.From, out: bufio.NewWriter(w), original: original}
	if c.to.IsNull() {
		c.to = r.Envelope.From
	}
	if c.from.IsNull() {
		c.from = mail.Address{Local: "postmaster", Domain: r.Host}
	}
	// Content cannot hold a part of its own digest, so it cannot hold the
	// boundary, whatever its sender knew of the report's id.
	c.boundary = "=_" + string(r.ID) + "_" + hex.EncodeToString(original.digest[:12])
	c.namesUTF8, c.utf8 = c.needsUTF8(), c.headerUTF8()

	c.writeHeader()
	c.writeText()
	c.writeStatus()
	if err := c.writeOriginal(); err != nil {
		return mail.Envelope{}, err
	}
	c.line("")
	c.line("--" + c.boundary + "--")
	envelope := mail.Envelope{UTF8: c.headerUTF8(), RequireTLS: c.Envelope.RequireTLS} // RFC 8689 5
	if c.eightBit() {
		envelope.Body = mail.Body8BitMIME
	}
	return envelope, c.out.Flush()
}

// action checks the report, and returns what it says of all recipients.
func (r *Report) action() (Action, error) {
	if r.Envelope.From.IsNull() {
		return "", ErrNullSender
	}
	if len(r.Recipients) == 0 {
		return "", ErrNoRecipients
	}
	first := ActionFor(r.Recipients[0].Outcome.State)
	for _, rcpt := range r.Recipients {
		switch ActionFor(rcpt.Outcome.State) {
		case "":
			return "", ErrState
		case first:
		default:
			return "", ErrMixed
		}
	}
	return first, nil
}

// headerUTF8 reports whether the header of the report cannot do without UTF-8.
func (c *composer) headerUTF8() bool { return !c.to.IsASCII() || !c.from.IsASCII() }

func (c *composer) needsUTF8() bool {
	if c.headerUTF8() || !c.Envelope.From.IsASCII() {
		return true
	}
	for _, rcpt := range c.Recipients {
		if !rcpt.Address.IsASCII() || message.HasEightBit([]byte(rcpt.Original)) {
			return true
		}
	}
	return false
}

func (c *composer) eightBit() bool { return c.namesUTF8 || c.original.eightBit }

// statusUTF8 reports whether the part for programs is UTF-8. A program that
// knows only RFC 3464 could not read it, so that it goes to those who are known
// to take SMTPUTF8: by their address, or by the message that they sent. Everybody
// can show the text, whatever its charset.
func (c *composer) statusUTF8() bool {
	return c.namesUTF8 && (c.headerUTF8() || c.CopyTo.IsNull() && c.Envelope.UTF8)
}

// writeHeader writes the header of the report. It is auto-replied (RFC 3834
// 5), so that nothing answers it.
func (c *composer) writeHeader() {
	c.field("From", "Mail Delivery System "+c.from.Path())
	c.field("To", c.to.Path())
	c.folded("Subject", c.subject())
	c.field("Date", message.FormatDate(c.Now))
	c.field("Message-ID", message.MessageID(c.ID, c.Host))
	if c.original.messageID != "" {
		c.field("In-Reply-To", c.original.messageID)
		c.field("References", c.original.messageID)
	}
	c.field("Auto-Submitted", "auto-replied")
	c.field("MIME-Version", "1.0")
	c.line("Content-Type: multipart/report; report-type=delivery-status;")
	c.line("\tboundary=\"" + c.boundary + "\"")
	c.encoding(c.eightBit())
	c.line("")
}

// subject names the message by its own subject, as it stands there: a mail
// program decodes the encoded words of this field as it does those of that.
func (c *composer) subject() string {
	says := c.kind.subject
	if !c.CopyTo.IsNull() {
		says = "Copy: " + says
	}
	about := strings.TrimSpace(c.original.subject)
	if about == "" || message.HasEightBit([]byte(about)) && !c.headerUTF8() {
		return says
	}
	return says + ": " + about
}

// part begins a part of the report, of US-ASCII unless it is eightBit.
func (c *composer) part(mediaType, description string, eightBit bool) {
	c.line("--" + c.boundary)
	c.field("Content-Type", mediaType)
	c.field("Content-Description", description)
	c.encoding(eightBit)
	c.line("")
	c.utf8 = eightBit
}

// encoding labels 8-bit octets (RFC 2045 6.2); 7bit needs no label.
func (c *composer) encoding(eightBit bool) {
	if eightBit {
		c.field("Content-Transfer-Encoding", "8bit")
	}
}
