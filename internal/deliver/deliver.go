// Package deliver attempts what is due and decides what becomes of it.
//
// A scheduler claims deliveries from the queue, groups those of one message
// that lead to the same site into one transaction, and keeps connections for
// the next. What an attempt made of each recipient (delivered, deferred
// until when, bounced, expired, dead) is decided in one place, outcome.go, and
// settled with its report and its facts in one commit.
//
// Nothing here is permanent by accident: an error nobody foresaw defers.
package deliver

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/report"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// Store is what deliver uses of the queue.
type Store interface {
	queue.Accepter
	queue.Scheduler
	queue.Reader
}

// Router chooses the way of a delivery, anew at every attempt. An error that
// is a mail.Error says what becomes of the recipients; any other defers.
type Router interface {
	Route(ctx context.Context, q route.Question) (route.Route, error)
}

// Options are what a Deliverer needs. Store and IDs are required; a zero number
// means its default.
type Options struct {
	Store Store
	IDs   *mail.IDs
	// Settings are those to begin with; Change replaces them.
	Settings Settings
	// Grace is how long attempts may go on after the stop (30 s).
	Grace time.Duration

	// Record takes facts about sites and the clock. It must not block.
	Record func(mail.Fact)
	// Jitter returns by which part of itself a wait is prolonged, so that what
	// failed together does not come back together (at random, up to 0.1).
	Jitter func() float64

	Clock  mail.Clock
	Logger *slog.Logger
	// Metrics count what comes of attempts; nil: for nobody.
	Metrics *Metrics
	// Failed is told, once, of an error after which the process must end.
	Failed func(error)
}

// Settings are what can be changed while a Deliverer runs. Hostname and Router
// are required; a zero number means its default.
type Settings struct {
	// Hostname is the name in EHLO.
	Hostname string
	// Signer signs reports. Nil: nobody does.
	Signer report.Signer
	// Company returns whose mail that of a sender is. Nil: nobody's in particular.
	Company func(sender mail.Address) mail.Company
	Router  Router
	// Choose returns where a recipient goes that is at a destination now: there, or elsewhere
	// when the routes have changed (route.Table). It is asked at every attempt. Nil: there.
	Choose func(r mail.Routing, at mail.Destination) mail.Destination
	// ChoiceChanges counts the changes of what Choose asks (maps, lists, records). Nil: there are
	// none but those of the settings.
	ChoiceChanges func() uint64
	// Transports are how mail goes by a transport, by its name, where that is not
	// as the other settings say.
	Transports map[string]Transport
	// TransportNames are those of all transports, for whoever watches.
	TransportNames []string
	// Client is how connections are made; what the lane of a hop says replaces what
	// is in it.
	Client smtpclient.Options
	// Retry is for mail (mail.DefaultSchedule), RetryReports for what has the
	// null sender (likewise, for one day).
	Retry, RetryReports mail.Schedule
	// DelayWarning is the age from which the sender of mail that still waits is
	// told so; 0: never.
	DelayWarning time.Duration
	// ReportTo returns the addresses at which a sender is told what became of its
	// mail; none when there is nobody to tell. Nil: the sender itself.
	ReportTo func(sender mail.Address) []mail.Address
	// CopyFailures lets the postmaster of the sender's company have a copy of every
	// report of failure.
	CopyFailures bool
	// MaxTransactions is how many transactions run at once (500);
	// MaxPerSite how many of these, and connections, one site has (20).
	MaxTransactions, MaxPerSite int
	// MaxRecipients is the number of recipients in one transaction (100).
	MaxRecipients int
	// IdleTimeout is how long a connection is kept for the next message (5 s).
	IdleTimeout time.Duration

	since time.Time // they are in force
	// transports and others are what Settings.transport returns.
	transports map[string]*Transport
	others     Transport
}

// lease is how long a claim lasts before it must be renewed.
const lease = 10 * time.Minute

// Deliverer attempts what is due.
type Deliverer struct {
	Options
	// settings are those of every attempt that begins now.
	settings atomic.Pointer[Settings]
	sites    *sites
	rates    *limit.Set // of the transports
	hosts    hosts
	steps    steps
	chosen   noted // when routes were seen to be others, by attempts
	looked   noted // and by RoutesLooked
	// wake tells the scheduler that a slot is free.
	wake chan struct{}
	// running are the transactions between their claim and their settlement,
	// and active counts them.
	running sync.WaitGroup
	active  atomic.Int64
	started time.Time // by New
	turned  turned    // of the scheduler
	tally   tally     // of what was settled
	failing sync.Once
}

// New returns a Deliverer. Run sets it to work.
func New(o Options) *Deliverer {
	o.setDefaults()
	s := o.Settings.withDefaults()
	d := &Deliverer{
		Options: o,
		sites:   newSites(s.MaxPerSite, s.IdleTimeout),
		rates:   limit.NewSet(o.Clock),
		wake:    make(chan struct{}, 1),
		started: o.Clock.Now(),
	}
	s.since = d.started
	d.Metrics.byTransport.Keep(s.TransportNames)
	d.settings.Store(s)
	d.sites.settings, d.sites.hasten = s, d.hasten
	return d
}

// Change replaces the settings, for every attempt that begins from now on. An
// attempt that is under way ends with those it has; its connection is not kept,
// and none that was.
func (d *Deliverer) Change(s Settings) {
	next := s.withDefaults()
	next.since = d.Clock.Now()
	d.settings.Store(next)
	d.Metrics.byTransport.Keep(next.TransportNames)
	d.sites.change(next)
	d.rates.Keep(next.rates())
	d.free() // there may be room for more
}

func (o *Options) setDefaults() {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Record == nil {
		o.Record = func(mail.Fact) {}
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return rand.Float64() / 10 }
	}
	setDefault(&o.Grace, 30*time.Second)
}

func (s Settings) withDefaults() *Settings {
	if s.ReportTo == nil {
		s.ReportTo = func(sender mail.Address) []mail.Address { return []mail.Address{sender} }
	}
	if s.Retry.Until == 0 {
		s.Retry = mail.DefaultSchedule
	}
	if s.RetryReports.Until == 0 {
		s.RetryReports = mail.DefaultSchedule
		s.RetryReports.Until = 24 * time.Hour
	}
	if s.Company == nil {
		general := mail.Company{Hostname: s.Hostname}
		s.Company = func(mail.Address) mail.Company { return general }
	}
	if s.ChoiceChanges == nil {
		s.ChoiceChanges = func() uint64 { return 0 }
	}
	setDefault(&s.MaxTransactions, 500)
	setDefault(&s.MaxPerSite, 20)
	setDefault(&s.MaxRecipients, 100)
	setDefault(&s.IdleTimeout, 5*time.Second)
	s.Client.Hostname = s.Hostname
	s.setTransports()
	return &s
}

// reportTo returns whom to tell. There is never a report about a report: it
// has the null sender (RFC 5321 4.5.5).
func (s *Settings) reportTo(sender mail.Address) []mail.Address {
	if sender.IsNull() {
		return nil
	}
	return s.ReportTo(sender)
}

func setDefault[T int | time.Duration](value *T, byDefault T) {
	if *value == 0 {
		*value = byDefault
	}
}

// Run attempts what is due until ctx ends. Then it claims no more, lets
// running attempts finish for the time of Grace, and closes its connections.
func (d *Deliverer) Run(ctx context.Context) {
	attempts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	d.schedule(ctx, attempts)
	stop := time.AfterFunc(d.Grace, cancel)
	d.running.Wait()
	stop.Stop()
	d.sites.close()
}

// fail reports an error of the store. A commit whose outcome is unknown ends
// the process, which says why once, not for each message under way; anything
// else leaves the leases to lapse, so that the mail is attempted again.
func (d *Deliverer) fail(what string, message mail.ID, err error) {
	if errors.Is(err, queue.ErrUnknown) {
		d.end(err)
		return
	}
	d.Logger.Error(what, "message", message, "error", err)
}

// end tells, once, that the process must end.
func (d *Deliverer) end(err error) {
	if d.Failed != nil {
		d.failing.Do(func() { d.Failed(err) })
	}
}
