package intake

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/queue"
)

// verdict is what policy made of a message that it accepts.
type verdict struct {
	// recipients are those of the message, with what becomes of each.
	recipients []policy.Addressee
	// trail is what was decided about the session and the message.
	trail []mail.Decided
}

// because is all that was decided about some recipients, each step once.
func (v *verdict) because(about []policy.Addressee) []mail.Decided {
	steps := slices.Clone(v.trail)
	for i := range about {
		steps = append(steps, about[i].Trail...)
	}
	seen := make(map[mail.Decided]bool, len(steps))
	return slices.DeleteFunc(steps, func(d mail.Decided) bool {
		again := seen[d]
		seen[d] = true
		return again
	})
}

// judge decides about a message that has come in. An error is the reply to the
// client, and nothing is accepted.
type judge func(ctx context.Context, t *taken) (verdict, error)

// acceptBy is Accept for a message that policy sees before: as it will be
// stored, but for what policy changes. All that comes of it, content and
// entries of each variant, copies and facts, is one commit.
func (in *Intake) acceptBy(ctx context.Context, m Message, decide judge) (mail.ID, error) {
	t, err := in.take(ctx, &m)
	if err != nil {
		return "", err
	}
	c := composer{in: in, message: &m, taken: &t, verdict: new(verdict)}
	err = in.Inspections.run(ctx, in.Budget, func(ctx context.Context) (err error) {
		if *c.verdict, err = decide(ctx, &t); err != nil {
			return err
		}
		return c.compose(ctx) // another header is another content, which takes time and memory
	})
	if err == nil {
		err = in.store(ctx, &m, c.group)
	}
	if err != nil {
		if !Fatal(err) {
			c.discard()
		}
		return "", storeError(err)
	}
	c.release()
	c.counted()
	return t.id, nil
}

// composer makes a group of the verdict about a message: entries with their
// contents, and the facts.
type composer struct {
	in      *Intake
	message *Message
	taken   *taken
	verdict *verdict

	group    queue.Group
	contents []written
	bases    []written // those with edits, before they are signed
	copied   []copied
	ended    []ending      // recipients that stand for others
	written  []queue.Draft // reports
	rewrote  int64         // octets of the contents beside that of the message
	// of the recipients that came: dropped, and held.
	discarded, held int
	recipients      int // of all entries
}

// copied is a copy that has its entry.
type copied struct {
	to    mail.Address
	edits []message.Edit
}

func (c *composer) compose(ctx context.Context) error {
	all := c.verdict.recipients
	to, err := c.spread(ctx, all)
	if err != nil {
		return err
	}
	for _, class := range classes(to) {
		if err := c.entry(ctx, class); err != nil {
			return err
		}
	}
	for i := range all {
		if err := c.copies(ctx, &all[i]); err != nil {
			return err
		}
	}
	c.discards(slices.DeleteFunc(slices.Clone(all), func(a policy.Addressee) bool { return !a.Treatment.Discard }))
	c.expansions()
	if err := c.reports(ctx); err != nil {
		return err
	}
	c.group.Marks = c.taken.marks(c.message)
	return nil
}

// classes puts recipients together that get the same bytes from the same sender
// under the same conditions: all that is said of an entry as a whole.
func classes(all []destined) [][]destined {
	var list [][]destined
	for i := range all {
		d := &all[i]
		at := slices.IndexFunc(list, func(class []destined) bool {
			return class[0].list == d.list && sameEntry(&class[0].Treatment, &d.Treatment)
		})
		if at < 0 {
			at = len(list)
			list = append(list, nil)
		}
		list[at] = append(list[at], *d)
	}
	return list
}

func sameEntry(a, b *policy.Treatment) bool {
	return same(a.Sender, b.Sender) && slices.Equal(a.Edits, b.Edits) && a.TLS == b.TLS && same(a.Class, b.Class) && a.NotBefore.Equal(b.NotBefore) && slices.Equal(a.Tags, b.Tags)
}

// same reports whether two things that need not be there are equal.
func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// addressees are recipients as policy has them.
func addressees(class []destined) []policy.Addressee {
	list := make([]policy.Addressee, len(class))
	for i := range class {
		list[i] = class[i].Addressee
	}
	return list
}

// newEntry begins an entry with the id of the message.
func (c *composer) newEntry(sender mail.Address, t *policy.Treatment) queue.Entry {
	e := c.taken.entry(c.message)
	e.Envelope.From = sender
	e.Tags, e.TLS = slices.Clone(t.Tags), t.TLS
	e.Class = c.class(t)
	return e
}

// class is that of what is made of the message for a recipient.
func (c *composer) class(t *policy.Treatment) mail.Class {
	if t.Class != nil {
		return *t.Class
	}
	return c.taken.class
}

// entry makes the entry of some recipients.
func (c *composer) entry(ctx context.Context, class []destined) error {
	t := &class[0].Treatment
	e := c.newEntry(c.senderOf(t), t)
	if len(c.group.Submissions) > 0 { // the first has the id of the message
		e.ID = c.in.IDs.New(c.taken.at)
	}
	list, err := c.addressed(ctx, class)
	if err != nil {
		return err
	}
	e.Deliveries = queue.DeliveriesBy(list.recipients, later(c.taken.at, t.NotBefore), func(i int) mail.Destination {
		return c.in.destination(&e, list.recipients[i].Address, list.routes[i])
	})
	if err := c.submit(ctx, &e, t.Edits); err != nil {
		return err
	}
	if class[0].list { // what the sender asked for is not for the members
		forget(&c.group.Submissions[len(c.group.Submissions)-1].Entry.Envelope)
	}
	c.facts(&e, class, &list)
	return nil
}

// forget takes out of an envelope what is for reports to the sender of the message.
func forget(e *mail.Envelope) { e.EnvelopeID, e.Return = "", "" }

func later(now, notBefore time.Time) time.Time {
	if notBefore.After(now) {
		return notBefore
	}
	return now
}

// submit adds an entry with its content to the group.
func (c *composer) submit(ctx context.Context, e *queue.Entry, edits []message.Edit) error {
	content, err := c.content(ctx, e, edits)
	if err != nil {
		return err
	}
	e.Body, e.Size = content.body, content.summary.Size
	as := Message{Envelope: c.message.Envelope}
	as.Envelope.From = e.Envelope.From
	e.Envelope = envelopeFor(&as, content.summary)
	s := queue.Submission{Entry: *e}
	if content.body == e.ID {
		s.Draft = content.draft
	}
	c.group.Submissions = append(c.group.Submissions, s)
	for i := range e.Deliveries {
		c.recipients += len(e.Deliveries[i].Recipients)
	}
	return nil
}

// addressing are the recipients of an entry, as they are stored.
type addressing struct {
	recipients []queue.Recipient
	routes     []mail.RouteKey // that were chosen for them
	added      []string        // the addresses of those that did not come
	known      map[mail.Recipient]bool
	addresses  map[place]bool
}

// add adds a recipient with what policy does for it, unless there is one like
// it.
func (a *addressing) add(r mail.Recipient, t *policy.Treatment) {
	if a.known[r] {
		return
	}
	a.known[r], a.addresses[placeOf(r.Address, mail.Address{})] = true, true
	stored := queue.Recipient{Recipient: r, State: mail.Queued}
	if t.Hold != "" {
		stored.State, stored.Hold, stored.Why = mail.Held, t.Hold, cutText(t.Note)
	}
	a.recipients = append(a.recipients, stored)
	a.routes = append(a.routes, t.Route)
}

// addOnce adds a recipient that did not come, unless its address gets the mail already.
func (a *addressing) addOnce(r mail.Recipient, t *policy.Treatment) {
	if !a.addresses[placeOf(r.Address, mail.Address{})] {
		a.add(r, t)
		a.added = append(a.added, r.Address.String())
	}
}

// addressed returns the recipients of an entry: those that came, the members of others
// that came, and those that policy has added. Of these last the sender does not know,
// and is told nothing (RFC 3461 4.1).
func (c *composer) addressed(ctx context.Context, class []destined) (addressing, error) {
	list := addressing{known: make(map[mail.Recipient]bool, len(class)), addresses: make(map[place]bool, len(class))}
	for i := range class {
		if d := &class[i]; !d.member {
			list.add(d.Recipient, &d.Treatment)
		}
	}
	for i := range class {
		if d := &class[i]; d.member {
			list.addOnce(d.Recipient, &d.Treatment)
		}
	}
	for i := range class {
		t := &class[i].Treatment
		for _, a := range t.Added {
			to, err := c.leads(ctx, a, c.senderOf(t))
			if err != nil {
				return list, err
			}
			for _, address := range to {
				list.addOnce(mail.Recipient{Address: address, Notify: mail.NotifyNever}, t)
			}
		}
	}
	return list, nil
}

// maxWhy bounds what is stored of why somebody is held, in octets.
const maxWhy = 1000

func cutText(s string) string {
	if len(s) <= maxWhy {
		return s
	}
	return strings.ToValidUTF8(s[:maxWhy], "") + "..."
}

// copies makes an entry for each address that gets a copy of what a recipient
// gets: from the null sender, so that nothing that becomes of it can reach the
// sender of the message. One that cannot be delivered is a dead letter.
func (c *composer) copies(ctx context.Context, of *policy.Addressee) error {
	t := &of.Treatment
	for _, a := range t.Copies {
		if slices.ContainsFunc(c.copied, func(x copied) bool { return x.to == a && slices.Equal(x.edits, t.Edits) }) {
			continue
		}
		c.copied = append(c.copied, copied{a, t.Edits})
		if err := c.copy(ctx, of, a); err != nil {
			return err
		}
	}
	return nil
}

func (c *composer) copy(ctx context.Context, of *policy.Addressee, to mail.Address) error {
	var sender mail.Address // null
	addresses, err := c.leads(ctx, to, sender)
	if err != nil {
		return err
	}
	e := c.newEntry(sender, &of.Treatment)
	e.ID = c.in.IDs.New(c.taken.at)
	var recipients []mail.Recipient
	for _, a := range addresses {
		recipients = append(recipients, mail.Recipient{Address: a, Notify: mail.NotifyNever})
	}
	e.Deliveries = c.in.deliveries(&e, queued(recipients), c.taken.at)
	if err := c.submit(ctx, &e, of.Treatment.Edits); err != nil {
		return err
	}
	// What is for reports about the message is not for those about its copy.
	s := &c.group.Submissions[len(c.group.Submissions)-1]
	forget(&s.Entry.Envelope)
	c.copyFact(&s.Entry, of)
	return nil
}

// discard frees what the verdict brought and was not stored.
func (c *composer) discard() {
	for _, draft := range c.drafts() {
		draft.Discard()
	}
	for i := range c.contents {
		c.contents[i].draft.Discard()
	}
	for _, draft := range c.written {
		draft.Discard()
	}
}

// drafts are the contents before they are signed.
func (c *composer) drafts() []queue.Draft {
	list := []queue.Draft{c.taken.draft}
	for i := range c.bases {
		list = append(list, c.bases[i].draft)
	}
	return list
}

// release frees what no entry has: what came when all get another, or nobody gets any,
// and what was signed.
func (c *composer) release() {
	for _, draft := range c.drafts() {
		if !slices.ContainsFunc(c.contents, func(w written) bool { return w.draft == draft }) {
			draft.Discard()
		}
	}
}

// counted tells of what was accepted.
func (c *composer) counted() {
	c.in.Metrics.message(c.recipients+c.discarded, c.taken.summary.Size)
	c.in.sent(c.message, &c.message.Origin, c.taken)
	c.in.Logger.Info("accepted", "session", c.message.Origin.Session, "message", c.taken.id,
		"from", c.message.Envelope.From.Path(), "recipients", len(c.message.Recipients), "size", c.taken.summary.Size,
		"entries", len(c.group.Submissions), "held", c.held, "discarded", c.discarded)
}
