package deliver

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
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
// something gives way to the next.
//
// If all that were reached lack something, the connection is to the first of
// them, and the error is that of a hop that was not reached, if there is one:
// it may have what the message needs, so that nothing is final then.
func (c *carrier) connect(ctx context.Context) (*smtpclient.Conn, error) {
	var unfit *smtpclient.Conn
	var failed, last error
	for _, to := range c.hosts.targets(c.t.route, c.Clock.Now()) {
		if last != nil { // of the very last the outcome tells
			c.Logger.Info("host cannot be used, trying the next", "message", c.t.entry.ID, "error", last)
		}
		conn, err := c.dial(ctx, to.hop, to.address)
		if err != nil {
			failed, last = err, err
			if ctx.Err() != nil {
				break
			}
			if unreachable(err) {
				c.hosts.failed(to.address, c.Clock.Now())
			} else if failure := connectOutcome(err); failure.Command != "connect" {
				c.reached(c.t) // other mail may do with what this one cannot
			}
			continue
		}
		c.hosts.reached(to.address)
		reply := c.misfit(conn)
		switch {
		case reply.IsZero():
			closeIfOpen(unfit)
			c.lane = to.hop.Lane
			return conn, nil
		case unfit == nil:
			unfit, c.lane = conn, to.hop.Lane
		default:
			conn.Close()
		}
		last = &mail.Error{Reply: reply}
	}
	if last == nil {
		failed = mail.Refuse(451, "4.4.4", "No address to connect to")
	}
	return unfit, failed
}

func closeIfOpen(conn *smtpclient.Conn) {
	if conn != nil {
		conn.Close()
	}
}

// dial connects to one address of a hop. TLS that is only opportunistic must
// not stand between the mail and its recipient: when the handshake fails, the
// mail goes in clear, over a connection on which nothing of TLS was said
// (RFC 7435 3).
func (c *carrier) dial(ctx context.Context, hop route.Hop, address netip.AddrPort) (*smtpclient.Conn, error) {
	options, err := c.options(ctx, hop)
	if err != nil {
		return nil, err
	}
	conn, err := smtpclient.Dial(ctx, hop.Host, address, options)
	failure, ok := errors.AsType[*smtpclient.Error](err)
	if !ok || !ofTLS(failure) || options.TLS.Level != tlspolicy.Opportunistic {
		return conn, err
	}
	options.InClear = cmp.Or(failure.Cause, error(failure))
	return smtpclient.Dial(ctx, hop.Host, address, options)
}

// options are how to connect to a hop.
func (c *carrier) options(ctx context.Context, hop route.Hop) (smtpclient.Options, error) {
	o := c.t.settings.client(hop.Transport)
	o.NoChunking = o.NoChunking || c.sites.avoidsChunks(c.site)
	o.TLS = hop.TLS
	if hop.Login == nil {
		return o, nil
	}
	shown, err := hop.Login.Credentials(ctx)
	if err != nil {
		return o, &smtpclient.Error{Host: hop.Host, Command: "AUTH", Reply: mail.NewReply(451, "4.7.0", "There are no credentials for %s at present", hop.Host), Cause: err}
	}
	o.Credentials = shown
	return o, nil
}

// ofTLS reports whether a connection failed over TLS. A server's refusal of
// the handshake reaches the client of TLS 1.3 only with what it reads next.
func ofTLS(e *smtpclient.Error) bool {
	return e.Command == "STARTTLS" || e.TLS != nil && !e.Remote
}

// connectOutcome is the outcome of all recipients of an attempt that found no
// connection. It is never permanent: another host, or another day, may do. RFC
// 7504 4 would have one be so, a greeting with 521 from the last of the hosts.
func connectOutcome(err error) mail.Outcome {
	o := mail.Outcome{State: mail.Deferred, Command: "connect", Reply: mail.ReplyOf(err), Cause: err.Error()}
	if e, ok := errors.AsType[*smtpclient.Error](err); ok {
		o = e.Outcome()
		o.State = mail.Deferred
	}
	return o
}

// unreached notes that a transaction found no connection.
func (d *Deliverer) unreached(t *transaction, failure *mail.Outcome) {
	t.unreached = failure
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
	d.Logger.Info("site can be reached again", "site", t.route.Site)
	d.Record(siteFact(mail.ReasonReached, t, d.Clock.Now(), time.Time{}, ""))
}
