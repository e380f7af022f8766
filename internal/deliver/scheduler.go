package deliver

import (
	"context"
	"errors"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// agendaSize is how many destinations the scheduler looks at in one round.
const agendaSize = 100

// breather is the wait after the store failed to say what is due.
const breather = time.Second

// schedule claims what is due and starts its transactions, until ctx ends.
// The transactions themselves run under attempts.
func (d *Deliverer) schedule(ctx, attempts context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.Store.Wake():
		case <-d.wake:
		case <-timer.C:
		}
		wait, err := d.round(ctx, attempts)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, queue.ErrClosed) {
				return
			}
			d.Logger.Error("cannot read what is due", "error", err)
			if errors.Is(err, queue.ErrUnknown) {
				d.end(err)
				return
			}
			wait = breather
		}
		timer.Reset(wait)
	}
}

// round goes once over what is due, and returns how long there will be
// nothing more. While slots or sites are full it is woken by the transaction
// that frees one.
func (d *Deliverer) round(ctx, attempts context.Context) (time.Duration, error) {
	for {
		now := d.Clock.Now()
		agenda, err := d.Store.Due(ctx, now, agendaSize)
		if err != nil {
			return 0, err
		}
		started := 0
		limit, more := paced(d.MaxTransactions, d.started, now)
		for _, due := range agenda.Destinations {
			n, err := d.claim(ctx, attempts, due, claiming{now, limit - len(d.slots)})
			if err != nil {
				return 0, err
			}
			started += n
		}
		if started == 0 {
			return untilNext(agenda, now, more), nil
		}
	}
}

// untilNext is the time to the next round when nothing wakes the scheduler
// before. The queue wakes it for new mail; an hour only bounds the harm of a
// clock that steps. What is due already waits for a slot, or for the time at
// which there are more of them.
func untilNext(agenda queue.Agenda, now, more time.Time) time.Duration {
	wait := time.Hour
	if !agenda.Next.IsZero() {
		wait = min(wait, agenda.Next.Sub(now))
	}
	if !more.IsZero() && len(agenda.Destinations) > 0 {
		wait = min(wait, more.Sub(now))
	}
	return max(0, wait)
}

// claiming is when a claim is made, and how many transactions it may start.
type claiming struct {
	now  time.Time
	room int
}

// claim leases deliveries of one destination, as many as there is room for,
// and starts their transactions.
func (d *Deliverer) claim(ctx, attempts context.Context, due queue.Due, c claiming) (started int, err error) {
	n := min(due.Count, d.sites.room(due.Destination), c.room)
	if n <= 0 {
		return 0, nil
	}
	leases, err := d.Store.Claim(ctx, due.Destination, n, c.now, c.now.Add(lease))
	if err != nil {
		return 0, err
	}
	for _, group := range byEntry(leases) {
		d.slots <- struct{}{} // never blocks: only the scheduler fills slots, and it counted
		place := d.sites.enter(due.Destination)
		d.running.Go(func() {
			d.run(attempts, group, place)
			place.leave()
			<-d.slots
			d.free()
		})
	}
	return len(leases), nil
}

// free tells the scheduler that there is room again.
func (d *Deliverer) free() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// byEntry splits claimed leases into those of one entry each. A claim brings
// the leases of an entry one after the other.
func byEntry(leases []queue.Lease) [][]queue.Lease {
	var groups [][]queue.Lease
	var last mail.ID
	for i := range leases {
		if id := leases[i].Entry.ID; i == 0 || id != last {
			groups = append(groups, nil)
			last = id
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], leases[i])
	}
	return groups
}
