package deliver

import (
	"context"
	"errors"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// carrier takes one message to one site, over a connection that is kept, or
// new ones when that is closed.
type carrier struct {
	*Deliverer
	t    *transaction
	s    sending
	site *site
	link link // in use
	kept bool // its connection has served before, so that its server may have closed it

	// elsewhere is why a server could not be reached that may have what that of link
	// lacks.
	elsewhere error
	// full are the targets that had no room when a connection was looked for last.
	full []target
	// spent are the targets that take no more recipients of this message.
	spent []route.Target
	// broken says that one of them has broken off over it.
	broken bool
	// put are the recipients that a target has put off (elsewhere.go).
	put putOff

	part     []mail.Recipient
	outcomes []mail.Outcome // of part
	// most is how many recipients the server has shown to take in one
	// transaction; 0 while it took all it was given.
	most int
}

// sendPart sends the message to some of the transaction's recipients.
func (d *Deliverer) sendPart(ctx context.Context, t *transaction, part []mail.Recipient, s sending) []mail.Outcome {
	c := &carrier{Deliverer: d, t: t, s: s, part: part, outcomes: make([]mail.Outcome, len(part))}
	site, kept, err := d.sites.acquire(ctx, t.route.Site, c.fits)
	open := positions(len(part))
	if err != nil {
		c.settle(open, connectOutcome(err))
		return c.outcomes
	}
	c.site = site
	if kept != nil {
		c.link, c.kept = kept.link, true
	}
	defer func() { d.sites.release(site, c.link) }()
	for len(open) > 0 {
		if open = c.transact(ctx, open); len(open) == 0 && ctx.Err() == nil {
			open = c.offer()
		}
	}
	return c.outcomes
}

// positions are 0 to n-1.
func positions(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func (c *carrier) settle(open []int, o mail.Outcome) {
	for _, i := range open {
		c.outcomes[i] = o
	}
}

// transact runs one transaction, with as many of the open recipients as the
// server takes, and returns those that are still open: the ones it left out,
// and the ones that were too many for the server although it took others
// (RFC 5321 4.5.3.1.10).
func (c *carrier) transact(ctx context.Context, open []int) []int {
	if err := c.ready(ctx); err != nil {
		if c.put.offers > 0 {
			return nil // what the target before has said of them stands
		}
		if errors.Is(err, errNoRoom) {
			c.t.full = c.full
		}
		failure := connectOutcome(err)
		if ctx.Err() == nil && unreachable(err) {
			c.unreached(c.t, &failure)
		}
		c.settle(open, failure)
		return nil
	}
	batch, rest := open, []int(nil)
	if n := c.limit(); n > 0 && n < len(open) {
		batch, rest = open[:n], open[n:]
	}
	outcomes := c.sendTo(ctx, batch)
	if hungUp(c.link.conn, outcomes) && c.kept {
		c.drop()
		return open
	}
	if outcomes[0].Remote {
		c.reached(c.t) // a kept connection tells as much as a new one
		c.t.at.answered(&outcomes[0])
		c.callBack(c.t.at, &outcomes[0])
	}
	c.kept = true
	var surplus, later []int
	for i, o := range outcomes {
		c.outcomes[batch[i]] = o
		switch {
		case tooMany(&o):
			surplus = append(surplus, batch[i])
		case putsOff(&o):
			later = append(later, batch[i])
		}
	}
	broken := brokenOff(outcomes)
	c.settled(outcomes, broken)
	if ctx.Err() == nil && broken && c.spend() {
		return open
	}
	c.put.later = append(c.put.later, later...)
	return slices.Concat(c.again(batch, surplus), c.goOn(rest, outcomes[0]))
}

// again returns those of surplus that are to be sent at once: all of them, if
// the message got through to others. It ends: each time, fewer go into the
// next transaction, and from one nothing can be left over.
func (c *carrier) again(batch, surplus []int) []int {
	taken := 0
	for _, i := range batch {
		if gotThrough(c.outcomes[i]) {
			taken++
		}
	}
	switch {
	case len(surplus) == 0:
		return nil
	case taken > 0:
		c.most = taken
		return surplus
	case c.spend():
		return surplus
	}
	return nil
}

// spend leaves a target that takes no more recipients, if another may. It ends: each is
// left once.
func (c *carrier) spend() bool {
	if c.link.target == nil {
		return false
	}
	c.spent = append(c.spent, c.link.target)
	if !slices.ContainsFunc(c.t.route.Hops, func(h route.Hop) bool { return h.Target != nil && !slices.Contains(c.spent, h.Target) }) {
		return false
	}
	c.most = 0
	c.drop()
	return true
}

// settled tells the target what became of recipients that were sent to it. When it has broken off,
// as another has over the same message, that may be for the message: it says nothing of the target.
func (c *carrier) settled(outcomes []mail.Outcome, broken bool) {
	if c.link.target == nil {
		return
	}
	if broken && c.broken {
		outcomes = slices.Clone(outcomes)
		for i := range outcomes {
			outcomes[i].Reply.Enhanced = "4.3.0"
		}
	}
	c.broken = c.broken || broken
	c.link.target.Settled(outcomes)
}

// goOn returns rest, unless the server went away over what was sent to the
// others: then it would do so for each batch, and their outcome is that of all.
func (c *carrier) goOn(rest []int, last mail.Outcome) []int {
	if last.State == mail.Deferred && (c.link.conn == nil || !c.link.conn.Usable()) && (!last.Remote || last.Reply.Code == 421) {
		c.settle(rest, last)
		return nil
	}
	return rest
}

// limit is how many recipients go into the next transaction; 0 means all.
func (c *carrier) limit() int {
	announced := c.link.conn.RecipientLimit()
	if announced == 0 || c.most > 0 && c.most < announced {
		return c.most
	}
	return announced
}

// tooMany reports whether a server has refused a recipient only because it
// was one too many. A 452 that says something else, such as a mailbox that is
// full, is no reason to ask again at once.
//
// QUIRK: many servers give no enhanced code; such a 452 is taken for one.
func tooMany(o *mail.Outcome) bool {
	return o.Command == "RCPT" && o.Remote && o.Reply.Code == 452 &&
		(o.Reply.Enhanced == "" || o.Reply.Enhanced == "4.5.3")
}

// ready makes a connection where there is none that can be used.
func (c *carrier) ready(ctx context.Context) error {
	if c.link.conn != nil && (c.kept || c.link.conn.Usable()) {
		return nil // what is wrong with a kept one, the server may still say
	}
	c.drop()
	c.t.at.seek()
	c.link, c.elsewhere = c.connect(ctx)
	if c.link.conn == nil {
		return c.elsewhere
	}
	c.reached(c.t)
	return nil
}

func (c *carrier) drop() {
	c.end(&c.link)
	c.link, c.kept = link{}, false
}

// end closes a connection, and tells the site of the place that it had.
func (c *carrier) end(l *link) {
	l.close()
	c.sites.vacated(c.site, *l)
}

// misfit returns what the server of a link lacks for this message, if it does.
func (c *carrier) misfit(over *link) mail.Reply {
	return over.conn.Misfit(c.wire(over, c.part))
}

// fits reports whether a connection that is kept is one for this message: over
// one of its lanes, to a server that has what it needs.
func (c *carrier) fits(kept *idleConn) bool {
	return c.t.route.Takes(kept.lane, kept.target) && c.misfit(&kept.link).IsZero()
}

// sendTo sends the message to the recipients at some positions of part.
func (c *carrier) sendTo(ctx context.Context, batch []int) []mail.Outcome {
	recipients := make([]mail.Recipient, len(batch))
	for i, at := range batch {
		recipients[i] = c.part[at]
	}
	ctx, done := until(ctx, c.link.target)
	outcomes := c.link.conn.Send(ctx, c.wire(&c.link, recipients))
	done()
	c.noteRecoded()
	if c.link.conn.ChunksRefused() {
		c.sites.avoidChunks(c.site)
	}
	for i := range outcomes {
		if c.elsewhere != nil {
			soften(&outcomes[i], c.elsewhere)
		}
		wait(&outcomes[i], &c.link)
	}
	return outcomes
}

// wait makes 530 temporary, by which a server asks for TLS or a login first (RFC 3207 4, RFC 4954 6),
// where that is no fault of the message: TLS has failed for the moment, or a credential is missing
// here. A server of the recipient's domain has no right to ask for a login, and means it.
func wait(o *mail.Outcome, over *link) {
	clear := over.conn.TLS() == nil && over.conn.Extensions().StartTLS
	if o.State == mail.Bounced && o.Remote && o.Reply.Code == 530 && (clear || !over.lane.OfDomain) {
		o.State, o.Cause = mail.Deferred, "the server wants TLS or a login first, which is no fault of the message"
	}
}

// soften makes a failure temporary that only says what this server lacks.
func soften(o *mail.Outcome, elsewhere error) {
	if o.State != mail.Bounced || o.Remote {
		return
	}
	o.State, o.Reply.Code = mail.Deferred, 451
	o.Reply.Enhanced = strings.Replace(o.Reply.Enhanced, "5", "4", 1)
	o.Cause = "another server may do: " + elsewhere.Error()
}

// wire is the transaction for some recipients over a link.
func (c *carrier) wire(over *link, recipients []mail.Recipient) *smtpclient.Transaction {
	t := &smtpclient.Transaction{
		Envelope:   c.t.entry.Envelope,
		Recipients: recipients,
		Size:       c.s.size,
		BeforeDot:  c.s.beforeDot,
		Body:       c.s.content.reader(),
		SevenBit:   func() (smtpclient.Content, error) { return c.s.content.sendable(true, "") },
	}
	if charset := over.lane.Charset; charset != "" {
		t.Recoded = func(sevenBit bool) (smtpclient.Content, error) {
			return c.s.content.sendable(sevenBit, charset)
		}
	}
	return t
}

// noteRecoded notes what was converted for the server of the link, once for each.
func (c *carrier) noteRecoded() {
	text := c.s.content.recoded(c.link.lane.Charset)
	note := recoded{c.link.address, text}
	if text != "" && !slices.Contains(c.t.recoded, note) {
		c.t.recoded = append(c.t.recoded, note)
	}
}
