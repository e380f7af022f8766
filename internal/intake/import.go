package intake

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
)

// markImport is the kind of the marks that say how far an export was imported.
// The key is the id of the export, the value an Extent.
const markImport queue.MarkKind = "import"

// Extent is how far an export was imported.
type Extent struct {
	// Done is how many of its messages were seen, in their order.
	Done int `json:"done"`
	// Failed are those among them that could not be imported, by their ids.
	Failed []mail.ID `json:"failed,omitempty"`
}

// Batch is a stretch of an export on its way in.
type Batch struct {
	Export mail.ID `json:"export"`
	// Begin is how far the export was imported before, and After how far it
	// is with the batch.
	Begin int    `json:"begin"`
	After Extent `json:"after"`
	// Actor is who imports.
	Actor string `json:"-"`
}

// MaxFailed bounds how many messages of an export may fail.
const MaxFailed = 1000

// The errors of an import, to be asked for with errors.Is.
var (
	// ErrMovedOn says that another import of the same export has come further.
	ErrMovedOn = errors.New("the export was imported further meanwhile")
	// ErrUnfit says that a message cannot be taken as it is; others can.
	ErrUnfit = errors.New("it cannot be imported")
)

// Import is a batch that is being taken in. End it with Commit or Discard.
//
// The messages are those of another queue: they were accepted once, and keep
// their content octet by octet, with the states that they had. They get ids of
// this queue, because a store never uses one twice.
type Import struct {
	intake *Intake
	batch  Batch
	group  queue.Group
	// Imported has the new id of each message, by its old one.
	Imported map[mail.ID]mail.ID
	over     bool
}

// Imported tells how far an export was imported.
func (in *Intake) Imported(ctx context.Context, export mail.ID) (Extent, error) {
	var p Extent
	mark, err := in.Store.Mark(ctx, markImport, string(export))
	if errors.Is(err, queue.ErrNotFound) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(mark.Value), &p); err != nil {
		return p, fmt.Errorf("the mark of import %s cannot be read: %w", export, err)
	}
	return p, nil
}

// Import begins to take in a batch. It waits until no other is taken in.
// Errors: a mail.Error while nothing is taken; ErrMovedOn.
func (in *Intake) Import(ctx context.Context, b Batch) (*Import, error) {
	if in.Suspended() {
		return nil, errSuspended
	}
	if err := in.Room(0); err != nil {
		return nil, err
	}
	select {
	case in.importing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	im := &Import{intake: in, batch: b, Imported: make(map[mail.ID]mail.ID)}
	if err := im.check(ctx); err != nil {
		im.Discard()
		return nil, err
	}
	return im, nil
}

// check compares the batch with what was imported before.
func (im *Import) check(ctx context.Context) error {
	b := &im.batch
	if len(b.After.Failed) > MaxFailed {
		return fmt.Errorf("%w: %d messages of the export failed; at most %d may", queue.ErrInvalid, len(b.After.Failed), MaxFailed)
	}
	if b.After.Done < b.Begin {
		return fmt.Errorf("%w: a batch from %d to %d", queue.ErrInvalid, b.Begin, b.After.Done)
	}
	before, err := im.intake.Imported(ctx, b.Export)
	if err == nil && before.Done != b.Begin {
		err = fmt.Errorf("%w: to message %d, not %d", ErrMovedOn, before.Done, b.Begin)
	}
	return err
}

// Add takes in a message: the entry that it was, and its content. Errors:
// ErrUnfit, with which the others can go on; any other ends the import.
func (im *Import) Add(ctx context.Context, e queue.Entry, content io.Reader) error {
	if err := im.intake.Room(e.Size); err != nil {
		return err
	}
	draft, err := im.intake.Store.Create(ctx)
	if err != nil {
		return storeError(err)
	}
	if err := im.add(ctx, e, draft, content); err != nil {
		draft.Discard()
		return err
	}
	return nil
}

func (im *Import) add(ctx context.Context, e queue.Entry, draft queue.Draft, content io.Reader) error {
	law := newlineLaw{to: draft}
	if _, err := io.Copy(&law, io.LimitReader(content, e.Size+1)); err != nil {
		return storeError(err)
	}
	if err := law.check(e.Size); err != nil {
		return err
	}
	was, now := e.ID, im.intake.Clock.Now()
	if _, twice := im.Imported[was]; twice {
		return fmt.Errorf("%w: message %s stands twice in the batch", ErrUnfit, was)
	}
	e.ID, e.Body = im.intake.IDs.New(now), ""
	if e.Message == was {
		e.Message = e.ID
	}
	one := queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: draft}}}
	if err := one.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	header := headerOf(draft)
	id, _ := header.First("Message-ID")
	accepted := im.intake.acceptedFact(&e, strings.TrimSpace(id), draft.Size())
	accepted.Time, accepted.About, accepted.Actor, accepted.Text = now, was, im.batch.Actor, "imported"
	if by := im.unsigned(&e, draft, header); by != "" {
		accepted.Text += "; it has no signature, and none is made for " + by
	}
	im.group.Submissions = append(im.group.Submissions, one.Submissions...)
	im.group.Facts = append(append(im.group.Facts, accepted), im.heldFacts(&e, now)...)
	im.Imported[was] = e.ID
	return ctx.Err()
}

// headerOf reads the header of a content as far as it can be read.
func headerOf(content queue.Draft) *message.Header {
	header, _ := message.ReadHeader(bufio.NewReader(io.NewSectionReader(content, 0, content.Size())), message.Limits{}) // what it has read before an error is enough
	return header
}

// unsigned returns the domain that would have signed a message, had it come in here, if it has no
// signature (RFC 6376 3.5); else "". It is left as it is: the queue that it was in has accepted it so.
func (im *Import) unsigned(e *queue.Entry, content queue.Draft, header *message.Header) string {
	if header.Has("DKIM-Signature") {
		return ""
	}
	by, err := im.intake.signer(&e.Origin, content, e.Envelope.From)
	if err != nil { // a key that cannot be used is told of where something is signed
		return ""
	}
	return by
}

// heldFacts tell which recipients of an imported entry are held.
func (im *Import) heldFacts(e *queue.Entry, now time.Time) []mail.Fact {
	facts := heldFacts(e)
	for i := range facts {
		f := &facts[i]
		f.Time, f.Actor = now, im.batch.Actor
		if f.Text != "" {
			f.Text = ": " + f.Text
		}
		f.Text = "imported" + f.Text
	}
	return facts
}

// heldFacts tell which recipients are held, a fact for each reason; the text is
// why.
func heldFacts(e *queue.Entry) []mail.Fact {
	var facts []mail.Fact
	for i := range e.Deliveries {
		for _, r := range e.Deliveries[i].Recipients {
			if r.State != mail.Held {
				continue
			}
			at := slices.IndexFunc(facts, func(f mail.Fact) bool { return f.Hold == r.Hold && f.Text == r.Why })
			if at < 0 {
				at = len(facts)
				facts = append(facts, mail.Fact{Time: e.Accepted, Reason: mail.ReasonHeld, Message: e.ID, Hold: r.Hold, Text: r.Why})
			}
			facts[at].To = append(facts[at].To, r.Address.String())
		}
	}
	return facts
}

// Commit makes all that was added durable, together with how far the export
// is imported now: a batch is never imported twice. failed are messages of it
// that were not added, beside those that the batch names.
func (im *Import) Commit(ctx context.Context, failed []mail.ID) (Extent, error) {
	after := im.batch.After
	after.Failed = slices.Concat(after.Failed, failed)
	value, err := json.Marshal(after)
	if err != nil {
		return after, err
	}
	im.group.Marks = []queue.Mark{{
		Kind: markImport, Key: string(im.batch.Export), Value: string(value), At: im.intake.Clock.Now(), Actor: im.batch.Actor,
	}}
	if err := im.intake.Store.Accept(ctx, im.group); err != nil {
		if errors.Is(err, queue.ErrUnknown) { // else the drafts are still its own
			im.group.Submissions = nil
		}
		return after, storeError(err)
	}
	im.group.Submissions = nil
	im.intake.Logger.Info("imported", "export", im.batch.Export, "messages", len(im.Imported), "done", after.Done, "actor", im.batch.Actor)
	return after, nil
}

// Discard ends the import. After Commit it frees what is still held.
func (im *Import) Discard() {
	if im.over {
		return
	}
	im.over = true
	for _, s := range im.group.Submissions {
		s.Draft.Discard()
	}
	<-im.intake.importing
}

// newlineLaw passes content on, and sees whether it keeps to the law of CR and
// LF: neither stands alone (RFC 5321 2.3.8), and there is no NUL (RFC 5322 2.2).
type newlineLaw struct {
	to    io.Writer
	size  int64
	bare  int64 // offset behind the first that stands alone, or NUL; 0: none
	after bool  // the last octet was CR
}

// Write passes on p.
func (l *newlineLaw) Write(p []byte) (int, error) {
	for i, c := range p {
		if l.bare == 0 && ((c == '\n') != l.after || c == 0) {
			l.bare = l.size + int64(i) + 1
		}
		l.after = c == '\r'
	}
	n, err := l.to.Write(p)
	l.size += int64(n)
	return n, err
}

// check fails when the content is not what it should be.
func (l *newlineLaw) check(size int64) error {
	switch {
	case l.size != size:
		return fmt.Errorf("%w: its content has %d octets; the entry says %d", ErrUnfit, l.size, size)
	case l.bare > 0:
		return fmt.Errorf("%w: at offset %d of its content is NUL, or a CR or LF stands alone; lines end with CRLF", ErrUnfit, l.bare-1)
	case l.after:
		return fmt.Errorf("%w: its content ends with a CR that stands alone; lines end with CRLF", ErrUnfit)
	}
	return nil
}
