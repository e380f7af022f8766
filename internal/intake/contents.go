package intake

import (
	"context"
	"io"
	"slices"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
)

// written is a content of a message: that which came, or one with another
// header.
type written struct {
	edits   []message.Edit
	draft   queue.Draft
	body    mail.ID // the entry that brings it
	summary message.Summary
}

// maxContents bounds into how many contents policy may turn one message.
const maxContents = 100

var errTooMany = mail.Refuse(452, "4.5.3", "Too many recipients that need the message each in another form, send it to fewer at a time")

// content returns the content with some edits: for an entry, or shared with an
// earlier one.
func (c *composer) content(ctx context.Context, entry mail.ID, edits []message.Edit) (*written, error) {
	at := slices.IndexFunc(c.contents, func(w written) bool { return slices.Equal(w.edits, edits) })
	if at >= 0 {
		return &c.contents[at], nil
	}
	if len(c.contents) == maxContents {
		return nil, errTooMany
	}
	w := written{edits: edits, draft: c.taken.draft, body: entry, summary: c.taken.summary}
	if len(edits) > 0 {
		if err := c.rewrite(ctx, &w); err != nil {
			return nil, err
		}
	}
	c.contents = append(c.contents, w)
	return &c.contents[len(c.contents)-1], nil
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
