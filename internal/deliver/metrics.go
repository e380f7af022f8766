package deliver

import (
	"slices"
	"sync/atomic"
	"time"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/metrics"
)

// Metrics count what comes of attempts. Make them once, with NewMetrics.
type Metrics struct {
	outcomes, reports *metrics.Counters
	byTransport       *metrics.NamedCounters
	unattempted       *metrics.Counters
	attempts          *metrics.Histogram
	transactions      *metrics.Gauge
}

// NewMetrics declares what is counted; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		outcomes: s.Counters("postern_delivery_recipients_total",
			"Recipients of attempts to deliver, by what came of them. A recipient that is deferred is tried again, and counts again; one that is delivered, relayed (to a server that sends no reports), bounced, expired, dead (failed, with nobody to tell) or discarded does not.",
			metrics.Label{Name: "outcome", Values: outcomeNames()}),
		byTransport: s.NamedCounters("postern_transport_recipients_total",
			"Recipients of attempts, as postern_delivery_recipients_total has them, by the transport of the server that was tried last, or of the way when none was. What has no way at all is not among them. A transport that leaves the configuration goes, with what was counted.",
			"transport", metrics.Label{Name: "outcome", Values: outcomeNames()}),
		reports: s.Counters("postern_reports_total", "Reports written to senders, by what they tell.",
			metrics.Label{Name: "action", Values: actionNames()}),
		unattempted: s.Counters("postern_delivery_unattempted_total",
			"Messages that were given back without an attempt, by why: their recipients go elsewhere by other routes, their site has had as many as the rate of its transport, or no target of its pool that can take them has room. One message may count more than once.",
			metrics.Label{Name: "why", Values: []string{forRoute, forRate, forRoom}}),
		attempts: s.Histogram("postern_attempt_duration_seconds",
			"Time of an attempt: of one transaction with a next server, from looking for a connection to its last reply.",
			10*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond,
			time.Second, 2500*time.Millisecond, 5*time.Second, 10*time.Second, 30*time.Second, time.Minute, 5*time.Minute, 10*time.Minute),
		transactions: s.Gauge("postern_attempts_active", "Messages that are being attempted, those included that look for their next server or wait for a connection to it."),
	}
}

// Why a message is given back without an attempt.
const (
	forRoute = "route"
	forRate  = "rate"
	forRoom  = "room"
)

func outcomeNames() []string {
	var names []string
	for _, s := range []mail.State{mail.Delivered, mail.Relayed, mail.Deferred, mail.Bounced, mail.Expired, mail.Dead, mail.Discarded} {
		names = append(names, string(s))
	}
	return names
}

func actionNames() []string {
	var names []string
	for _, a := range dsn.Actions {
		names = append(names, string(a))
	}
	return names
}

// settled counts what came of a transaction.
func (m *Metrics) settled(t *transaction, v *verdict) {
	for i := range v.outcomes {
		state := string(v.outcomes[i].State)
		m.outcomes.Add(1, state)
		m.byTransport.Add(1, t.transportOf(i, &v.outcomes[i]), state)
	}
	for action := range v.told {
		m.reports.Add(1, string(action))
	}
}

// turned says when the scheduler has taken its last step, while it is at work.
type turned struct{ at atomic.Int64 } // in nanoseconds since 1970; 0: it waits

func (t *turned) step() { t.at.Store(time.Now().UnixNano()) }
func (t *turned) end()  { t.at.Store(0) }

// Stalled returns for how long the scheduler has been at one and the same step,
// such as a claim; 0 while it has nothing to do. More than a few seconds means
// that it waits for the store or for a lock, in vain.
func (d *Deliverer) Stalled() time.Duration {
	at := d.turned.at.Load()
	if at == 0 {
		return 0
	}
	return max(0, time.Since(time.Unix(0, at)))
}

// transportOf is the name of the transport by which a recipient went, or would have gone. Behind
// the servers of the route's own transport stand those of others (see mail.RouteKey).
func (t *transaction) transportOf(recipient int, o *mail.Outcome) string {
	if t.ways != nil {
		return t.ways[recipient]
	}
	for i := range t.route.Hops {
		h := &t.route.Hops[i]
		if h.Host == o.Host && (h.Socket != "" || slices.Contains(h.Addresses, o.Address)) {
			return h.Transport
		}
	}
	return t.route.Name
}

// TransportUse is what a transport has in hand at a moment.
type TransportUse struct {
	// Connections are those to its servers, the idle ones included; Down how many of its sites
	// could not be reached and are left alone.
	Connections, Down int
}

// TransportUses returns what each transport of the settings has in hand, by its name.
func (d *Deliverer) TransportUses() map[string]TransportUse {
	uses := make(map[string]TransportUse)
	for _, name := range d.settings.Load().TransportNames {
		uses[name] = TransportUse{}
	}
	d.sites.mu.Lock()
	defer d.sites.mu.Unlock()
	for _, x := range d.sites.byName {
		use, known := uses[x.transport]
		if !known {
			continue
		}
		use.Connections += x.slots.used + len(x.idle)
		if x.down() {
			use.Down++
		}
		uses[x.transport] = use
	}
	return uses
}
