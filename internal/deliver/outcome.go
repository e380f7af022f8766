package deliver

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/internal/crashpoint"
	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/report"
)

// This file decides what an attempt becomes. The rules, in order:
//
//   - a permanent failure bounces;
//   - a temporary one is deferred to the next time of the schedule, or
//     expires when the schedule has none;
//   - a recipient that bounces or expires with nobody to tell (null sender) is
//     dead: the message is kept as a dead letter;
//   - the sender is told, as far as NOTIFY asks for it (RFC 3461 4.1), of a
//     recipient that bounces or expires, of one that still waits when it is
//     late, once, and of one that was relayed. Of one that was delivered to a
//     server which knows DSN, that server tells (RFC 3461 5.2.1).

// settle decides about every recipient of the transaction and settles its
// leases, with the report that follows, in one commit.
func (d *Deliverer) settle(ctx context.Context, t *transaction, outcomes []mail.Outcome) {
	now := d.Clock.Now()
	verdict := d.judge(t, outcomes, now)
	brought, err := d.aftermath(ctx, t, verdict, now)
	if err != nil {
		// Without its report no failure may become final.
		d.Logger.Error("cannot write a report", "message", t.entry.ID, "error", err)
		verdict.postpone(now, err)
	}
	err = d.Store.Settle(ctx, d.settlements(t, verdict, brought, now))
	if err != nil && !errors.Is(err, queue.ErrFenced) && !errors.Is(err, queue.ErrUnknown) && len(brought.entries) > 0 {
		// It may be the report for which there is no room. What was delivered
		// must be settled all the same, or it is delivered again.
		d.Logger.Error("cannot store a report", "message", t.entry.ID, "error", err)
		brought.discard()
		verdict.postpone(now, err)
		err = d.Store.Settle(ctx, d.settlements(t, verdict, aftermath{}, now))
	}
	switch {
	case errors.Is(err, queue.ErrFenced):
		brought.discard()
		d.Logger.Warn("lease lost before the outcome was settled", "message", t.entry.ID)
	case err != nil:
		d.fail("cannot settle", t.entry.ID, err)
	default:
		crashpoint.Reach(crashpoint.Settled)
		d.Metrics.settled(t, verdict)
		d.tally.count(verdict, len(t.settings.Retry.Waits))
		d.logOutcomes(t, verdict)
	}
}

// verdict is what becomes of the recipients of a transaction.
type verdict struct {
	outcomes []mail.Outcome // final, in order of the recipients
	next     []time.Time    // of those that are deferred, for each lease
	until    time.Time      // then they expire
	// told are the recipients to report, by what the report says of them, dead
	// those that failed with nobody to tell: places in outcomes.
	told map[dsn.Action][]int
	dead []int
}

// judge applies the rules above to each recipient.
func (d *Deliverer) judge(t *transaction, outcomes []mail.Outcome, now time.Time) *verdict {
	schedule, accepted := d.scheduleOf(t, now)
	somebody := len(t.settings.reportTo(t.entry.Envelope.From)) > 0
	late := t.isLate(accepted, now)
	v := &verdict{
		outcomes: outcomes,
		next:     make([]time.Time, len(t.leases)),
		until:    accepted.Add(schedule.Until),
	}
	i, jitter := 0, d.Jitter() // one for all, which come together again
	for l := range t.leases {
		attempt := t.leases[l].Attempt()
		var again bool
		v.next[l], again = schedule.Next(attempt, accepted, now)
		if again {
			v.next[l] = prolonged(v.next[l], now, v.until, jitter)
		}
		if again && len(t.full) > 0 && slices.ContainsFunc(outcomes, gotThrough) {
			v.next[l] = now // the others wait for room alone
		}
		for _, r := range t.leases[l].Delivery().Recipients {
			o := &outcomes[i]
			o.Attempt, o.At = attempt, now
			if o.State == mail.Deferred && !again {
				o.State = mail.Expired
			}
			switch action := dsn.ActionFor(o.State); {
			case action == dsn.Failed && !somebody:
				o.State = mail.Dead
				v.dead = append(v.dead, i)
			case !somebody, !r.Notify.Wants(o.State):
			case action == dsn.Delivered: // the next server tells
			case action == dsn.Delayed && (!late || !r.Warned.IsZero()):
			default:
				v.tell(action, i)
			}
			i++
		}
	}
	return v
}

// scheduleOf returns when a message is tried again, and when it was accepted, by the clock as it is now.
func (d *Deliverer) scheduleOf(t *transaction, now time.Time) (schedule mail.Schedule, accepted time.Time) {
	schedule = t.settings.Retry
	if t.entry.Envelope.From.IsNull() {
		schedule = t.settings.RetryReports
	}
	return schedule, d.steps.today(t.entry.Accepted, now)
}

// isLate reports whether it is time to tell the sender that the message still waits.
func (t *transaction) isLate(accepted, now time.Time) bool {
	return t.settings.DelayWarning > 0 && !now.Before(accepted.Add(t.settings.DelayWarning))
}

// gotThrough reports whether a server has taken a message for a recipient.
func gotThrough(o mail.Outcome) bool { return o.State == mail.Delivered || o.State == mail.Relayed }

// prolonged puts an attempt off by a part of the wait for it, but not to a time
// after the last.
func prolonged(next, now, last time.Time, part float64) time.Time {
	if later := next.Add(time.Duration(part * float64(next.Sub(now)))); later.Before(last) {
		return later
	}
	return next
}

// tell notes a recipient to report. Most transactions have none.
func (v *verdict) tell(action dsn.Action, i int) {
	if v.told == nil {
		v.told = make(map[dsn.Action][]int)
	}
	v.told[action] = append(v.told[action], i)
}

// warned are the recipients of a delay, of n from first on, by their places
// among these.
func (v *verdict) warned(first, n int) []int {
	var places []int
	for _, i := range v.told[dsn.Delayed] {
		if i >= first && i < first+n {
			places = append(places, i-first)
		}
	}
	return places
}

// postponed is the wait after a failure whose report could not be stored.
const postponed = 10 * time.Minute

// postpone says nothing of all that there was to tell, because it could not be
// stored. Failures are taken back: they are deferred. What was passed on cannot
// be taken back; its fact says that the sender was not told.
func (v *verdict) postpone(now time.Time, cause error) {
	for l := range v.next {
		if v.next[l].IsZero() {
			v.next[l] = now.Add(postponed)
		}
	}
	for _, i := range slices.Concat(v.told[dsn.Failed], v.dead) {
		v.outcomes[i].State = mail.Deferred
	}
	for _, places := range v.told {
		v.excuse(places, cause)
	}
	v.excuse(v.dead, cause)
	v.told, v.dead = nil, nil
}

// excuse adds to the outcomes the cause for which nothing was told of them.
func (v *verdict) excuse(places []int, cause error) {
	for _, i := range places {
		o := &v.outcomes[i]
		if o.Cause != "" {
			o.Cause += "; "
		}
		o.Cause += "cannot report: " + cause.Error()
	}
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

// aftermath writes the dead letter and the reports that the verdict asks for,
// one for each action.
func (d *Deliverer) aftermath(ctx context.Context, t *transaction, v *verdict, now time.Time) (aftermath, error) {
	var a aftermath
	if len(v.dead) > 0 {
		entry := d.deadLetter(t, v, now)
		a.entries = append(a.entries, queue.Submission{Entry: entry})
		a.facts = append(a.facts, heldFact(&entry, t.entry.ID))
	}
	for _, action := range dsn.Actions {
		if len(v.told[action]) == 0 {
			continue
		}
		reports, err := d.report(ctx, t, v, action, now)
		if err != nil {
			a.discard()
			return aftermath{}, err
		}
		a.entries = append(a.entries, reports...)
		for i := range reports {
			a.facts = append(a.facts, report.Fact(&reports[i], t.entry.ID, action))
		}
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
			Warned:   v.warned(first, n),
			Facts:    factsOf(t, l, v, first),
		}
		first += n
	}
	settlements[0].New = brought.entries
	settlements[0].Facts = slices.Concat(wireFacts(t, v, now), settlements[0].Facts, brought.facts)
	return settlements
}
