package intake

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/mail"
	"postern/internal/policy"
)

// This file says to which addresses the mail for the recipients of a message goes.

// destined is an address that gets a message: a recipient that the client named, as it
// is stored, or a member of one.
type destined struct {
	policy.Addressee
	// named is the address that the client has named.
	named mail.Address
	// member says that the recipient stands for several, of which this is one; list that
	// it is a member of a list, so that nothing that the sender has asked for goes on to
	// it (RFC 3461 5.2.7.1).
	member, list bool
}

// ending is a recipient that ends here, because it stands for others.
type ending struct {
	policy.Addressee
	x *Expansion
}

// spread returns all addresses that get the message. Recipients that stand for several
// are noted: they end here.
func (c *composer) spread(ctx context.Context, all []policy.Addressee) ([]destined, error) {
	list := make([]destined, 0, len(all))
	for i := range all {
		a := &all[i]
		if a.Treatment.Discard {
			continue
		}
		at, x, err := c.standsFor(ctx, a)
		if err != nil {
			return nil, err
		}
		d := destined{Addressee: *a, named: a.Recipient.Address}
		d.Recipient = stored(a.Recipient.Readdressed(at), x)
		if x == nil || x.Single() {
			list = append(list, d)
			continue
		}
		c.ended = append(c.ended, ending{*a, x})
		for j := range x.Members {
			list = append(list, d.memberOf(&x.Members[j]))
		}
	}
	return list, nil
}

// standsFor returns where a recipient's mail goes by policy, and for whom that stands;
// nil for itself. A route goes to the address as it is.
func (c *composer) standsFor(ctx context.Context, a *policy.Addressee) (at mail.Address, x *Expansion, err error) {
	t := &a.Treatment
	by := c.sending()
	by.Instead = t.Sender
	at = a.Recipient.Address
	if !t.Address.IsNull() {
		at = t.Address
	}
	switch {
	case t.Route != "":
	case t.Address.IsNull():
		x, err = c.in.Local.Expand(ctx, at, by)
	default:
		x, err = c.in.instead(ctx, t, by)
	}
	return at, x, err
}

func (c *composer) sending() Sending {
	return Sending{Origin: &c.message.Origin, From: c.message.Envelope.From}
}

// memberOf is the same for a member: of a list with an owner, its mail has the owner as
// sender. Of an alias, it keeps what the sender has asked for, but hears for it of no
// success: that is told of the alias (RFC 3461 5.2.7.3 c).
func (d destined) memberOf(m *Member) destined {
	d.member = true
	if m.Owner.IsNull() {
		d.Recipient = d.Recipient.Readdressed(m.Address)
		d.Recipient.Notify = withoutSuccess(d.Recipient.Notify)
		return d
	}
	d.list = true
	d.Recipient = mail.Recipient{Address: m.Address}
	owner := m.Owner
	d.Treatment.Sender = &owner
	return d
}

// withoutSuccess is a wish not to hear of success. Who wanted to hear of nothing else
// hears of nothing.
func withoutSuccess(n mail.Notify) mail.Notify {
	if n == mail.NotifySuccess {
		return mail.NotifyNever
	}
	return n &^ mail.NotifySuccess
}

// instead returns for whom the address stands that a recipient has instead; nil for
// itself. One that is nobody's fails with 451 if it is the administrator's own, and if
// it is made of what the client wrote, with 550 5.1.1.
func (in *Intake) instead(ctx context.Context, t *policy.Treatment, by Sending) (*Expansion, error) {
	if t.Rewritten {
		return in.Local.Expand(ctx, t.Address, by)
	}
	return in.Local.named(ctx, t.Address, by)
}

// named returns for whom an address stands that the administrator has named; nil for
// itself. That it is nobody's, or leads nowhere, is his mistake.
func (l *Local) named(ctx context.Context, a mail.Address, by Sending) (*Expansion, error) {
	by.Ours = true
	x, err := l.Expand(ctx, a, by)
	if err != nil && mail.ReplyOf(err).Permanent() {
		err = errNowhere.Because(err)
	}
	return x, err
}

// leads returns the addresses to which mail of a sender goes that policy sends somewhere as well.
func (c *composer) leads(ctx context.Context, a, sender mail.Address) ([]mail.Address, error) {
	by := c.sending()
	by.Instead, by.Kept = &sender, true
	x, err := c.in.Local.named(ctx, a, by)
	if x == nil {
		return []mail.Address{a}, err
	}
	list := make([]mail.Address, len(x.Members))
	for i := range x.Members {
		list[i] = x.Members[i].Address
	}
	return list, nil
}

// String says for whom an address stands: "list staff: 3 addresses".
func (x *Expansion) String() string {
	var parts []string
	if x.List != "" {
		parts = append(parts, "list "+x.List)
	}
	what := fmt.Sprintf("%d addresses", len(x.Members))
	if len(x.Members) == 1 {
		what = "1 address"
	}
	parts = append(parts, what)
	text := strings.Join(parts, ": ")
	for i := range x.Unknown {
		if i == 0 {
			text += "; nobody here: "
		} else {
			text += ", "
		}
		text += x.Unknown[i].Address.String()
	}
	return cutText(text)
}
