package deliver

import (
	"context"
	"errors"
	"slices"
	"sync"

	"postern/internal/mail"
	"postern/internal/route"
)

// This file is what the servers of a pool have more than others: what one of them fails
// with, another gets in the same attempt.

// errEnded is why a transaction was broken off at a target.
var errEnded = errors.New("the target server was changed, drained or reconnected, and the time for what ran there is over")

// until returns a context that ends when the target wants what runs there to end. The
// function ends that, and waits for it.
func until(ctx context.Context, target route.Target) (context.Context, func()) {
	if target == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-target.Ended():
			cancel(errEnded)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		watching.Wait()
	}
}

// brokenOff reports whether a target has broken off, or said that it closes (421, RFC 5321 3.8), for
// all recipients, so that another may get the message at once. Once the end of data was sent it may
// have the message.
func brokenOff(outcomes []mail.Outcome) bool {
	return !slices.ContainsFunc(outcomes, func(o mail.Outcome) bool {
		gone := o.Remote && o.Reply.Code == 421 || !o.Remote && o.Reply.Enhanced == "4.4.2"
		return o.State != mail.Deferred || o.Command == "end of data" || !gone
	})
}

// maxOffers bounds to how many targets one attempt offers a recipient that was put off, beside
// the first: CSSMTP has four targets in all.
const maxOffers = 3

// putOff are recipients that a target has put off (4xx), which the next may take.
type putOff struct {
	later  []int // positions in part
	offers int   // how often some were offered to another
}

// putsOff reports whether a server has put a recipient off, and does not have the message for it.
func putsOff(o *mail.Outcome) bool { return o.State == mail.Deferred && o.Remote }

// offer leaves the target for another, and returns the recipients that it has put off.
func (c *carrier) offer() []int {
	later := c.put.later
	c.put.later = nil
	if len(later) == 0 || c.put.offers == maxOffers {
		return nil
	}
	from := c.link.address
	if !c.spend() {
		return nil
	}
	c.put.offers++
	c.Logger.Info("target puts recipients off, trying the next", "message", c.t.entry.ID, "address", from,
		"recipients", len(later), "reply", c.outcomes[later[0]].Reply.String())
	return later
}
