package intake

import (
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// Senders keeps who sends. Sent is called for each message that was accepted, before its
// client is told so: it must not wait, and keep nothing of what it is given but copies.
type Senders interface{ Sent(m Sent) }

// Sent is a message that was accepted.
type Sent struct {
	At     time.Time
	Origin *mail.Origin
	From   mail.Address
	// HeaderFrom is the value of the first From field of the header; empty for none,
	// and for a longer one than message.MaxFrom.
	HeaderFrom string
	// Recipients are those that the client named.
	Recipients int
	Octets     int64
	// Repaired says that the content had CR or LF alone, or NUL.
	Repaired bool
}

// sent tells of a message that was accepted.
func (in *Intake) sent(m *Message, o *mail.Origin, t *taken) {
	if in.Senders == nil {
		return
	}
	in.Senders.Sent(Sent{
		At: t.at, Origin: o, From: m.Envelope.From, HeaderFrom: t.summary.From, Recipients: len(m.Recipients), Octets: t.summary.Size,
		Repaired: m.Repaired != nil && m.Repaired(),
	})
}

// repaired is what tells whether a content had to be repaired; nil where nothing does.
func repaired(c smtp.Content) func() bool {
	if c, can := c.(interface{ Repaired() bool }); can {
		return c.Repaired
	}
	return nil
}
