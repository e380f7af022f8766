package deliver

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// transaction is the deliveries of one entry that go over the wire together,
// because they lead to the same site over the same lanes.
type transaction struct {
	entry  *queue.Entry // what the leases share; its Deliveries are the first lease's
	leases []queue.Lease
	route  route.Route
	// routed is when the route was chosen.
	routed time.Time
	// recipients are those of all leases, in order.
	recipients []mail.Recipient
}

func newTransaction(leases []queue.Lease) *transaction {
	t := &transaction{entry: &leases[0].Entry, leases: leases}
	for i := range leases {
		for _, r := range leases[i].Delivery().Recipients {
			t.recipients = append(t.recipients, r.Recipient)
		}
	}
	return t
}

// run attempts the claimed deliveries of one entry and settles them. The end
// of ctx ends attempts, never what is to be stored of them.
func (d *Deliverer) run(ctx context.Context, leases []queue.Lease, at *place) {
	routed, elsewhere, failed := d.route(ctx, leases)
	if routed != nil && !at.move(routed.route.Site) {
		elsewhere = append(elsewhere, routed.leases...)
		routed = nil
	}
	storing := context.WithoutCancel(ctx)
	if len(elsewhere) > 0 {
		d.release(storing, elsewhere)
	}
	for err, leases := range failed {
		t := newTransaction(leases)
		d.settle(storing, t, allOf(t, routeOutcome(err)))
	}
	if routed != nil {
		d.attempt(ctx, routed)
	}
}

// route resolves every lease. Those that go the same way as the first that
// has one make the transaction; others, and those for which ctx left no time,
// are to be released, and those without a way are grouped by the error that
// says why.
func (d *Deliverer) route(ctx context.Context, leases []queue.Lease) (*transaction, []queue.Lease, map[error][]queue.Lease) {
	var together, elsewhere []queue.Lease
	var failed map[error][]queue.Lease
	var way route.Route
	for i := range leases {
		destination := leases[i].Delivery().Destination
		r, err := d.Router.Route(ctx, destination)
		switch {
		case err != nil && ctx.Err() != nil:
			elsewhere = append(elsewhere, leases[i])
			continue
		case err != nil:
			if failed == nil {
				failed = make(map[error][]queue.Lease)
			}
			err = sameError(failed, err)
			failed[err] = append(failed[err], leases[i])
			continue
		case len(together) == 0:
			way = r
		}
		d.sites.learn(destination, r.Site)
		if r.SameWay(way) {
			together = append(together, leases[i])
		} else {
			elsewhere = append(elsewhere, leases[i])
		}
	}
	if len(together) == 0 {
		return nil, elsewhere, failed
	}
	t := newTransaction(together)
	t.route, t.routed = way, d.Clock.Now()
	return t, elsewhere, failed
}

// sameError returns the error of the map that reads like err, or err, so that
// the recipients of one cause share one report.
func sameError(failed map[error][]queue.Lease, err error) error {
	for known := range failed {
		if known.Error() == err.Error() {
			return known
		}
	}
	return err
}

func (d *Deliverer) release(ctx context.Context, leases []queue.Lease) {
	if err := d.Store.Release(ctx, leases, d.Clock.Now()); err != nil {
		d.fail("cannot release", newTransaction(leases), err)
	}
}

// attempt carries the transaction over the wire, in as many parts as the
// recipient limit asks for, and settles it.
func (d *Deliverer) attempt(ctx context.Context, t *transaction) {
	crashpoint.Reach(crashpoint.Claimed)
	keep := d.keep(t.leases)
	outcomes := d.send(ctx, t, keep)
	keep.stop()
	crashpoint.Reach(crashpoint.Answered)
	if ctx.Err() != nil && untouched(outcomes) {
		// The server stops before anything was done: not the peer's failure.
		d.release(context.WithoutCancel(ctx), t.leases)
		return
	}
	d.settle(context.WithoutCancel(ctx), t, outcomes)
}

// untouched reports whether no peer has answered for any recipient, nor may
// have taken the message without an answer.
func untouched(outcomes []mail.Outcome) bool {
	for i := range outcomes {
		o := &outcomes[i]
		if o.Remote || o.State != mail.Deferred || o.Command == "end of data" {
			return false
		}
	}
	return true
}

func (d *Deliverer) send(ctx context.Context, t *transaction, keep *keeper) []mail.Outcome {
	body, err := d.Store.Body(ctx, t.entry.Body)
	if err != nil {
		d.Logger.Error("cannot open the content", "message", t.entry.ID, "error", err)
		return allOf(t, mail.Outcome{State: mail.Deferred, Reply: mail.LocalError, Command: "content", Cause: err.Error()})
	}
	defer body.Close()
	s := sending{body, keep.err, sync.OnceValues(func() (*message.SevenBit, error) {
		return message.ToSevenBit(body, body.Size())
	})}
	outcomes := make([]mail.Outcome, 0, len(t.recipients))
	for rest := t.recipients; len(rest) > 0; {
		part := rest[:min(len(rest), d.MaxRecipients)]
		rest = rest[len(part):]
		outcomes = append(outcomes, d.sendPart(ctx, t, part, s)...)
	}
	return outcomes
}

// sending is what each part of a transaction sends, and may still send.
type sending struct {
	body      queue.Body
	beforeDot func() error
	// convert finds out once how the content becomes 7-bit, if it can.
	convert func() (*message.SevenBit, error)
}

// sevenBit is the content for a server without 8BITMIME.
func (s sending) sevenBit() (smtpclient.Content, error) {
	converted, err := s.convert()
	if err != nil {
		return smtpclient.Content{}, err
	}
	return smtpclient.Content{Size: converted.Size(), Body: converted.Reader()}, nil
}

func (s sending) reader() io.Reader { return io.NewSectionReader(s.body, 0, s.body.Size()) }

// allOf gives every recipient the same outcome.
func allOf(t *transaction, o mail.Outcome) []mail.Outcome {
	outcomes := make([]mail.Outcome, len(t.recipients))
	for i := range outcomes {
		outcomes[i] = o
	}
	return outcomes
}

// routeOutcome is the outcome of recipients for which there is no way.
func routeOutcome(err error) mail.Outcome {
	o := mail.Outcome{State: mail.Deferred, Command: "route", Reply: mail.ReplyOf(err), Cause: err.Error()}
	if o.Reply.Permanent() {
		o.State = mail.Bounced
	}
	if e, ok := errors.AsType[*mail.Error](err); ok && e.Cause == nil {
		o.Cause = ""
	}
	return o
}
