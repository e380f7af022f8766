package deliver

import (
	"context"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// This file asks the routes again. What they chose when a message was accepted holds
// until it is attempted: by then the configuration may be another. Recipients that the
// routes send elsewhere now move to the delivery that goes there, and their leases end
// as if they had not been claimed.

// standing is how long the choice that moved a recipient stands under the same settings.
// It is not asked for anew before, or routes that change their mind with each answer
// would keep a message from ever being attempted.
const standing = time.Minute

// asking is a look at the routes under some settings, at a time.
type asking struct {
	*Settings
	now   time.Time
	since time.Time // the settings are in force, on the clock as it is now
}

// stands reports whether the choice that moved a recipient still does.
func (a asking) stands(moved time.Time) bool {
	age := a.now.Sub(moved)
	return moved.After(a.since) && age >= 0 && age < standing
}

// chooseAgain asks for the routes of all recipients. The leases of which some go elsewhere now
// are over; it returns the others.
func (d *Deliverer) chooseAgain(ctx context.Context, s *Settings, leases []queue.Lease) []queue.Lease {
	if s.Choose == nil {
		return leases
	}
	now := d.Clock.Now()
	a := asking{s, now, d.steps.today(s.since, now)}
	var moves []queue.Move
	stay := make([]queue.Lease, 0, len(leases))
	for i := range leases {
		if to, elsewhere := a.chosen(&leases[i]); elsewhere {
			moves = append(moves, queue.Move{Lease: leases[i], To: to})
		} else {
			stay = append(stay, leases[i])
		}
	}
	if len(moves) == 0 {
		return leases
	}
	d.Logger.Debug("the routes send recipients elsewhere", "message", leases[0].Entry.ID, "deliveries", len(moves))
	d.Metrics.unattempted.Add(1, forRoute)
	if err := d.Store.Regroup(context.WithoutCancel(ctx), moves); err != nil {
		d.fail("cannot regroup", leases[0].Entry.ID, err)
	}
	return stay
}

// chosen returns where the recipients of a lease go, and whether that is elsewhere for
// one of them.
func (a asking) chosen(l *queue.Lease) (to []mail.Destination, elsewhere bool) {
	delivery := l.Delivery()
	at := delivery.Destination
	to = make([]mail.Destination, len(delivery.Recipients))
	for i := range delivery.Recipients {
		r := &delivery.Recipients[i]
		to[i] = at
		// What a person has chosen meanwhile stands for as long as no route forbids it.
		if a.stands(r.Moved) && !at.Chosen(r.Address) {
			continue
		}
		to[i] = a.Choose(l.Entry.Routing(r.Address), at)
		elsewhere = elsewhere || to[i] != at
	}
	return to, elsewhere
}

// reconsider lets mail that waits at a site which an operator has suspended look for its
// way once more: other settings may have another for it. mu is held.
func (s *sites) reconsider() {
	for d, x := range s.siteOf {
		if !x.suspended {
			continue
		}
		delete(s.siteOf, d)
		if s.waiters[d] != nil {
			s.transfer(d, s.of(d))
		}
	}
}
