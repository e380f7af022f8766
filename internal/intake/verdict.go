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
	copied   []copied
	rewrote  int64 // octets of the contents beside that of the message
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
	for _, class := range classes(all) {
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
	c.group.Marks = c.taken.marks(c.message)
	return nil
}

// classes puts recipients together that get the same bytes from the same sender
// under the same conditions: all that is said of an entry as a whole.
func classes(all []policy.Addressee) [][]policy.Addressee {
	var list [][]policy.Addressee
	for _, a := range all {
		if a.Treatment.Discard {
			continue
		}
		at := slices.IndexFunc(list, func(class []policy.Addressee) bool { return sameEntry(&class[0].Treatment, &a.Treatment) })
		if at < 0 {
			at = len(list)
			list = append(list, nil)
		}
		list[at] = append(list[at], a)
	}
	return list
}

func sameEntry(a, b *policy.Treatment) bool {
	sameSender := a.Sender == b.Sender || a.Sender != nil && b.Sender != nil && *a.Sender == *b.Sender
	return sameSender && slices.Equal(a.Edits, b.Edits) && a.TLS == b.TLS && a.NotBefore.Equal(b.NotBefore) && slices.Equal(a.Tags, b.Tags)
}

// newEntry begins an entry with the id of the message.
func (c *composer) newEntry(sender mail.Address, t *policy.Treatment) queue.Entry {
	e := c.taken.entry(c.message)
	e.Envelope.From = sender
	e.Tags, e.TLS = slices.Clone(t.Tags), t.TLS
	return e
}

// entry makes the entry of some recipients.
func (c *composer) entry(ctx context.Context, class []policy.Addressee) error {
	t := &class[0].Treatment
	sender := c.message.Envelope.From
	if t.Sender != nil {
		sender = *t.Sender
	}
	e := c.newEntry(sender, t)
	if len(c.group.Submissions) > 0 { // the first has the id of the message
		e.ID = c.in.IDs.New(c.taken.at)
	}
	list, err := c.addressed(class)
	if err != nil {
		return err
	}
	e.Deliveries = queue.DeliveriesBy(list.recipients, later(c.taken.at, t.NotBefore), func(i int) mail.Destination {
		return list.recipients[i].Address.Destination().Via(list.routes[i])
	})
	if err := c.submit(ctx, &e, t.Edits); err != nil {
		return err
	}
	c.facts(&e, class, &list)
	return nil
}

func later(now, notBefore time.Time) time.Time {
	if notBefore.After(now) {
		return notBefore
	}
	return now
}

// submit adds an entry with its content to the group.
func (c *composer) submit(ctx context.Context, e *queue.Entry, edits []message.Edit) error {
	content, err := c.content(ctx, e.ID, edits)
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
	named      []mail.Address  // of each that came
	to         []mail.Address  // where its mail goes
	added      []string        // the addresses of those that did not come
	known      map[mail.Recipient]bool
}

// add adds a recipient with what policy does for it, unless there is one like
// it.
func (a *addressing) add(r mail.Recipient, t *policy.Treatment) {
	if a.known[r] {
		return
	}
	a.known[r] = true
	stored := queue.Recipient{Recipient: r, State: mail.Queued}
	if t.Hold != "" {
		stored.State, stored.Hold, stored.Why = mail.Held, t.Hold, cutText(t.Note)
	}
	a.recipients = append(a.recipients, stored)
	a.routes = append(a.routes, t.Route)
}

// has reports whether there is a recipient at an address.
func (a *addressing) has(to mail.Address) bool {
	return slices.ContainsFunc(a.recipients, func(x queue.Recipient) bool { return x.Address == to })
}

// addressed returns the recipients of an entry, and those that were added to
// them. Of these the sender does not know, and is told nothing (RFC 3461 4.1).
func (c *composer) addressed(class []policy.Addressee) (list addressing, err error) {
	list.known = make(map[mail.Recipient]bool, len(class))
	for i := range class {
		named, to, err := c.leads(&class[i])
		if err != nil {
			return list, err
		}
		list.named, list.to = append(list.named, named), append(list.to, to)
		list.add(class[i].Recipient.Readdressed(to), &class[i].Treatment)
	}
	for i := range class {
		t := &class[i].Treatment
		for _, a := range t.Added {
			to, err := c.resolve(a)
			if err != nil {
				return list, err
			}
			if !list.has(to) {
				list.add(mail.Recipient{Address: to, Notify: mail.NotifyNever}, t)
				list.added = append(list.added, to.String())
			}
		}
	}
	return list, nil
}

// leads returns the address of a recipient, and that to which its mail goes. One
// of this host is somebody's elsewhere, unless policy has another address for
// it, or a route.
func (c *composer) leads(a *policy.Addressee) (named, to mail.Address, err error) {
	named, t := a.Recipient.Address, &a.Treatment
	if t.Address.IsNull() {
		if t.Route == "" {
			named, err = c.resolve(named)
		}
		return named, named, err
	}
	if to = t.Address; t.Route == "" {
		to, err = c.in.instead(t, &c.message.Origin)
	}
	return named, to, err
}

// instead returns where the address leads that a recipient has instead. One that is
// nobody's fails with 451 if it is the administrator's own, and if it is made of what
// the client wrote, with 550 5.1.1.
func (in *Intake) instead(t *policy.Treatment, o *mail.Origin) (mail.Address, error) {
	to, err := in.Local.ResolveUser(t.Address, o.Local.Addr())
	if err != nil && !t.Rewritten {
		err = errNowhere.Because(err)
	}
	return to, err
}

var errNowhere = mail.Refuse(451, "4.3.5", "Local configuration error, please try again later")

// resolve returns where an address leads that policy names: one of this host
// may be somebody's elsewhere.
func (c *composer) resolve(a mail.Address) (mail.Address, error) {
	to, err := c.in.Local.ResolveUser(a, c.message.Origin.Local.Addr())
	if err != nil {
		return a, errNowhere.Because(err)
	}
	return to, nil
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
	to, err := c.resolve(to)
	if err != nil {
		return err
	}
	e := c.newEntry(mail.Address{}, &of.Treatment)
	e.ID = c.in.IDs.New(c.taken.at)
	r := queue.Recipient{Recipient: mail.Recipient{Address: to, Notify: mail.NotifyNever}, State: mail.Queued}
	e.Deliveries = queue.Deliveries([]queue.Recipient{r}, c.taken.at)
	if err := c.submit(ctx, &e, of.Treatment.Edits); err != nil {
		return err
	}
	// What is for reports about the message is not for those about its copy.
	s := &c.group.Submissions[len(c.group.Submissions)-1]
	s.Entry.Envelope.EnvelopeID, s.Entry.Envelope.Return = "", ""
	c.copyFact(&s.Entry, of)
	return nil
}

// discard frees what the verdict brought and was not stored.
func (c *composer) discard() {
	c.taken.draft.Discard()
	for i := range c.contents {
		c.contents[i].draft.Discard()
	}
}

// release frees the content of the message when all get another, or nobody
// gets any.
func (c *composer) release() {
	if !slices.ContainsFunc(c.contents, func(w written) bool { return w.draft == c.taken.draft }) {
		c.taken.draft.Discard()
	}
}

// counted tells of what was accepted.
func (c *composer) counted() {
	c.in.Metrics.message(c.recipients+c.discarded, c.taken.summary.Size)
	c.in.Logger.Info("accepted", "session", c.message.Origin.Session, "message", c.taken.id,
		"from", c.message.Envelope.From.Path(), "recipients", len(c.message.Recipients), "size", c.taken.summary.Size,
		"entries", len(c.group.Submissions), "held", c.held, "discarded", c.discarded)
}
