package explain

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/queue"
	"postern/internal/route"
)

// outcomes says what becomes of each recipient: from what the door would have
// stored, and for what is not stored by recipient, from what policy has said.
func (w *walk) outcomes() {
	next := 0 // of the commands RCPT
	for _, to := range w.mail.To {
		r := Recipient{Address: to.String(), as: w.routed(to)}
		if r.as != to {
			r.Routed = r.as.String()
		}
		rcpt := w.rcpt(&next)
		switch {
		case rcpt != nil && !rcpt.Reply.IsZero():
			r.Outcome, r.Refusal = Refused, &Refusal{Command: rcpt.Name, Reply: rcpt.Reply, By: rcpt.By}
		case w.report.Refused != nil:
			r.Outcome, r.Refusal = Refused, w.report.Refused
		default:
			w.accepted(&r, to)
		}
		w.report.Recipients = append(w.report.Recipients, r)
	}
}

// routed is the address that one stands for, by percent routing.
func (w *walk) routed(a mail.Address) mail.Address {
	return w.server.Engine.Routed(w.listener.name, a, w.listener.address.Addr())
}

// rcpt returns the next command RCPT, or nil when there was none.
func (w *walk) rcpt(next *int) *Command {
	for ; *next < len(w.report.Commands); *next++ {
		if c := &w.report.Commands[*next]; c.Name == "RCPT" {
			*next++
			return c
		}
	}
	return nil
}

// accepted says where the mail for a recipient goes.
func (w *walk) accepted(r *Recipient, to mail.Address) {
	r.By = w.handlers(r.as)
	a := w.addressee(r.as)
	if a != nil {
		r.treated(&a.Treatment)
	}
	if x := w.expansion(r.as, a); x != nil {
		w.expanded(r, a, x)
		return
	}
	r.Outcome, r.because = Discarded, w.handlers(r.as, "discard", "remove_recipient")
	variant := 0
	for i := range w.store.group.Submissions {
		e := &w.store.group.Submissions[i].Entry
		if w.isCopy(e) {
			continue
		}
		variant++
		if d, stored := w.find(e, to); stored != nil {
			r.Variant = variant
			w.stored(r, e, d, stored)
			return
		}
	}
}

// expansion is whom a recipient stands for that was accepted, if these are several or the
// members of a list.
func (w *walk) expansion(as mail.Address, a *policy.Addressee) *intake.Expansion {
	by, at := intake.Sending{Origin: &w.origin, From: w.mail.From}, as
	if a != nil {
		t := &a.Treatment
		by.Instead = t.Sender
		if t.Discard || t.Route != "" {
			return nil
		}
		if !t.Address.IsNull() {
			at, by.Ours = t.Address, !t.Rewritten
		}
	}
	x, err := w.server.Door.Local.Expand(context.Background(), at, by)
	if err != nil || x == nil || x.Single() {
		return nil
	}
	return x
}

// expanded says who gets the mail of a recipient that stands for others.
func (w *walk) expanded(r *Recipient, a *policy.Addressee, x *intake.Expansion) {
	r.Outcome, r.List = Expanded, x.List
	if a != nil && a.Treatment.Hold != "" {
		r.Outcome, r.Hold, r.Note = Held, a.Treatment.Hold, a.Treatment.Note
		r.because = w.handlers(r.as, "hold", "quarantine")
	}
	for i := range x.Members {
		m := &x.Members[i]
		r.Members = append(r.Members, m.Address.String())
		if i == 0 && !m.Owner.IsNull() {
			r.Sender = m.Owner.Path()
		}
	}
	for i := range x.Unknown {
		r.Unknown = append(r.Unknown, x.Unknown[i].Address.String())
	}
}

// treated notes what of a treatment is not stored by recipient.
func (r *Recipient) treated(t *policy.Treatment) {
	for _, e := range t.Edits {
		r.Edits = append(r.Edits, describe(&e))
	}
	for _, a := range t.Copies {
		r.Copies = append(r.Copies, a.String())
	}
	for _, a := range t.Added {
		r.Added = append(r.Added, a.String())
	}
}

// describe says what an edit does.
func describe(e *message.Edit) string {
	switch e.Op {
	case message.AddField:
		return fmt.Sprintf("adds %s: %s", e.Name, e.Value)
	case message.ReplaceField:
		return fmt.Sprintf("replaces %s: %s", e.Name, e.Value)
	case message.ReplaceFrom:
		return fmt.Sprintf("From is %s, and what it was is %s", e.Value, e.Name)
	}
	return "removes " + e.Name
}

// stored says what is stored of a recipient.
func (w *walk) stored(r *Recipient, e *queue.Entry, d *queue.Delivery, stored *queue.Recipient) {
	r.Outcome = Queued
	if stored.State == mail.Held {
		r.Outcome, r.Hold, r.Note = Held, stored.Hold, stored.Why
		r.because = w.handlers(r.as, "hold", "quarantine")
	}
	r.To, r.Destination, r.TLS = stored.Address.String(), d.Destination, e.TLS
	r.Route = w.server.Route(e.Envelope.From, d.Destination)
	w.way(r, e, d, stored.Address)
	r.Tags = slices.Clone(e.Tags)
	if e.Envelope.From != w.mail.From {
		r.Sender = e.Envelope.From.Path()
	}
	if w.server.Door.Company != nil {
		r.Company = w.server.Door.Company(e.Envelope.From).Name
	}
	if e.Class != mail.Normal {
		r.Class = e.Class.String()
	}
	if d.Next.After(e.Accepted) {
		r.NotBefore = d.Next.UTC().Truncate(time.Second)
	}
	r.content = w.body(e)
}

// way says why a recipient goes where it does.
func (w *walk) way(r *Recipient, e *queue.Entry, d *queue.Delivery, to mail.Address) {
	if w.server.Router == nil {
		return
	}
	at := d.Destination
	if !at.Chosen(to) {
		at = to.Destination()
	}
	r.Way = w.server.way(e.Routing(to), at)
	q := route.Question{Destination: r.Way.Destination, Sender: e.Envelope.From, TLS: e.TLSDemand(), Size: e.Size}
	if w.mail.Content != nil {
		q.Content = texts(w.body(e))
	}
	var hops []route.Hop
	if w.server.Resolve {
		hops = w.server.resolve(context.Background(), r.Way, q)
	} else {
		hops = w.server.known(r.Way, q)
	}
	if e.Envelope.RequireTLS {
		r.Way.RequireTLS = w.server.keepsTLS(hops)
	}
}

// body is the content of an entry, for those who look into it: one for all recipients, who can be a
// thousand. It must not be changed.
func (w *walk) body(e *queue.Entry) []byte {
	id := e.Body
	if id == "" { // the store has given it its own
		id = e.ID
	}
	content, read := w.contents[id]
	if !read {
		content = w.readBody(id)
		w.contents[id] = content
	}
	return content
}

func (w *walk) readBody(id mail.ID) []byte {
	b, err := w.store.Body(context.Background(), id)
	if err != nil {
		return nil
	}
	defer b.Close()
	content, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		return nil
	}
	return content
}

// find returns the delivery and the recipient that an entry has for an address as
// the client named it: each knows what it was before.
func (w *walk) find(e *queue.Entry, named mail.Address) (*queue.Delivery, *queue.Recipient) {
	given := mail.Recipient{Address: named}.Readdressed(w.routed(named))
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		for j := range d.Recipients {
			if r := &d.Recipients[j]; r.Recipient == given.Readdressed(r.Address) {
				return d, r
			}
		}
	}
	return nil, nil
}

// isCopy reports whether an entry is a report, or a copy of which sender and recipients
// do not hear: nobody who was named is in it.
func (w *walk) isCopy(e *queue.Entry) bool {
	if e.Message != w.store.group.Submissions[0].Entry.Message { // a report, which may be to one of them
		return true
	}
	return !slices.ContainsFunc(w.mail.To, func(to mail.Address) bool {
		_, r := w.find(e, to)
		return r != nil
	})
}

// addressee is what policy says of a recipient, as it knows it, of a message that was accepted; nil
// when it had nothing to say.
func (w *walk) addressee(to mail.Address) *policy.Addressee {
	list := w.explanation.Recipients
	at := slices.IndexFunc(list, func(a policy.Addressee) bool { return a.Recipient.Address == to })
	if at < 0 {
		return nil
	}
	return &list[at]
}

// handlers are those that have taken steps for a recipient, or for all; of named
// steps, if some are given.
func (w *walk) handlers(to mail.Address, steps ...string) []Handler {
	var list []Handler
	for i := range w.report.Commands {
		for j := range w.report.Commands[i].Considered {
			c := &w.report.Commands[i].Considered[j]
			h := handlerOf(c)
			if (c.Recipient == "" || c.Recipient == to.String()) && took(c, steps) && !slices.Contains(list, h) {
				list = append(list, h)
			}
		}
	}
	return list
}

// took reports whether a handler has taken one of some steps, or without any named
// one at all.
func took(c *policy.Considered, steps []string) bool {
	return slices.ContainsFunc(c.Steps, func(d mail.Decided) bool { return len(steps) == 0 || slices.Contains(steps, d.Step) })
}
