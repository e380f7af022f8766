// Package report makes an entry of the queue of a report (package dsn), for those that
// write some: delivery, of what became of an attempt, and acceptance, of what ended
// there. A report goes out like other mail, from the null sender, and of its fate
// nobody wants to hear (RFC 3461 6.1).
//
// It decides neither whether a report is due nor who is told.
package report

import (
	"context"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Listener is that in the origin of what the server writes itself.
const Listener = "postern"

// Store takes the content of a report.
type Store interface {
	Create(ctx context.Context) (queue.Draft, error)
}

// Write writes a report to some addresses into an entry of its own. It fails with the
// errors of the store, and as Compose does; then nothing is left of it.
func Write(ctx context.Context, in Store, r *dsn.Report, to []mail.Address) (queue.Submission, error) {
	draft, err := in.Create(ctx)
	if err != nil {
		return queue.Submission{}, err
	}
	envelope, err := r.Compose(draft)
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
