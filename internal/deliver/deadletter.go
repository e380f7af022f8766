package deliver

import (
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// deadLetter is the entry that keeps a message for the recipients that failed
// with nobody to tell. It shares the content of the message, names what became
// of the last attempt, and is held until a person decides.
func (d *Deliverer) deadLetter(t *transaction, v *verdict, now time.Time) queue.Entry {
	held := make([]queue.Recipient, len(v.dead))
	for i, place := range v.dead {
		why := v.outcomes[place]
		held[i] = queue.Recipient{Recipient: t.recipients[place], State: mail.Held, Hold: mail.HoldDeadLetter, Last: &why}
	}
	entry := *t.entry
	entry.ID = d.IDs.New(now)
	entry.Accepted = now
	entry.Deliveries = queue.Deliveries(held, now)
	return entry
}
