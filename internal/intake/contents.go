package intake

import (
	"context"
	"io"
	"slices"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
)

// written is a content of a message: that which came, or one with another header, or with
// a signature.
type written struct {
	edits   []message.Edit
	by      string // the domain that has signed it; "" for none
	draft   queue.Draft
	body    mail.ID // the entry that brings it
	summary message.Summary
}

// maxContents bounds into how many contents policy may turn one message.
const maxContents = 100

var errTooMany = mail.Refuse(452, "4.5.3", "Too many recipients that need the message each in another form, send it to fewer at a time")

// content returns the content of an entry with some edits: its own, or shared with an
// earlier one.
func (c *composer) content(ctx context.Context, e *queue.Entry, edits []message.Edit) (*written, error) {
	w, err := c.unsigned(ctx, edits)
	if err != nil {
		return nil, err
	}
	if w.by, err = c.in.signer(&c.message.Origin, w.draft, e.Envelope.From); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(c.contents, func(o written) bool { return o.by == w.by && slices.Equal(o.edits, edits) })
	if at >= 0 {
		return &c.contents[at], nil
	}
	if len(c.contents) == maxContents {
		return nil, errTooMany
	}
	w.body = e.ID
	if err := c.sign(ctx, &w); err != nil {
		return nil, err
	}
	c.contents = append(c.contents, w)
	return &c.contents[len(c.contents)-1], nil
}

// unsigned returns the message with some edits.
func (c *composer) unsigned(ctx context.Context, edits []message.Edit) (written, error) {
	if len(edits) == 0 {
		return written{draft: c.taken.draft, summary: c.taken.summary}, nil
	}
	at := slices.IndexFunc(c.bases, func(w written) bool { return slices.Equal(w.edits, edits) })
	if at >= 0 {
		return c.bases[at], nil
	}
	if len(c.bases) == maxContents {
		return written{}, errTooMany
	}
	w := written{edits: edits}
	if err := c.rewrite(ctx, &w); err != nil {
		return w, err
	}
	c.bases = append(c.bases, w)
	return w, nil
}

// sign has a content signed, if somebody signs it.
func (c *composer) sign(ctx context.Context, w *written) error {
	if w.by == "" {
		return nil
	}
	c.rewrote += w.draft.Size()
	if err := c.in.Room(c.rewrote); err != nil {
		return errNoRoom.Because(err)
	}
	return c.in.sign(ctx, w)
}

// rewrite writes the message with another header into a draft of its own.
func (c *composer) rewrite(ctx context.Context, w *written) error {
	c.rewrote += c.taken.draft.Size()
	if err := c.in.Room(c.rewrote); err != nil {
		return errNoRoom.Because(err)
	}
	draft, err := c.in.Store.Create(ctx)
	if err != nil {
		return err
	}
	if w.summary, err = c.edited(draft, w.edits); err != nil {
		draft.Discard()
		return err
	}
	w.draft = draft
	return nil
}

// edited copies a message with edits of its header.
func (c *composer) edited(dst io.Writer, edits []message.Edit) (message.Summary, error) {
	src := c.taken.draft
	again := message.Rewrite{
		Edits: edits,
		UTF8:  c.message.Envelope.UTF8,
		// What came in was counted when it was taken, and we were added to it.
		MaxReceived: c.taken.summary.Hops + 1,
	}
	return again.Copy(dst, io.NewSectionReader(src, 0, src.Size()))
}
