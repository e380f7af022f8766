package intake

import (
	"slices"

	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/queue"
)

// This file has the facts of what policy did with a message. Each recipient
// that the client named stands in one fact "accepted", under the address that it
// named: that of the entry that was made for it, or, if it was dropped, that of
// the message; and a dropped one in the fact "discarded" behind it.

// facts tell of an entry that was made for recipients.
func (c *composer) facts(e *queue.Entry, class []destined, list *addressing) {
	accepted := c.in.acceptedFact(e, c.contentOf(e).summary.MessageID, e.Size)
	accepted.To = list.names(class)
	accepted.Trail = mail.Trail(c.verdict.because(addressees(class)))
	accepted.About = c.about(e)
	if e.Envelope.From != c.message.Envelope.From {
		accepted.Text = "the client gave the sender " + c.message.Envelope.From.Path()
	}
	if first := e.Deliveries[0].Next; first.After(e.Accepted) {
		accepted.Next = first
	}
	c.group.Facts = append(c.group.Facts, accepted)
	c.moved(e, class)
	c.holds(e, addressees(class))
}

// contentOf returns the content that an entry uses.
func (c *composer) contentOf(e *queue.Entry) *written {
	return &c.contents[slices.IndexFunc(c.contents, func(w written) bool { return w.body == e.Body })]
}

// about is the message that an entry is a variant of; empty for the one with
// the id of the message.
func (c *composer) about(e *queue.Entry) mail.ID {
	if e.ID == c.taken.id {
		return ""
	}
	return c.taken.id
}

// names are the recipients of an entry as its client named them, and those that
// were added.
func (a *addressing) names(class []destined) []string {
	to := make([]string, 0, len(class)+len(a.added))
	for i := range class {
		if d := &class[i]; !d.member {
			to = append(to, d.named.String())
		}
	}
	return append(to, a.added...)
}

// moved tells of the recipients whose mail goes to another address, one fact
// for each of these.
func (c *composer) moved(e *queue.Entry, class []destined) {
	from := make(map[mail.Address][]policy.Addressee)
	var order []mail.Address
	for i := range class {
		d := &class[i]
		to := d.Recipient.Address
		if d.member || to == d.named {
			continue
		}
		if from[to] == nil {
			order = append(order, to)
		}
		was := d.Addressee
		was.Recipient.Address = d.named
		from[to] = append(from[to], was)
	}
	for _, to := range order {
		f := c.fact(mail.ReasonReaddressed, e.ID, from[to])
		f.Text = "to " + to.Path()
		c.group.Facts = append(c.group.Facts, f)
	}
}

// holds tells which recipients of an entry are held, one fact for each cause,
// under the addresses where they wait.
func (c *composer) holds(e *queue.Entry, class []policy.Addressee) {
	for _, f := range heldFacts(e) {
		f.Session, f.From = c.message.Origin.Session, e.Envelope.From.Path()
		f.Trail = mail.Trail(c.verdict.because(slices.DeleteFunc(slices.Clone(class), func(a policy.Addressee) bool {
			return a.Treatment.Hold != f.Hold || cutText(a.Treatment.Note) != f.Text
		})))
		c.held += len(f.To)
		c.group.Facts = append(c.group.Facts, f)
	}
}

// copyFact tells of an entry that is a copy of what a recipient gets.
func (c *composer) copyFact(e *queue.Entry, of *policy.Addressee) {
	f := c.in.acceptedFact(e, c.contentOf(e).summary.MessageID, e.Size)
	f.About, f.Text = c.taken.id, "copy"
	f.Trail = mail.Trail(c.verdict.because([]policy.Addressee{*of}))
	c.group.Facts = append(c.group.Facts, f)
}

// discards tells of the recipients for which the message is dropped. It was
// accepted for them before.
func (c *composer) discards(dropped []policy.Addressee) {
	if len(dropped) == 0 {
		return
	}
	c.discarded = len(dropped)
	discarded := c.fact(mail.ReasonDiscarded, c.taken.id, dropped)
	c.acceptedHere(&discarded)
	c.group.Facts = append(c.group.Facts, discarded)
}

// fact begins a fact about some recipients, as the client named them.
func (c *composer) fact(r mail.Reason, id mail.ID, about []policy.Addressee) mail.Fact {
	f := mail.Fact{
		Time: c.taken.at, Reason: r, Message: id, Session: c.message.Origin.Session,
		From: c.message.Envelope.From.Path(), Trail: mail.Trail(c.verdict.because(about)),
	}
	for i := range about {
		f.To = append(f.To, about[i].Recipient.Address.String())
	}
	return f
}
