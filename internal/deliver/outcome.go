package deliver

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/queue"
)

// This file decides what a failed attempt becomes. The rules, in order:
//
//   - a permanent failure bounces;
//   - a temporary one is deferred to the next time of the schedule, or
//     expires when the schedule has none;
//   - a recipient that bounces or expires is reported to the sender, unless
//     the sender asked for no report (NOTIFY=NEVER);
//   - when there is nobody to tell (null sender), it is dead: the message is
//     kept as a dead letter.

// settle decides about every recipient of the transaction and settles its
// leases, with the report that follows, in one commit.
func (d *Deliverer) settle(ctx context.Context, t *transaction, outcomes []mail.Outcome) {
	now := d.Clock.Now()
	verdict := d.judge(t, outcomes, now)
	brought, err := d.aftermath(ctx, t, verdict, now)
	if err != nil {
		// Without its report a failure may not become final.
		d.Logger.Error("cannot write the report of a failure", "message", t.entry.ID, "error", err)
		verdict.postpone(now, err)
	}
	err = d.Store.Settle(ctx, d.settlements(t, verdict, brought, now))
	if err != nil && !errors.Is(err, queue.ErrFenced) && !errors.Is(err, queue.ErrUnknown) && len(brought.entries) > 0 {
		// It may be the report for which there is no room. What was delivered
		// must be settled all the same, or it is delivered again.
		d.Logger.Error("cannot store the report of a failure", "message", t.entry.ID, "error", err)
		brought.discard()
		verdict.postpone(now, err)
		err = d.Store.Settle(ctx, d.settlements(t, verdict, aftermath{}, now))
	}
	switch {
	case errors.Is(err, queue.ErrFenced):
		brought.discard()
		d.Logger.Warn("lease lost before the outcome was settled", "message", t.entry.ID)
	case err != nil:
		d.fail("cannot settle", t, err)
	default:
		crashpoint.Reach(crashpoint.Settled)
		d.logOutcomes(t, verdict)
	}
}

// verdict is what becomes of the recipients of a transaction.
type verdict struct {
	outcomes []mail.Outcome // final, in order of the recipients
	next     []time.Time    // of those that are deferred, for each lease
	// failed are the recipients to report, dead those with nobody to tell:
	// places in outcomes.
	failed, dead []int
}

// judge applies the rules above to each recipient.
func (d *Deliverer) judge(t *transaction, outcomes []mail.Outcome, now time.Time) *verdict {
	schedule := d.Retry
	if t.entry.Envelope.From.IsNull() {
		schedule = d.RetryReports
	}
	_, somebody := d.reportTo(t.entry.Envelope.From)
	v := &verdict{outcomes: outcomes, next: make([]time.Time, len(t.leases))}
	i := 0
	for l := range t.leases {
		attempt := t.leases[l].Attempt()
		var again bool
		v.next[l], again = schedule.Next(attempt, t.entry.Accepted, now)
		for range t.leases[l].Delivery().Recipients {
			o := &outcomes[i]
			o.Attempt, o.At = attempt, now
			if o.State == mail.Deferred && !again {
				o.State = mail.Expired
			}
			if o.State == mail.Bounced || o.State == mail.Expired {
				v.fail(i, t.recipients[i], somebody)
			}
			i++
		}
	}
	return v
}

// fail notes a recipient that has failed for good.
func (v *verdict) fail(i int, r mail.Recipient, somebody bool) {
	switch {
	case !somebody:
		v.outcomes[i].State = mail.Dead
		v.dead = append(v.dead, i)
	case r.Notify.Wants(v.outcomes[i].State):
		v.failed = append(v.failed, i)
	}
}

// postponed is the wait after a failure whose report could not be stored.
const postponed = 10 * time.Minute

// postpone takes failures back: they are deferred, because what must follow
// from them could not be stored.
func (v *verdict) postpone(now time.Time, cause error) {
	for l := range v.next {
		if v.next[l].IsZero() {
			v.next[l] = now.Add(postponed)
		}
	}
	for _, i := range append(v.failed, v.dead...) {
		v.outcomes[i].State = mail.Deferred
		v.outcomes[i].Cause = cause.Error()
	}
}

// reportTo returns whom to tell of a failure.
func (d *Deliverer) reportTo(sender mail.Address) (mail.Address, bool) {
	if sender.IsNull() {
		return mail.Address{}, false
	}
	return d.ReportTo(sender)
}

// aftermath is what outcomes bring forth.
type aftermath struct {
	entries []queue.Submission
	facts   []mail.Fact
}

// discard frees what was to be stored and was not.
func (a *aftermath) discard() {
	for i := range a.entries {
		if draft := a.entries[i].Draft; draft != nil {
			draft.Discard()
		}
	}
}

// aftermath writes the report and the dead letter that the verdict asks for.
func (d *Deliverer) aftermath(ctx context.Context, t *transaction, v *verdict, now time.Time) (aftermath, error) {
	var a aftermath
	if len(v.dead) > 0 {
		entry := d.deadLetter(t, v, now)
		a.entries = append(a.entries, queue.Submission{Entry: entry})
		a.facts = append(a.facts, heldFact(&entry, t.entry.ID))
	}
	if len(v.failed) > 0 {
		report, err := d.report(ctx, t, v, now)
		if err != nil {
			return aftermath{}, err
		}
		a.entries = append(a.entries, report)
		a.facts = append(a.facts, reportFact(&report, t.entry.ID))
	}
	return a, nil
}

// settlements splits the verdict over the leases. These are claimed, renewed
// and lost together, so that the first may carry what follows from all.
func (d *Deliverer) settlements(t *transaction, v *verdict, brought aftermath, now time.Time) []queue.Settlement {
	settlements := make([]queue.Settlement, len(t.leases))
	first := 0
	for l := range t.leases {
		n := len(t.leases[l].Delivery().Recipients)
		settlements[l] = queue.Settlement{
			Lease:    t.leases[l],
			Outcomes: v.outcomes[first : first+n],
			Next:     v.next[l],
			Facts:    factsOf(t, l, v, first),
		}
		first += n
	}
	settlements[0].New = brought.entries
	settlements[0].Facts = slices.Concat(wireFacts(t, v, now), settlements[0].Facts, brought.facts)
	return settlements
}
