// Package report makes an entry of the queue of a report (package dsn), for those that
// write some: delivery, of what became of an attempt, and acceptance, of what ended
// there. A report goes out like other mail, from the null sender, and of its fate
// nobody wants to hear (RFC 3461 6.1).
//
// It decides neither whether a report is due nor who is told.
package report

import (
	"context"
	"io"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
)

// Listener is that in the origin of what the server writes itself.
const Listener = "postern"

// Store takes the content of a report.
type Store interface {
	Create(ctx context.Context) (queue.Draft, error)
}

// Signer signs what goes out.
type Signer interface {
	// By returns the domain that signs content with a sender; "" if none does. It fails with
	// a mail.Error when one should and cannot.
	By(content io.ReaderAt, size int64, sender mail.Address) (string, error)
	// Sign signs content by a domain. It fails likewise.
	Sign(content io.ReaderAt, size int64, by string) (*message.Signed, error)
}

// Writer writes reports.
type Writer struct {
	Store Store
	// Signer signs them. Nil: nobody does.
	Signer Signer
}

// Write writes a report to some addresses into an entry of its own. It fails with the
// errors of the store and of the signer, and as Compose does; then nothing is left of it.
func (w Writer) Write(ctx context.Context, r *dsn.Report, to []mail.Address) (queue.Submission, error) {
	draft, err := w.Store.Create(ctx)
	if err != nil {
		return queue.Submission{}, err
	}
	envelope, err := r.Compose(draft)
	if err == nil {
		draft, err = w.sign(ctx, draft, &envelope)
	}
	if err != nil {
		draft.Discard()
		return queue.Submission{}, err
	}
	recipients := make([]queue.Recipient, len(to))
	for i, a := range to {
		recipients[i] = queue.Recipient{Recipient: mail.Recipient{Address: a, Notify: mail.NotifyNever}, State: mail.Queued}
	}
	return queue.Submission{
		Draft: draft,
		Entry: queue.Entry{
			ID:         r.ID,
			Message:    r.ID,
			Accepted:   r.Now,
			Envelope:   envelope,
			Origin:     mail.Origin{Listener: Listener},
			Deliveries: queue.Deliveries(recipients, r.Now),
		},
	}, nil
}

// sign returns a report that is signed in the place of one that is not. When it fails, that
// one is as it was.
func (w Writer) sign(ctx context.Context, draft queue.Draft, e *mail.Envelope) (queue.Draft, error) {
	if w.Signer == nil {
		return draft, nil
	}
	by, err := w.Signer.By(draft, draft.Size(), e.From)
	if err != nil || by == "" {
		return draft, err
	}
	signed, eightBit, err := Sign(ctx, w.Store, w.Signer, draft, by)
	if err != nil {
		return draft, err
	}
	draft.Discard()
	if e.Body = mail.Body7Bit; eightBit {
		e.Body = mail.Body8BitMIME
	}
	return signed, nil
}

// Sign writes content, signed by a domain, into a draft of its own, and says whether that
// has 8-bit octets. It fails with the errors of the store and of the signer.
func Sign(ctx context.Context, in Store, s Signer, content queue.Draft, by string) (draft queue.Draft, eightBit bool, err error) {
	signed, err := s.Sign(content, content.Size(), by)
	if err != nil {
		return nil, false, err
	}
	if draft, err = in.Create(ctx); err != nil {
		return nil, false, err
	}
	if _, err := signed.WriteTo(draft); err != nil {
		draft.Discard()
		return nil, false, err
	}
	return draft, signed.EightBit, nil
}

// Fact is the fact that a report was accepted, about its message.
func Fact(s *queue.Submission, about mail.ID, action dsn.Action) mail.Fact {
	return mail.Fact{
		Time:    s.Entry.Accepted,
		Reason:  mail.ReasonAccepted,
		Message: s.Entry.ID,
		About:   about,
		From:    s.Entry.Envelope.From.Path(),
		To:      s.Entry.Addresses(),
		Size:    s.Draft.Size(),
		Origin:  &s.Entry.Origin,
		Text:    "report: " + string(action),
	}
}
