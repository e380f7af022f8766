package deliver

import (
	"sync"

	"postern/internal/mail"
)

// Tally counts recipients since the start by what became of them, as the operators of
// CSSMTP have it (docs/targets.md).
type Tally struct {
	Sent          uint64 `json:"mail_sent" doc:"Recipients that were delivered or relayed (MAIL SENT)"`
	Retried       uint64 `json:"total_retry" doc:"Recipients whose first attempt has failed, so that they came to wait for another (TOTAL RETRY)"`
	Extended      uint64 `json:"total_extended_retry" doc:"Recipients that came to the end of the listed waits of retry, and are tried every so often from then on (EXTENDED RETRY, TOTAL)"`
	DeadLetters   uint64 `json:"dead_letters" doc:"Recipients that became dead letters (DEADLETTER)"`
	Undeliverable uint64 `json:"undeliverable" doc:"Recipients that bounced or expired, dead letters among them (UNDELIVER)"`
}

// tally is the Tally of a Deliverer.
type tally struct {
	mu sync.Mutex
	Tally
}

// count counts what came of a transaction, in which a recipient goes over from the waits
// of the schedule to what follows them with the attempt after listed.
func (c *tally) count(v *verdict, listed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range v.outcomes {
		o := &v.outcomes[i]
		switch o.State {
		case mail.Delivered, mail.Relayed:
			c.Sent++
		case mail.Deferred:
			if o.Attempt == 1 {
				c.Retried++
			}
			if o.Attempt == listed+1 {
				c.Extended++
			}
		case mail.Dead:
			c.DeadLetters++
			c.Undeliverable++
		case mail.Bounced, mail.Expired:
			c.Undeliverable++
		}
	}
}

// Tally returns what was counted since the start, and how many attempts of mail the
// waits are for that retry lists.
func (d *Deliverer) Tally() (counted Tally, listed int) {
	d.tally.mu.Lock()
	defer d.tally.mu.Unlock()
	return d.tally.Tally, len(d.settings.Load().Retry.Waits)
}
