package intake

import (
	"context"
	"time"

	"postern/internal/mail"
)

// Inspections bounds how many messages policy looks at at a time, by all doors
// of a process: whoever comes when that is full waits, and so does its client.
// Make it once, with NewInspections.
type Inspections struct{ tokens chan struct{} }

// The defaults: how many messages are looked at at a time, and how long one may
// take from the end of its data, waiting included. Every client waits longer
// for its reply: none is known that gives up before a minute (RFC 5321
// 4.5.3.2.6 wants ten).
const (
	DefaultInspections = 64
	DefaultBudget      = 50 * time.Second
)

// NewInspections allows n at a time; 0 means DefaultInspections.
func NewInspections(n int) *Inspections {
	if n == 0 {
		n = DefaultInspections
	}
	return &Inspections{tokens: make(chan struct{}, n)}
}

// The refusals of those whose time is over before they had a turn, and behind it.
var (
	errBusy = mail.Refuse(451, "4.3.2", "Too many messages are being looked at, please try again later")
	errLate = mail.Refuse(451, "4.3.2", "The message could not be looked at in time, please try again later")
)

// run calls look when there is room, with what is left of the budget. When there
// was no room in time, or look went on behind its end, the message is deferred: a
// refusal of look's counts all the same. It never returns while look runs.
func (x *Inspections) run(ctx context.Context, budget time.Duration, look func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	select {
	case x.tokens <- struct{}{}:
	case <-ctx.Done():
		return errBusy.Because(context.Cause(ctx))
	}
	defer func() { <-x.tokens }()
	err := look(ctx)
	if err == nil && ctx.Err() != nil {
		return errLate.Because(context.Cause(ctx))
	}
	return err
}
