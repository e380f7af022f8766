package deliver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/internal/dsn"
	"postern/internal/queue"
	"postern/internal/report"
)

// report writes the report of one action, and of failures the copy. They enter
// the queue with the settlement that they report.
func (d *Deliverer) report(ctx context.Context, t *transaction, v *verdict, action dsn.Action, now time.Time) ([]queue.Submission, error) {
	content, err := d.Store.Body(ctx, t.entry.Body)
	if err != nil {
		return nil, fmt.Errorf("cannot open the content: %w", err)
	}
	defer content.Close()
	company := t.settings.Company(t.entry.Envelope.From)
	about := dsn.Report{
		ID:         d.IDs.New(now),
		Host:       company.Hostname,
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
		about.Recipients = append(about.Recipients, dsn.Recipient{Recipient: t.recipients[i], Outcome: v.outcomes[i]})
	}
	to := t.settings.reportTo(t.entry.Envelope.From)
	writer := report.Writer{Store: d.Store, Signer: t.settings.Signer}
	original, err := writer.Write(ctx, &about, to)
	if err != nil {
		return nil, err
	}
	if action != dsn.Failed || !t.settings.CopyFailures {
		return []queue.Submission{original}, nil
	}
	copyTo := t.settings.reportTo(company.Postmaster)
	if len(copyTo) == 0 || slices.Equal(copyTo, to) {
		return []queue.Submission{original}, nil
	}
	about.ID, about.CopyTo = d.IDs.New(now), company.Postmaster
	copied, err := writer.Write(ctx, &about, copyTo)
	if err != nil {
		original.Draft.Discard()
		return nil, err
	}
	return []queue.Submission{original, copied}, nil
}
