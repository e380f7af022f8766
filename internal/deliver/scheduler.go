package deliver

import (
	"context"
	"errors"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// agendaSize is how many destinations the scheduler asks for at a time.
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
		d.turned.end()
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

// round admits what is due and starts what there is room for, until there is
// no more of either, and returns how long that will be so. While slots or sites
// are full it is woken by the transaction that frees one.
func (d *Deliverer) round(ctx, attempts context.Context) (time.Duration, error) {
	d.tellSteps()
	for {
		d.turned.step()
		now := d.Clock.Now()
		back := d.bringMore(now)
		next, err := d.admit(ctx, now)
		if err != nil {
			return 0, err
		}
		turn := d.sites.elapse(now)
		limit, more := paced(d.settings.Load().MaxTransactions, d.steps.today(d.started, now), now)
		started, err := d.begin(ctx, attempts, limit)
		if err != nil {
			return 0, err
		}
		if started == 0 {
			if !d.sites.waits() {
				more = time.Time{}
			}
			return untilNext(now, next, more, turn, back), nil
		}
	}
}

// admit lets every destination that is due wait for its turn, and returns when
// the next is due.
func (d *Deliverer) admit(ctx context.Context, now time.Time) (next time.Time, err error) {
	for {
		d.turned.step()
		agenda, err := d.Store.Due(ctx, now, agendaSize)
		if err != nil {
			return time.Time{}, err
		}
		for _, due := range agenda.Destinations {
			d.sites.admit(due)
			d.Store.Park(due.Destination, true, due.Class)
		}
		if len(agenda.Destinations) < agendaSize {
			return agenda.Next, nil
		}
	}
}

// longestWait bounds the harm of a clock that is stepped: it is noticed then.
const longestWait = time.Minute

// untilNext is the time to the next round when nothing wakes the scheduler
// before: something is due, or there are more slots for what is. The queue
// wakes it for new mail.
func untilNext(now time.Time, times ...time.Time) time.Duration {
	wait := longestWait
	for _, t := range times {
		if !t.IsZero() {
			wait = min(wait, t.Sub(now))
		}
	}
	return max(0, wait)
}

// begin starts transactions, in turn, while there is room. It looks at the clock
// each time: by a time from before the clock was set back, all leases would have
// ended.
func (d *Deliverer) begin(ctx, attempts context.Context, limit int) (started int, err error) {
	for d.Store.Leased() < queue.ActiveWindow { // else a claim brings nothing, though mail is due
		d.turned.step()
		w, n := d.sites.next(limit, limit-int(d.active.Load()))
		if w == nil {
			break
		}
		now := d.Clock.Now()
		leases, err := d.Store.Claim(ctx, w.destination, n, now, now.Add(lease))
		if err != nil {
			return started, err
		}
		for _, group := range byEntry(leases) {
			d.start(attempts, group, w.destination) // while w waits, which keeps its site known
			started++
		}
		d.leave(w, n, leases)
	}
	return started, nil
}

// leave ends the turn of a destination. One of which there was less to claim
// than there was room for has nothing due any more.
func (d *Deliverer) leave(w *waiter, n int, leases []queue.Lease) {
	for i := range leases {
		if leases[i].Delivery().Destination == w.destination {
			n--
		}
	}
	if n == 0 {
		class := d.Store.Backlog(w.destination).Class
		d.sites.yield(w, class)
		d.Store.Park(w.destination, true, class)
		return
	}
	d.sites.dismiss(w)
	d.Store.Park(w.destination, false, 0)
}

// start runs the transactions of one entry.
func (d *Deliverer) start(attempts context.Context, leases []queue.Lease, to mail.Destination) {
	d.active.Add(1) // by the scheduler alone, so that there are never too many
	place := d.sites.enter(to, leases[0].Entry.Class)
	d.Metrics.transactions.Add(1)
	d.running.Go(func() {
		defer d.Metrics.transactions.Add(-1)
		d.run(attempts, leases, place)
		place.leave()
		d.active.Add(-1)
		d.free()
	})
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
