package intake

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/queue"
)

// written is a content of a message: that which came, or one with another
// header.
type written struct {
	edits   []policy.Edit
	draft   queue.Draft
	body    mail.ID // the entry that brings it
	summary message.Summary
}

// maxContents bounds into how many contents policy may turn one message.
const maxContents = 100

var errTooMany = mail.Refuse(452, "4.5.3", "Too many recipients that need the message each in another form, send it to fewer at a time")

// content returns the content with some edits: for an entry, or shared with an
// earlier one.
func (c *composer) content(ctx context.Context, entry mail.ID, edits []policy.Edit) (*written, error) {
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
	if w.summary, err = edited(draft, c.taken.draft, w.edits); err != nil {
		draft.Discard()
		return err
	}
	w.draft = draft
	return nil
}

// edited copies a message with edits of its header applied.
func edited(dst io.Writer, src queue.Draft, edits []policy.Edit) (message.Summary, error) {
	body := bufio.NewReaderSize(io.NewSectionReader(src, 0, src.Size()), 32<<10)
	header, err := message.ReadHeader(body, message.Limits{})
	if err != nil {
		return message.Summary{}, err
	}
	for i := range edits {
		if err := apply(header, &edits[i]); err != nil {
			return message.Summary{}, err
		}
	}
	// What came in was counted when it was taken: no more is asked of it here.
	again := message.Rewrite{MaxReceived: header.Len() + 1}
	return again.Copy(dst, io.MultiReader(bytes.NewReader(header.AppendTo(nil)), body))
}

// apply does one edit. A value that is none of a header field is a fault of the
// configuration, and no sender's.
func apply(h *message.Header, e *policy.Edit) error {
	if e.Op != policy.AddField {
		h.Delete(e.Name)
	}
	if e.Op == policy.RemoveFields {
		return nil
	}
	field, err := message.ParseField(e.Name + ": " + e.Value + "\r\n")
	if err != nil {
		return errNowhere.Because(fmt.Errorf("field %q with the value %q: %w", e.Name, e.Value, err))
	}
	h.Prepend(field)
	return nil
}
