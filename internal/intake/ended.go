package intake

import (
	"context"
	"fmt"
	"slices"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/queue"
	"postern/internal/report"
)

// This file ends what ends at acceptance: recipients that stand for others, and members
// of these that are nobody's. Each has its fact; and a report, written into the same
// group, tells whoever is to hear of it.

// expansions tells of the recipients that stand for others.
func (c *composer) expansions() {
	for i := range c.ended {
		e := &c.ended[i]
		f := c.fact(mail.ReasonExpanded, c.taken.id, []policy.Addressee{e.Addressee})
		f.Text = e.x.String()
		c.acceptedHere(&f)
		c.group.Facts = append(c.group.Facts, f)
		if len(e.x.Unknown) > 0 {
			c.in.Logger.Warn("nobody is at an address that an alias or list has", "address", e.Recipient.Address, "expansion", f.Text)
		}
	}
}

// told is one who is told of something, of what, and as what class.
type told struct {
	sender mail.Address
	action dsn.Action
	class  mail.Class
}

// reports writes the reports about what has ended: that an alias was expanded, or that a
// list has got the message (RFC 3464 2.3.3: for a list that is delivery), to a sender
// that has asked for it; and that a member is nobody's. Nobody is told of what is held.
func (c *composer) reports(ctx context.Context) error {
	about := make(map[told][]dsn.Recipient)
	var order []told
	var class mail.Class
	tell := func(to mail.Address, r mail.Recipient, o mail.Outcome) {
		if to.IsNull() || !r.Notify.Wants(o.State) {
			return
		}
		key := told{to, dsn.ActionFor(o.State), class}
		if about[key] == nil {
			order = append(order, key)
		}
		about[key] = append(about[key], dsn.Recipient{Recipient: r, Outcome: o})
	}
	for i := range c.ended {
		if e := &c.ended[i]; e.Treatment.Hold == "" {
			class = c.class(&e.Treatment)
			c.tellOf(e, tell)
		}
	}
	for _, key := range order {
		if err := c.report(ctx, key, about[key]); err != nil {
			return err
		}
	}
	return nil
}

// tellOf tells of one recipient that stands for others, and of those on the way that are
// nobody's.
func (c *composer) tellOf(e *ending, tell func(mail.Address, mail.Recipient, mail.Outcome)) {
	sender := c.senderOf(&e.Treatment)
	state := mail.Expanded
	if e.x.List != "" {
		state = mail.Delivered
	}
	tell(sender, e.Recipient, mail.Outcome{State: state})
	whole := destined{Addressee: e.Addressee}
	for i := range e.x.Unknown {
		m := &e.x.Unknown[i]
		to, r := sender, whole.memberOf(m).Recipient
		if !m.Owner.IsNull() {
			to = m.Owner
		}
		tell(to, r, mail.Outcome{State: mail.Bounced, At: c.taken.at, Reply: errUnknownUser.Reply})
	}
}

// senderOf is the sender that a recipient's mail has.
func (c *composer) senderOf(t *policy.Treatment) mail.Address {
	if t.Sender != nil {
		return *t.Sender
	}
	return c.message.Envelope.From
}

// report writes one report into the group.
func (c *composer) report(ctx context.Context, key told, about []dsn.Recipient) error {
	to := c.in.Local.Reports(key.sender)
	if len(to) == 0 {
		return nil // the facts are all there can be
	}
	envelope := c.message.Envelope
	if key.sender != envelope.From { // what that asked for is not for another
		envelope.EnvelopeID, envelope.Return = "", ""
	}
	envelope.From = key.sender
	now := c.taken.at
	r := dsn.Report{
		ID: c.in.IDs.New(now), Host: c.in.Company(key.sender).Hostname, Now: now,
		About: c.taken.id, Envelope: envelope, Origin: c.message.Origin, Accepted: now,
		Recipients: about, Content: c.taken.draft, Size: c.taken.draft.Size(),
	}
	written, err := report.Writer{Store: c.in.Store, Signer: c.in.Signer}.Write(ctx, &r, to)
	if err != nil {
		return fmt.Errorf("cannot write a report: %w", err)
	}
	written.Entry.Class = key.class
	c.written = append(c.written, written.Draft)
	c.group.Submissions = append(c.group.Submissions, written)
	c.group.Facts = append(c.group.Facts, report.Fact(&written, c.taken.id, key.action))
	return nil
}

// acceptedHere puts recipients that end here into the fact that the message was
// accepted, before the fact that says how they end.
func (c *composer) acceptedHere(end *mail.Fact) {
	at := slices.IndexFunc(c.group.Facts, func(f mail.Fact) bool { return f.Reason == mail.ReasonAccepted && f.Message == c.taken.id })
	if at < 0 { // nobody gets it
		e := c.taken.entry(c.message)
		c.group.Facts = append(c.group.Facts, c.in.acceptedFact(&e, c.taken.summary.MessageID, c.taken.summary.Size))
		at = len(c.group.Facts) - 1
		c.group.Facts[at].Trail = end.Trail
	}
	c.group.Facts[at].To = append(c.group.Facts[at].To, end.To...)
}

var _ report.Store = queue.Accepter(nil)
