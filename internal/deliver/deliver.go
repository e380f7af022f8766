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
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
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
	Route(ctx context.Context, d mail.Destination) (route.Route, error)
}

// Options are what a Deliverer needs. Hostname, Store, Router and IDs are
// required; a zero number means its default.
type Options struct {
	// Hostname is the name in EHLO and in reports.
	Hostname string
	Store    Store
	Router   Router
	IDs      *mail.IDs
	// Client is how connections are made; the TLS policy of a hop replaces
	// the one in it.
	Client smtpclient.Options
	// Retry is for mail (mail.DefaultSchedule), RetryReports for what has the
	// null sender (likewise, for one day).
	Retry, RetryReports mail.Schedule
	// DelayWarning is the age from which the sender of mail that still waits is
	// told so; 0: never.
	DelayWarning time.Duration
	// ReportTo returns the address at which a sender is told what became of its
	// mail; false when there is nobody to tell. Nil: the sender itself.
	ReportTo func(sender mail.Address) (mail.Address, bool)
	// CopyFailures gets a copy of every report of failure; the zero address:
	// nobody does.
	CopyFailures mail.Address
	// MaxTransactions is how many transactions run at once (500);
	// MaxPerSite how many of these, and connections, one site has (20).
	MaxTransactions, MaxPerSite int
	// MaxRecipients is the number of recipients in one transaction (100).
	MaxRecipients int
	// IdleTimeout is how long a connection is kept for the next message (5 s).
	IdleTimeout time.Duration
	// Grace is how long attempts may go on after the stop (30 s).
	Grace time.Duration

	// Record takes facts about sites and the clock. It must not block.
	Record func(mail.Fact)
	// Jitter returns by which part of itself a wait is prolonged, so that what
	// failed together does not come back together (at random, up to 0.1).
	Jitter func() float64

	Clock  mail.Clock
	Logger *slog.Logger
	// Failed is told, once, of an error after which the process must end.
	Failed func(error)
}

// lease is how long a claim lasts before it must be renewed.
const lease = 10 * time.Minute

// Deliverer attempts what is due.
type Deliverer struct {
	Options
	sites *sites
	hosts hosts
	steps steps
	// wake tells the scheduler that a slot is free.
	wake chan struct{}
	// running counts transactions between their claim and their settlement.
	running sync.WaitGroup
	slots   chan struct{}
	started time.Time // by Run
	failing sync.Once
}

// New returns a Deliverer. Run sets it to work.
func New(o Options) *Deliverer {
	o.setDefaults()
	return &Deliverer{
		Options: o,
		sites:   newSites(o.MaxPerSite, o.IdleTimeout),
		wake:    make(chan struct{}, 1),
		slots:   make(chan struct{}, o.MaxTransactions),
	}
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
	if o.Jitter == nil {
		o.Jitter = func() float64 { return rand.Float64() / 10 }
	}
	if o.ReportTo == nil {
		o.ReportTo = func(sender mail.Address) (mail.Address, bool) { return sender, true }
	}
	if o.Retry.Until == 0 {
		o.Retry = mail.DefaultSchedule
	}
	if o.RetryReports.Until == 0 {
		o.RetryReports = mail.DefaultSchedule
		o.RetryReports.Until = 24 * time.Hour
	}
	setDefault(&o.MaxTransactions, 500)
	setDefault(&o.MaxPerSite, 20)
	setDefault(&o.MaxRecipients, 100)
	setDefault(&o.IdleTimeout, 5*time.Second)
	setDefault(&o.Grace, 30*time.Second)
	o.Client.Hostname = o.Hostname
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
	d.started = d.Clock.Now()
	d.schedule(ctx, attempts)
	stop := time.AfterFunc(d.Grace, cancel)
	d.running.Wait()
	stop.Stop()
	d.sites.close()
}

// fail reports an error of the store. A commit whose outcome is unknown ends
// the process, which says why once, not for each message under way; anything
// else leaves the leases to lapse, so that the mail is attempted again.
func (d *Deliverer) fail(what string, t *transaction, err error) {
	if errors.Is(err, queue.ErrUnknown) {
		d.end(err)
		return
	}
	d.Logger.Error(what, "message", t.entry.ID, "error", err)
}

// end tells, once, that the process must end.
func (d *Deliverer) end(err error) {
	if d.Failed != nil {
		d.failing.Do(func() { d.Failed(err) })
	}
}
