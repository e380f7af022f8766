package deliver

import (
	"context"
	"slices"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// This file asks the routes again. What they chose when a message was accepted holds
// until it is attempted: by then the configuration may be another. Recipients that the
// routes send elsewhere now move to the delivery that goes there, and their leases end
// as if they had not been claimed.

// standing is how long the choice that moved a recipient stands while the settings, and what the
// routes ask, are the same. It is not asked for anew before, or routes that change their mind with
// each answer would keep a message from ever being attempted.
const standing = time.Minute

// noted is a count of changes, and when it was seen to be another.
type noted struct {
	mu      sync.Mutex
	counted bool
	count   uint64
	at      time.Time // zero: never
}

// look compares with the count as it is now.
func (n *noted) look(count uint64, now time.Time) (at time.Time, changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if changed = n.counted && n.count != count; changed {
		n.at = now
	}
	n.counted, n.count = true, count
	return n.at, changed
}

// asking is a look at the routes under some settings, at a time.
type asking struct {
	*Settings
	now time.Time
	// since is when the settings came in force, and changed when what the routes ask was seen
	// to be another, zero for never; on the clock as it is now.
	since, changed time.Time
}

// ask is a look at the routes now. That what they ask has changed is noted before they are asked, so
// that a change meanwhile is seen by the next.
func (d *Deliverer) ask(s *Settings) asking {
	now := d.Clock.Now()
	changed, _ := d.chosen.look(s.ChoiceChanges(), now)
	if !changed.IsZero() {
		changed = d.steps.today(changed, now)
	}
	return asking{s, now, d.steps.today(s.since, now), changed}
}

// stands reports whether the choice that moved a recipient still does.
func (a asking) stands(moved time.Time) bool {
	age := a.now.Sub(moved)
	return moved.After(a.since) && !moved.Before(a.changed) && age >= 0 && age < standing
}

// chooseAgain asks for the routes of all recipients. The leases of which some go elsewhere now
// are over; it returns the others.
func (d *Deliverer) chooseAgain(ctx context.Context, s *Settings, leases []queue.Lease) []queue.Lease {
	if s.Choose == nil {
		return leases
	}
	a := d.ask(s)
	var moves []queue.Move
	var stay []queue.Lease
	for i := range leases {
		to := a.elsewhere(&leases[i])
		switch {
		case to == nil && moves != nil:
			stay = append(stay, leases[i])
		case to != nil && moves == nil:
			stay = slices.Clone(leases[:i])
			fallthrough
		case to != nil:
			moves = append(moves, queue.Move{Lease: leases[i], To: to})
		}
	}
	if moves == nil {
		return leases
	}
	d.Logger.Debug("the routes send recipients elsewhere", "message", leases[0].Entry.ID, "deliveries", len(moves))
	d.Metrics.unattempted.Add(1, forRoute)
	if err := d.Store.Regroup(context.WithoutCancel(ctx), moves); err != nil {
		d.fail("cannot regroup", leases[0].Entry.ID, err)
	}
	return stay
}

// elsewhere returns where the recipients of a lease go, if that is elsewhere for one of them; else
// nil.
func (a asking) elsewhere(l *queue.Lease) (to []mail.Destination) {
	delivery := l.Delivery()
	at := delivery.Destination
	for i := range delivery.Recipients {
		next := a.next(&l.Entry, &delivery.Recipients[i], at)
		if to == nil && next != at {
			to = slices.Repeat([]mail.Destination{at}, len(delivery.Recipients))
		}
		if to != nil {
			to[i] = next
		}
	}
	return to
}

// next returns where a recipient goes. What a person has chosen meanwhile stands for as long as no
// route forbids it.
func (a asking) next(e *queue.Entry, r *queue.Recipient, at mail.Destination) mail.Destination {
	if a.stands(r.Moved) && !at.Chosen(r.Address) {
		return at
	}
	return a.Choose(e.Routing(r.Address), at)
}

// RoutesLooked says that what the routes ask has been looked at, and may be other than it was: mail
// that waits at suspended sites looks for its way again then. It is called every few seconds.
func (d *Deliverer) RoutesLooked() {
	_, changed := d.looked.look(d.settings.Load().ChoiceChanges(), d.Clock.Now())
	if changed {
		d.sites.routesChanged()
		d.free()
	}
}

// reconsider lets mail that waits at a site which an operator has suspended look for its
// way once more: there may be another for it. mu is held.
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

func (s *sites) routesChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconsider()
}
