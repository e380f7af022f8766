package dsn

import (
	"strconv"

	"postern/internal/mail"
	"postern/internal/message"
)

// writeText writes the part for people: for each recipient what was said
// and what it means, then what became of the message and who can help.
func (c *composer) writeText() {
	charset := "us-ascii"
	if c.utf8 {
		charset = "utf-8"
	}
	c.part("text/plain; charset="+charset, "Notification", c.utf8)
	c.paragraph("", "This is the mail system at "+c.Host+".")
	c.line("")
	kind := kinds[c.Recipients[0].Outcome.State]
	if len(c.Recipients) == 1 {
		c.line(kind.one)
	} else {
		c.line(kind.many)
	}
	c.line("")
	for _, rcpt := range c.Recipients {
		c.writeRecipient(rcpt)
	}
	what := "Its header is attached to this report."
	if c.original.full {
		what = "It is attached to this report."
	}
	c.paragraph("", "Your message was accepted on "+message.FormatDate(c.Accepted)+". "+what)
	c.line("")
	c.paragraph("", "If you need help, forward this report to "+c.from.String()+
		". Your message is known there as "+string(c.About)+".")
}

func (c *composer) writeRecipient(rcpt Recipient) {
	o := rcpt.Outcome
	c.line("  " + c.clean(rcpt.Address.Path(), maxField))
	c.line("")
	if !o.Reply.IsZero() {
		c.paragraph("    ", speaker(o))
		c.line("")
		c.paragraph("      ", o.Reply.String())
		c.line("")
	}
	c.paragraph("    ", explain(o))
	c.line("")
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

// explain says in plain words what an outcome means, and what to do.
func explain(o mail.Outcome) string {
	meaning := meaningOf(o.Reply)
	if o.State != mail.Expired {
		return meaning
	}
	times := "once"
	if o.Attempt > 1 {
		times = strconv.Itoa(o.Attempt) + " times"
	}
	return "Delivery was tried " + times + ", and the time for it is over. " + meaning
}
