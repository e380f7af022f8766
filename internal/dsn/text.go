package dsn

import (
	"strconv"
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
)

// writeText writes the part for people, what matters most to them first: what
// happened, to whom, why, and what to do; then what was said by whom; then
// where to ask.
func (c *composer) writeText() {
	charset := "us-ascii"
	if c.namesUTF8 {
		charset = "utf-8"
	}
	c.part("text/plain; charset="+charset, "Notification", c.namesUTF8)
	if !c.CopyTo.IsNull() {
		c.paragraph("", "This is a copy of what "+c.Envelope.From.String()+" was told:")
		c.line("")
	}
	if len(c.Recipients) == 1 {
		c.paragraph("", c.kind.one)
	} else {
		c.paragraph("", c.kind.many)
	}
	c.line("")
	for _, rcpt := range c.Recipients {
		c.writeRecipient(rcpt)
	}
	if note := c.note(); note != "" {
		c.paragraph("", note)
		c.line("")
	}
	what := "Its header is attached to this report."
	if c.original.full {
		what = "It is attached to this report."
	}
	c.paragraph("", "Your message was accepted by the mail system at "+c.Host+" on "+message.FormatDate(c.Accepted)+". "+what)
	c.line("")
	c.paragraph("", "If you need help, forward this report to "+c.from.String()+
		". Your message is known there as "+string(c.About)+".")
}

// note is what holds for all recipients.
func (c *composer) note() string {
	if c.action != Delayed || c.RetryUntil.IsZero() {
		return c.kind.note
	}
	return c.kind.note + " It is given up on " + message.FormatDate(c.RetryUntil) + "."
}

func (c *composer) writeRecipient(rcpt Recipient) {
	o := rcpt.Outcome
	c.line("  " + c.clean(rcpt.Address.Path()+writtenAs(rcpt.Recipient), maxField))
	c.line("")
	if words := explain(o); words != "" {
		c.paragraph("    ", words)
		c.line("")
	}
	if !o.Reply.IsZero() {
		c.paragraph("    ", speaker(o))
		c.line("")
		c.paragraph("      ", o.Reply.String())
		c.line("")
	}
}

// writtenAs names the address that the sender wrote to, where it is another.
func writtenAs(r mail.Recipient) string {
	if _, original, _ := strings.Cut(r.Original, ";"); original != "" && original != r.Address.String() {
		return " (you wrote to " + original + ")"
	}
	return ""
}

// speaker introduces the reply.
func speaker(o mail.Outcome) string {
	if !o.Remote {
		return "This mail system found:"
	}
	s := "The server " + o.Host
	if o.Address.IsValid() {
		s += " [" + o.Address.Addr().Unmap().String() + "]"
	}
	s += " said"
	if o.Command != "" {
		s += " at " + o.Command
	}
	return s + ":"
}

// explain says in plain words what a failure means, and what to do unless it
// is only for now. Of a success it says nothing.
func explain(o mail.Outcome) string {
	meaning := meaningOf(o)
	switch o.State {
	case mail.Bounced:
		return meaning.why + " " + meaning.todo
	case mail.Deferred:
		return meaning.why
	case mail.Expired:
		times := "once"
		if o.Attempt > 1 {
			times = strconv.Itoa(o.Attempt) + " times"
		}
		return "Delivery was tried " + times + ", and the time for it is over. " + meaning.why + " " + meaning.todo
	}
	return ""
}
