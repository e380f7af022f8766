package deliver

import (
	"context"
	"fmt"
	"time"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/queue"
)

// reporter is the listener in the origin of what the server writes itself.
const reporter = "postern"

// report writes the report about the recipients that have failed. It enters
// the queue with the settlement that it reports.
func (d *Deliverer) report(ctx context.Context, t *transaction, v *verdict, now time.Time) (queue.Submission, error) {
	to, _ := d.reportTo(t.entry.Envelope.From)
	content, err := d.Store.Body(ctx, t.entry.Body)
	if err != nil {
		return queue.Submission{}, fmt.Errorf("cannot open the content: %w", err)
	}
	defer content.Close()
	report := dsn.Report{
		ID:       d.IDs.New(now),
		Host:     d.Hostname,
		Now:      now,
		About:    t.entry.ID,
		Envelope: t.entry.Envelope,
		Origin:   t.entry.Origin,
		Accepted: t.entry.Accepted,
		Content:  content,
		Size:     content.Size(),
	}
	for _, i := range v.failed {
		report.Recipients = append(report.Recipients, dsn.Recipient{Recipient: t.recipients[i], Outcome: v.outcomes[i]})
	}
	draft, err := d.Store.Create(ctx)
	if err != nil {
		return queue.Submission{}, err
	}
	envelope, err := report.Compose(draft)
	if err != nil {
		draft.Discard()
		return queue.Submission{}, err
	}
	recipient := queue.Recipient{Recipient: mail.Recipient{Address: to}, State: mail.Queued}
	return queue.Submission{
		Draft: draft,
		Entry: queue.Entry{
			ID:         report.ID,
			Message:    report.ID,
			Accepted:   now,
			Envelope:   envelope,
			Origin:     mail.Origin{Listener: reporter},
			Deliveries: queue.Deliveries([]queue.Recipient{recipient}, now),
		},
	}, nil
}
