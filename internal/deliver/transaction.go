package deliver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/route"
)

// transaction is the deliveries of one entry that go over the wire together,
// because they lead to the same site over the same lanes.
type transaction struct {
	entry  *queue.Entry // what the leases share; its Deliveries are the first lease's
	leases []queue.Lease
	// settings are those that were in force when the attempt began.
	settings *Settings
	route    route.Route
	// routed is when the route was chosen.
	routed time.Time
	// at is where it is counted.
	at *place
	// ways are the transports by which recipients would have gone that have no way now; nil
	// where there is one.
	ways []string
	// content is that of the entry, recoded what was said of it for a server.
	content *forms
	recoded []recoded
	// recipients are those of all leases, in order.
	recipients []mail.Recipient
	// unreached is the outcome of a part that found no connection.
	unreached *mail.Outcome
	// credential is the one for which it found no connection, because a server has refused it or
	// there was nothing to show.
	credential string
	// full are the targets at which a part found no room, and found it nowhere else.
	full []target
	// recoveries is how often a site had got a server again before it was routed.
	recoveries int
}

// recoded says what was converted for the charset of a server.
type recoded struct {
	at   netip.AddrPort
	text string
}

func newTransaction(s *Settings, leases []queue.Lease) *transaction {
	t := &transaction{entry: &leases[0].Entry, leases: leases, settings: s}
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
	settings := d.settings.Load()
	leases = d.chooseAgain(ctx, settings, leases)
	if len(leases) == 0 {
		at.skip()
		return
	}
	c := &forms{store: d.Store, id: leases[0].Entry.Body}
	defer c.close()
	routed := d.route(ctx, settings, leases, c)
	if routed.together != nil && !at.move(routed.together.route.Site) {
		routed.elsewhere = append(routed.elsewhere, routed.together.leases...)
		routed.together = nil
	}
	if routed.news {
		d.free()
	}
	storing := context.WithoutCancel(ctx)
	if len(routed.elsewhere) > 0 {
		d.release(storing, routed.elsewhere)
	}
	if len(routed.lost) > 0 {
		lost := newTransaction(settings, routed.lost)
		lost.ways = routed.ways
		d.settle(storing, lost, routed.outcomes)
		for site, leases := range routed.waits {
			d.waitForServer(site, leases, routed.recoveries)
		}
	}
	if t := routed.together; t != nil {
		t.at, t.content = at, c
		d.carry(ctx, t)
	}
}

// carry attempts a transaction, unless its site must wait.
func (d *Deliverer) carry(ctx context.Context, t *transaction) {
	storing := context.WithoutCancel(ctx)
	now := d.Clock.Now()
	suspended, may := t.at.try(now)
	switch {
	case t.route.Discard:
		d.settle(storing, t, allOf(t, discarded))
	case !may:
		d.settle(storing, t, allOf(t, suspended))
		t.at.passOver(t.leases)
	case !d.withinRate(t, now):
		d.Metrics.unattempted.Add(1, forRate)
		d.release(storing, t.leases)
	default:
		d.attempt(ctx, t)
	}
}

// discarded is the outcome of what a transport discards.
var discarded = mail.Outcome{State: mail.Discarded, Command: "route", Reply: mail.NewReply(250, "2.0.0", "The transport discards all mail")}

// maxLookups is how many destinations of one message are resolved at once, and
// routingTime how long that may take: the leases must last for the attempt.
const (
	maxLookups  = 20
	routingTime = lease / 4
)

// way is what the router said of one lease.
type way struct {
	route route.Route
	err   error
}

// ways resolves every lease.
func ways(ctx context.Context, s *Settings, leases []queue.Lease, c *forms) []way {
	ways := make([]way, len(leases))
	if len(leases) == 1 { // which is usual
		ways[0] = wayOf(ctx, s, &leases[0], c)
		return ways
	}
	tokens := make(chan struct{}, maxLookups)
	var resolving sync.WaitGroup
	for i := range leases {
		tokens <- struct{}{}
		resolving.Go(func() {
			ways[i] = wayOf(ctx, s, &leases[i], c)
			<-tokens
		})
	}
	resolving.Wait()
	return ways
}

// wayOf resolves one lease.
func wayOf(ctx context.Context, s *Settings, l *queue.Lease, c *forms) way {
	e := &l.Entry
	r, err := s.Router.Route(ctx, route.Question{Destination: l.Delivery().Destination, Sender: e.Envelope.From, TLS: e.TLSDemand(), Size: e.Size, Content: c})
	if err == nil {
		r, err = s.sized(r, e.Size)
	}
	if err == nil {
		r, err = vouched(r, &e.Envelope)
	}
	return way{r.Demand(e.TLSDemand()), err}
}

// sized returns the route with the servers of those transports that let a message of a size
// go. It fails for good when there is none, as RFC 1870 6.1 has it of a server.
func (s *Settings) sized(r route.Route, size int64) (route.Route, error) {
	tooLarge := func(name string) bool { most := s.transport(name).MaxSize; return most > 0 && size > most }
	hops := r.Hops
	if slices.ContainsFunc(hops, func(h route.Hop) bool { return tooLarge(h.Transport) }) {
		hops = slices.DeleteFunc(slices.Clone(hops), func(h route.Hop) bool { return tooLarge(h.Transport) })
	}
	if len(hops) == 0 && (len(r.Hops) > 0 || tooLarge(r.Name)) {
		return route.Route{Name: r.Name}, mail.Refuse(552, "5.3.4", "Message of %d octets exceeds the limit of the transport, %d octets", size, s.transport(r.Name).MaxSize)
	}
	r.Hops = hops
	return r, nil
}

// routed are the leases of one entry, by where they lead.
type routed struct {
	// together lead to the site of the first lease that has one; nil when none
	// has.
	together *transaction
	// elsewhere lead to other sites, or there was no time: they are to be
	// released.
	elsewhere []queue.Lease
	// lost have no way, and outcomes say so for each of their recipients. They
	// are settled together, so that the sender gets one report of all.
	lost     []queue.Lease
	outcomes []mail.Outcome
	// ways are the transports that have found none, for each of the outcomes.
	ways []string
	// waits are those of lost whose site has no server now, by its name.
	waits map[string][]queue.Lease
	// recoveries is how often a site had got a server again before they were routed.
	recoveries int
	// news says that it was not known of all where they lead.
	news bool
}

// route resolves every lease.
func (d *Deliverer) route(ctx context.Context, s *Settings, leases []queue.Lease, c *forms) routed {
	ctx, cancel := context.WithTimeout(ctx, routingTime)
	defer cancel()
	r := routed{recoveries: d.sites.recovered()}
	var together []queue.Lease
	var first route.Route
	for i, w := range ways(ctx, s, leases, c) {
		delivery := leases[i].Delivery()
		switch {
		case w.err != nil && ctx.Err() != nil && !mail.ReplyOf(w.err).Permanent(): // for want of time
			r.elsewhere = append(r.elsewhere, leases[i])
			continue
		case w.err != nil:
			if r.lose(&leases[i], &w) {
				r.news = d.sites.learnUnder(s, delivery.Destination, w.route) || r.news
			}
			continue
		case len(together) == 0:
			first = w.route
		}
		r.news = d.sites.learnUnder(s, delivery.Destination, w.route) || r.news
		to := &r.elsewhere
		if w.route.SameWay(first) {
			to = &together
		}
		*to = append(*to, leases[i])
	}
	if len(together) > 0 {
		r.together = newTransaction(s, together)
		r.together.route, r.together.routed, r.together.recoveries = first, d.Clock.Now(), r.recoveries
	}
	return r
}

// lose notes a lease that has no way, and reports whether its site is known, which has no server
// now.
func (r *routed) lose(l *queue.Lease, w *way) (waits bool) {
	r.lost = append(r.lost, *l)
	o := routeOutcome(w.err)
	r.outcomes = append(r.outcomes, slices.Repeat([]mail.Outcome{o}, len(l.Delivery().Recipients))...)
	r.ways = append(r.ways, slices.Repeat([]string{w.route.Name}, len(l.Delivery().Recipients))...)
	if waits = w.route.Site != "" && o.State == mail.Deferred; waits {
		r.wait(w.route.Site, *l)
	}
	return waits
}

// wait notes a lease whose site has no server.
func (r *routed) wait(site string, l queue.Lease) {
	if r.waits == nil {
		r.waits = make(map[string][]queue.Lease)
	}
	r.waits[site] = append(r.waits[site], l)
}

func (d *Deliverer) release(ctx context.Context, leases []queue.Lease) {
	d.releaseUntil(ctx, leases, d.Clock.Now())
}

func (d *Deliverer) releaseUntil(ctx context.Context, leases []queue.Lease, next time.Time) {
	if err := d.Store.Release(ctx, leases, next); err != nil {
		d.fail("cannot release", leases[0].Entry.ID, err)
	}
}

// attempt carries the transaction over the wire, in as many parts as the
// recipient limit asks for, and settles it.
func (d *Deliverer) attempt(ctx context.Context, t *transaction) {
	crashpoint.Reach(crashpoint.Claimed)
	keep := d.keep(t.leases)
	began := time.Now()
	outcomes := d.send(ctx, t, keep)
	d.Metrics.attempts.Observe(time.Since(began))
	keep.stop()
	crashpoint.Reach(crashpoint.Answered)
	noRoom := len(t.full) > 0
	if noRoom {
		d.Metrics.unattempted.Add(1, forRoom)
		t.at.skip()
	}
	if (ctx.Err() != nil || noRoom && !d.overdue(t)) && untouched(outcomes) {
		// The server stops before anything was done, or nothing could be done so far:
		// not the peer's failure.
		if t.settings.transport(t.route.Name).Rate.Max > 0 {
			t.at.leaveTurn()
		}
		if storing := context.WithoutCancel(ctx); noRoom {
			d.waitForRoom(storing, t)
		} else {
			d.release(storing, t.leases)
		}
		return
	}
	d.settle(context.WithoutCancel(ctx), t, outcomes)
	d.missed(t, outcomes)
	if noRoom {
		again, over := t.split(outcomes)
		d.sites.unwant(t.at.site, over)
		d.wantRoom(t, again)
	}
}

// split returns the leases of which a recipient is tried again, by what became of them, and the others.
func (t *transaction) split(outcomes []mail.Outcome) (again, over []queue.Lease) {
	for i := range t.leases {
		n := len(t.leases[i].Delivery().Recipients)
		to := &over
		if slices.ContainsFunc(outcomes[:n], func(o mail.Outcome) bool { return o.State == mail.Deferred }) {
			to = &again
		}
		*to = append(*to, t.leases[i])
		outcomes = outcomes[n:]
	}
	return again, over
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
	body, err := t.content.open(ctx)
	if err != nil {
		d.Logger.Error("cannot open the content", "message", t.entry.ID, "error", err)
		return allOf(t, mail.Outcome{State: mail.Deferred, Reply: mail.LocalError, Command: "content", Cause: err.Error()})
	}
	s := sending{t.content, body.Size(), keep.err}
	outcomes := make([]mail.Outcome, 0, len(t.recipients))
	most := t.settings.transport(t.route.Name).MaxRecipients
	for rest := t.recipients; len(rest) > 0; {
		part := rest[:min(len(rest), most)]
		rest = rest[len(part):]
		outcomes = append(outcomes, d.sendPart(ctx, t, part, s)...)
		switch {
		case t.unreached != nil: // neither would the others
			return append(outcomes, slices.Repeat([]mail.Outcome{*t.unreached}, len(rest))...)
		case len(t.full) > 0:
			return append(outcomes, slices.Repeat([]mail.Outcome{connectOutcome(errNoRoom)}, len(rest))...)
		}
	}
	return outcomes
}

// sending is what each part of a transaction sends, and may still send.
type sending struct {
	content   *forms
	size      int64
	beforeDot func() error
}

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
	o := mail.Outcome{State: mail.Deferred, Command: "route", Reply: mail.ReplyOf(err), Cause: mail.CauseText(err)}
	if o.Reply.Permanent() {
		o.State = mail.Bounced
	}
	if e, ok := errors.AsType[*mail.Error](err); ok {
		o.Cause = "" // the error's own text begins with the reply
		if e.Cause != nil {
			o.Cause = mail.CauseText(e.Cause)
		}
	}
	return o
}
