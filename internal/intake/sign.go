package intake

import (
	"context"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/report"
)

// This file has what is stored signed. It is the last thing that is done to a content: what
// is in the queue leaves as it is.

// signer returns the domain that signs a content with a sender; "" if none does.
func (in *Intake) signer(o *mail.Origin, content queue.Draft, sender mail.Address) (string, error) {
	if in.Signer == nil || in.Ours != nil && !in.Ours(o) {
		return "", nil
	}
	return in.Signer.By(content, content.Size(), sender)
}

// sign puts a signed content in the place of one that is not, whose draft is as it was.
func (in *Intake) sign(ctx context.Context, w *written) error {
	draft, eightBit, err := report.Sign(ctx, in.Store, in.Signer, w.draft, w.by)
	if err != nil {
		return err
	}
	w.draft = draft
	w.summary.Size, w.summary.EightBit = draft.Size(), eightBit
	return nil
}

// signTaken has a message signed that is stored as it comes. When it fails, its draft is
// still there.
func (in *Intake) signTaken(ctx context.Context, m *Message, t *taken) error {
	by, err := in.signer(&m.Origin, t.draft, m.Envelope.From)
	if err != nil || by == "" {
		return err
	}
	if err := in.Room(t.draft.Size()); err != nil {
		return errNoRoom.Because(err)
	}
	w := written{by: by, draft: t.draft, summary: t.summary}
	if err := in.sign(ctx, &w); err != nil {
		return err
	}
	t.draft.Discard()
	t.draft, t.summary = w.draft, w.summary
	return nil
}
