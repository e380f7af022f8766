package smtpclient

import (
	"errors"

	"postern/internal/mail"
)

// Misfit returns the reply with which Send would bounce all recipients of t,
// or some, because this server lacks what they need: REQUIRETLS, SMTPUTF8, 8BITMIME, or
// room for the size. It is zero if the server lacks nothing. Another server
// of the same destination may do better.
func (c *Conn) Misfit(t *Transaction) mail.Reply {
	if _, err := c.fitted(t); err != nil {
		return mail.ReplyOf(err)
	}
	for _, r := range t.Recipients {
		if reply := c.unfitRecipient(r); !reply.IsZero() {
			return reply
		}
	}
	return mail.Reply{}
}

// fitted returns the message in the form in which it can go to this server,
// or why there is none.
func (c *Conn) fitted(t *Transaction) (*Transaction, error) {
	if reply := c.unsafe(&t.Envelope); !reply.IsZero() {
		return nil, &mail.Error{Reply: reply}
	}
	if (t.Envelope.UTF8 || !t.Envelope.From.IsASCII()) && !c.extensions.SMTPUTF8 { // RFC 6531 3.2
		return nil, mail.Refuse(550, "5.6.7", "%s does not take internationalized mail (SMTPUTF8)", c.host)
	}
	t, err := c.formed(t)
	if err != nil {
		return nil, err
	}
	if c.extensions.MaxSize > 0 && t.Size > c.extensions.MaxSize { // RFC 1870 6.1
		return nil, mail.Refuse(552, "5.3.4", "Message of %d octets exceeds the limit of %s, %d octets",
			t.Size, c.host, c.extensions.MaxSize)
	}
	return t, nil
}

// formed returns the message with its content in the form that this server needs.
func (c *Conn) formed(t *Transaction) (*Transaction, error) {
	eightBit := t.Envelope.Body == mail.Body8BitMIME && c.extensions.EightBitMIME // RFC 6152 3
	form := t.SevenBit
	switch {
	case t.Recoded != nil:
		form = func() (Content, error) { return t.Recoded(!eightBit) }
	case eightBit || t.Envelope.Body != mail.Body8BitMIME:
		return t, nil
	case form == nil:
		return nil, mail.Refuse(554, "5.6.3", "%s does not take 8-bit content (8BITMIME)", c.host)
	}
	content, err := form()
	if err != nil {
		return nil, err
	}
	formed := *t
	formed.Size, formed.Body = content.Size, content.Body
	if !eightBit && t.Envelope.Body == mail.Body8BitMIME {
		formed.Envelope.Body = mail.Body7Bit
	}
	return &formed, nil
}

// unsafe returns why a message with REQUIRETLS cannot go over this connection (RFC 8689
// 4.2.1). A report goes without the promise of a server that does not know REQUIRETLS, so
// that it is not lost (RFC 8689 5), but never to one that was not verified. Through a Unix socket
// nothing leaves the machine, so that there is nothing to protect.
func (c *Conn) unsafe(e *mail.Envelope) mail.Reply {
	switch {
	case !e.RequireTLS || c.options.Socket != "":
	case c.tls == nil || !c.tls.Verified:
		return mail.NewReply(550, "5.7.10", "The message requires TLS, and %s is not verified", c.host)
	case !c.extensions.RequireTLS && !e.From.IsNull():
		return mail.NewReply(550, "5.7.30", "The message requires TLS on its whole way, for which %s does not answer (REQUIRETLS)", c.host)
	}
	return mail.Reply{}
}

// privateCause returns what an error says beside its reply, if anything.
func privateCause(err error) error {
	if e, ok := errors.AsType[*mail.Error](err); ok {
		return e.Cause
	}
	return err
}

// unfitRecipient returns why a recipient cannot be named to this server.
func (c *Conn) unfitRecipient(r mail.Recipient) mail.Reply {
	if !r.Address.IsASCII() && !c.extensions.SMTPUTF8 {
		return mail.NewReply(550, "5.6.7", "%s does not take internationalized addresses (SMTPUTF8)", c.host)
	}
	return mail.Reply{}
}
