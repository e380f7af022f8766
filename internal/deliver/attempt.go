package deliver

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// hungUp reports whether a kept connection had been closed by the peer while
// it was idle. That is no failed attempt: nothing of the message was sent.
func hungUp(conn *smtpclient.Conn, outcomes []mail.Outcome) bool {
	for i := range outcomes {
		o := &outcomes[i]
		if o.State != mail.Deferred || o.Command != "MAIL" || o.Remote && o.Reply.Code != 421 {
			return false
		}
	}
	return !conn.Usable() // last: it asks the system
}

// connect opens a connection to the first hop that takes one and has what the
// message needs. A hop that cannot be reached, greets with a refusal, or lacks
// something gives way to the next; so does one whose target has no room.
//
// If all that were reached lack something, the connection is to the first of
// them, and the error is that of a hop that was not reached, if there is one:
// it may have what the message needs, so that nothing is final then. Where no server that
// was reached gives the TLS that the message requires, and every one was reached, the error
// is final (RFC 8689 4.2.1).
//
// It fails with errNoRoom when a target had no room, and no other could be reached.
func (c *carrier) connect(ctx context.Context) (link, error) {
	var unfit link
	var failed, last error
	var insecure *smtpclient.Error
	c.full = nil
	tries := 0
	for _, to := range c.hosts.targets(c.t.route, c.Clock.Now()) {
		if last != nil { // of the very last the outcome tells
			c.Logger.Info("host cannot be used, trying the next", "message", c.t.entry.ID, "error", last)
		}
		if !c.enter(to) {
			if !slices.Contains(c.spent, to.hop.Target) {
				c.full = append(c.full, to)
			}
			continue
		}
		if tries++; tries > maxAddresses {
			leave(to.hop.Target)
			failed = cmp.Or(failed, last) // those that were not tried may have what the others lack
			break
		}
		made, err := c.open(ctx, to)
		if err != nil {
			last = err
			if final := unsecured(err, to.hop, &c.t.entry.Envelope); final != nil {
				insecure = cmp.Or(insecure, final)
				continue
			}
			failed = err
			if ctx.Err() != nil {
				break
			}
			continue
		}
		reply := c.misfit(&made)
		switch {
		case reply.IsZero():
			c.end(&unfit)
			return made, nil
		case unfit.conn == nil:
			unfit = made
		default:
			c.end(&made)
		}
		last = &mail.Error{Reply: reply}
	}
	switch {
	case len(c.full) > 0: // where there is none now may be soon, and what the message needs
		failed = errNoRoom
	case last == nil:
		failed = mail.Refuse(451, "4.4.4", "No address to connect to")
	case c.t.route.Partial && failed == nil && unfit.conn != nil:
		failed = errPartial
	case c.t.route.Partial && failed == nil:
		failed = last
	case unfit.conn == nil && failed == nil:
		failed = insecure
	}
	return unfit, failed
}

// errPartial is the failure that servers lack something which others may have, of which none
// can be asked.
var errPartial = mail.Refuse(451, "4.4.4", "Others of the next servers cannot be used at present")

// errNoRoom is the failure that no target of a pool had room for a connection.
var errNoRoom = mail.Refuse(451, "4.4.5", "None of the next servers has room for one more connection")

// enter takes a place at a target, if there is one for this message: that of a
// connection that is idle, and of no use for the message, if need be. It may be one for mail that
// demands something else of the same server.
func (c *carrier) enter(to target) bool {
	target := to.hop.Target
	switch {
	case target == nil:
		return true
	case slices.Contains(c.spent, target):
		return false
	case target.Enter():
		return true
	}
	return c.sites.leavePlace(c.site, to.address) && target.Enter()
}

// leave gives a place back that was not used.
func leave(target route.Target) {
	if target != nil {
		target.Leave()
	}
}

// open connects to one address, over a place that was taken at its target, which it
// tells what came of it.
func (c *carrier) open(ctx context.Context, to target) (link, error) {
	target := to.hop.Target
	conn, err := c.dial(ctx, to.hop, to.address)
	if err == nil {
		c.hosts.reached(to)
		if target != nil {
			target.Connected(Capabilities(conn))
		}
		return link{conn, to.hop.Lane, to.address, target, c.t.settings}, nil
	}
	if target != nil {
		if ctx.Err() == nil && !ours(err) {
			target.Failed(err)
		}
		target.Leave()
		c.sites.vacated(c.site, link{address: to.address, target: target})
	}
	c.noteFailure(ctx, to, err)
	return link{}, err
}

// noteFailure notes what the failure to connect to an address says of that, and of the site.
func (c *carrier) noteFailure(ctx context.Context, to target, err error) {
	o := connectOutcome(err)
	switch {
	case ctx.Err() != nil || wasWithheld(&o):
		return
	case unreachable(err):
		c.hosts.failed(to, c.Clock.Now())
		return
	case o.Command == "AUTH" && !o.Remote && o.Reply.Enhanced == "4.4.2": // it broke off, or was silent
		c.hosts.failed(to, c.Clock.Now())
	}
	if o.Command != "connect" {
		c.reached(c.t) // other mail may do with what this one cannot
	}
}

// Capabilities are what a server has offered. Under TLS it offers no STARTTLS any more.
func Capabilities(conn *smtpclient.Conn) route.Capabilities {
	e := conn.Extensions()
	return route.Capabilities{ESMTP: conn.ESMTP(), StartTLS: e.StartTLS || conn.TLS() != nil, Size: e.MaxSize, Auth: e.Auth}
}

// ofTLS reports whether a connection failed over TLS. A server's refusal of
// the handshake reaches the client of TLS 1.3 only with what it reads next.
func ofTLS(e *smtpclient.Error) bool {
	return e.Command == "STARTTLS" || e.TLS != nil && !e.Remote && e.Command != "AUTH"
}

// connectOutcome is the outcome of all recipients of an attempt that found no
// connection. It is permanent only where all servers lack what REQUIRETLS demands (unsecured);
// else another host, or another day, may do. RFC 7504 4 would have one more be so, a greeting
// with 521 from the last of the hosts.
func connectOutcome(err error) mail.Outcome {
	o := mail.Outcome{State: mail.Deferred, Command: "connect", Reply: mail.ReplyOf(err), Cause: mail.CauseText(err)}
	if e, ok := errors.AsType[*smtpclient.Error](err); ok {
		if o = e.Outcome(); e.Remote {
			o.State = mail.Deferred
		}
	}
	return o
}

// unreached notes that a transaction found no connection.
func (d *Deliverer) unreached(t *transaction, failure *mail.Outcome) {
	t.unreached = failure
	if t.route.Pooled() {
		return // it knows of each server how it stands
	}
	now := d.Clock.Now()
	retryAt := t.at.failed(failure, now)
	if retryAt.IsZero() {
		return
	}
	cause := describe(failure)
	d.Logger.Warn("site cannot be reached, its mail waits", "site", t.route.Site, "until", retryAt, "cause", cause)
	d.Record(siteFact(mail.ReasonUnreachable, t, now, retryAt, cause))
}

// reached notes that a transaction found a connection.
func (d *Deliverer) reached(t *transaction) {
	back, first := t.at.reached()
	if back || first {
		d.free() // there is room for more
	}
	if !back {
		return
	}
	d.sites.bringAll(t.at.site, d.Clock.Now())
	d.Logger.Info("site can be reached again", "site", t.route.Site)
	d.Record(siteFact(mail.ReasonReached, t, d.Clock.Now(), time.Time{}, ""))
}
