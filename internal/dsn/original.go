package dsn

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"postern/internal/mail"
	"postern/internal/message"
)

// original is what the report returns of the message it is about.
type original struct {
	full      bool   // the whole content; else fields
	fields    []byte // the header
	mediaType string
	eightBit  bool
	messageID string // "" when there is none that can be referred to
	subject   string // as it stands in the header
	digest    [sha256.Size]byte
}

// readOriginal decides what is returned, and looks it through once. Of a
// header over the limits of package message as much is returned as they allow.
func (r *Report) readOriginal(a Action) (original, error) {
	header, err := message.ReadHeader(bufio.NewReader(r.section()), message.Limits{})
	if _, tooLarge := errors.AsType[*mail.Error](err); err != nil && !tooLarge {
		return original{}, err
	}
	limit := r.MaxReturn
	if limit == 0 {
		limit = DefaultMaxReturn
	}
	o := original{
		// RET is about failures; else the header is enough (RFC 3461 4.3). With REQUIRETLS
		// there is no more than that, whatever RET says (RFC 8689 5).
		full:   a == Failed && r.CopyTo.IsNull() && r.Envelope.Return != mail.ReturnHeaders && !r.Envelope.RequireTLS && r.Size <= limit,
		fields: header.AppendFields(nil),
	}
	global := r.Envelope.UTF8 && message.HasEightBit(o.fields) && utf8.Valid(o.fields)
	if o.full && !global {
		o.full, err = r.passesAnywhere()
		if err != nil {
			return original{}, err
		}
	}
	if id, ok := header.First("Message-ID"); ok && isMessageID(id) {
		o.messageID = id
	}
	o.subject, _ = header.First("Subject")
	o.mediaType = mediaTypes[o.full][global]

	look := looker{}
	digest := sha256.New()
	digest.Write([]byte(r.ID))
	err = o.copyTo(io.MultiWriter(&look, digest), r)
	digest.Sum(o.digest[:0])
	o.eightBit = look.eightBit
	return o, err
}

// passesAnywhere reports whether the content can be returned whole by way of a
// server without 8BITMIME. A message/rfc822 is encoded part by part (RFC 2045
// 6.4); where that cannot be, for a signature or an 8-bit header, the report would
// be lost, perhaps at the very server for which the message was too much. Of such a
// message the header comes back, which can be encoded as a text.
func (r *Report) passesAnywhere() (bool, error) {
	_, err := message.ToSevenBit(r.Content, r.Size)
	if _, never := errors.AsType[*mail.Error](err); never {
		return false, nil
	}
	return err == nil, err
}

// mediaTypes are the types of the third part, by whether the message is
// whole and whether its header is UTF-8 (RFC 6522 3, RFC 6533 2).
var mediaTypes = map[bool]map[bool]string{
	true:  {false: "message/rfc822", true: "message/global"},
	false: {false: "text/rfc822-headers", true: "message/global-headers"},
}

func (r *Report) section() *io.SectionReader { return io.NewSectionReader(r.Content, 0, r.Size) }

// copyTo writes what is returned to w.
func (o *original) copyTo(w io.Writer, r *Report) error {
	if !o.full {
		_, err := w.Write(o.fields)
		return err
	}
	n, err := io.Copy(w, r.section())
	if err == nil && n < r.Size {
		return io.ErrUnexpectedEOF
	}
	return err
}

// looker is a writer that looks for octets that are not US-ASCII.
type looker struct{ eightBit bool }

func (l *looker) Write(p []byte) (int, error) {
	l.eightBit = l.eightBit || message.HasEightBit(p)
	return len(p), nil
}

// writeOriginal writes the third part.
func (c *composer) writeOriginal() error {
	c.line("")
	description := "Header of the original message"
	if c.original.full {
		description = "Original message"
	}
	c.part(c.original.mediaType, description, c.original.eightBit)
	return c.original.copyTo(c.out, c.Report)
}

// maxMessageID is the longest Message-ID that is referred to.
const maxMessageID = 500

// isMessageID reports whether s has the form of one msg-id (RFC 5322 3.6.4).
func isMessageID(s string) bool {
	if len(s) < 3 || len(s) > maxMessageID || s[0] != '<' || s[len(s)-1] != '>' {
		return false
	}
	return !strings.ContainsFunc(s[1:len(s)-1], func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' })
}
