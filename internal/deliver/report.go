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

// report writes the report of one action, and of failures the copy. They enter
// the queue with the settlement that they report.
func (d *Deliverer) report(ctx context.Context, t *transaction, v *verdict, action dsn.Action, now time.Time) ([]queue.Submission, error) {
	content, err := d.Store.Body(ctx, t.entry.Body)
	if err != nil {
		return nil, fmt.Errorf("cannot open the content: %w", err)
	}
	defer content.Close()
	report := dsn.Report{
		ID:         d.IDs.New(now),
		Host:       t.settings.Hostname,
		Now:        now,
		About:      t.entry.ID,
		Envelope:   t.entry.Envelope,
		Origin:     t.entry.Origin,
		Accepted:   t.entry.Accepted,
		RetryUntil: v.until,
		Content:    content,
		Size:       content.Size(),
	}
	for _, i := range v.told[action] {
		report.Recipients = append(report.Recipients, dsn.Recipient{Recipient: t.recipients[i], Outcome: v.outcomes[i]})
	}
	to, _ := t.settings.reportTo(t.entry.Envelope.From)
	original, err := d.compose(ctx, &report, to)
	if err != nil {
		return nil, err
	}
	copyTo := t.settings.CopyFailures
	if action != dsn.Failed || copyTo.IsNull() || copyTo == to {
		return []queue.Submission{original}, nil
	}
	report.ID, report.CopyTo = d.IDs.New(now), copyTo
	copied, err := d.compose(ctx, &report, report.CopyTo)
	if err != nil {
		original.Draft.Discard()
		return nil, err
	}
	return []queue.Submission{original, copied}, nil
}

// compose writes a report into an entry of its own: from the null sender, and
// of its fate nobody wants to hear (RFC 3461 6.1).
func (d *Deliverer) compose(ctx context.Context, report *dsn.Report, to mail.Address) (queue.Submission, error) {
	draft, err := d.Store.Create(ctx)
	if err != nil {
		return queue.Submission{}, err
	}
	envelope, err := report.Compose(draft)
	if err != nil {
		draft.Discard()
		return queue.Submission{}, err
	}
	recipient := queue.Recipient{Recipient: mail.Recipient{Address: to, Notify: mail.NotifyNever}, State: mail.Queued}
	return queue.Submission{
		Draft: draft,
		Entry: queue.Entry{
			ID:         report.ID,
			Message:    report.ID,
			Accepted:   report.Now,
			Envelope:   envelope,
			Origin:     mail.Origin{Listener: reporter},
			Deliveries: queue.Deliveries([]queue.Recipient{recipient}, report.Now),
		},
	}, nil
}
