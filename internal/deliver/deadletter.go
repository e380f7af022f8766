package deliver

import (
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// deadLetter is the entry that keeps a message for the recipients that failed
// with nobody to tell. It shares the content of the message, names what became
// of the last attempt, and is held until a person decides. A route that policy
// chose is still that by which it is to go.
func (d *Deliverer) deadLetter(t *transaction, v *verdict, now time.Time) queue.Entry {
	held := make([]queue.Recipient, len(v.dead))
	for i, place := range v.dead {
		why := v.outcomes[place]
		held[i] = queue.Recipient{Recipient: t.recipients[place], State: mail.Held, Hold: mail.HoldDeadLetter, Last: &why}
	}
	entry := *t.entry
	entry.ID = d.IDs.New(now)
	entry.Accepted = now
	routes := t.routes()
	entry.Deliveries = queue.DeliveriesBy(held, now, func(i int) mail.Destination {
		return held[i].Address.Destination().Via(routes[v.dead[i]])
	})
	return entry
}

// routes returns the route that policy chose for each recipient.
func (t *transaction) routes() []mail.RouteKey {
	routes := make([]mail.RouteKey, 0, len(t.recipients))
	for i := range t.leases {
		d := t.leases[i].Delivery()
		for range d.Recipients {
			routes = append(routes, d.Destination.Route())
		}
	}
	return routes
}
