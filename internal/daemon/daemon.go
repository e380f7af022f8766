// Package daemon wires the parts into a server: it builds them from the
// configuration, starts them in the order in which they need each other, and
// stops them in the reverse.
//
// New builds and checks without touching disk or network, except to read the
// files that the configuration names. Run fails when something cannot be
// opened or bound, when a part ends by itself, and when the store reports a
// commit whose outcome is unknown: then the process must end at once, and
// does so without another reply to anybody.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/crashpoint"
	"postern/internal/deliver"
	"postern/internal/intake"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/pressure"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
	"postern/internal/smtpserver"
)

// grace is how long sessions and attempts may go on after the stop.
const grace = 30 * time.Second

// Options are what a Daemon needs beside its configuration.
type Options struct {
	Version string
	Logger  *slog.Logger
	// Ready is told, once, when all listeners are bound and served.
	Ready func(admin.Status)
}

// Daemon is a server that is built but not running.
type Daemon struct {
	Options
	config  *config.Config
	clock   *mail.SteppedClock
	started time.Time
	ids     mail.IDs
	tls     []*tls.Config // of the listeners, in their order
	local   *intake.Local

	journal *journal.Journal
	store   *embedded.Store
	gauge   *pressure.Gauge
	// suspended is the store for an operator, and knows what is suspended.
	suspended *suspendable
	// credentials are those for the smarthosts.
	credentials mail.Credentials

	listeners []*listener
	// submission takes mail from users of this host; nil when it is not to.
	submission *submission
	deliverer  *deliver.Deliverer
	socket     net.Listener
	admin      *admin.Server
	api        api

	stop     context.CancelFunc
	failOnce sync.Once
	failed   chan error // the store's failure
	ended    chan error // parts that ended although nobody stopped them
	// The goroutines that Run started, in the order in which they end:
	// sessions and attempts, the journal's copying and the gauge, the
	// administrative socket.
	running, copying, serving sync.WaitGroup
}

// listener is one SMTP listener.
type listener struct {
	name   string
	socket net.Listener
	server *smtpserver.Server
}

// New builds a server from a configuration that was loaded without error. It
// fails when what the configuration names cannot be used, with all that is
// wrong, a line each.
func New(c *config.Config, o Options) (*Daemon, error) {
	d := newDaemon(c, o)
	if err := d.load(); err != nil {
		return nil, err
	}
	return d, nil
}

func newDaemon(c *config.Config, o Options) *Daemon {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Ready == nil {
		o.Ready = func(admin.Status) {}
	}
	return &Daemon{
		Options: o, config: c, clock: mail.NewSteppedClock(),
		failed: make(chan error, 1),
		ended:  make(chan error, len(c.Listeners)+5), // a place for each part
	}
}

// load reads what the configuration names, and tells of all that is wrong.
func (d *Daemon) load() error {
	return errors.Join(d.loadCertificates(), d.loadCredentials(), d.loadAPI(), d.loadLocal())
}

// Run serves until ctx ends or the administrative socket is told to stop,
// then stops in good order. When a part that it cannot do without ends by
// itself, Run stops in good order too, and fails.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, d.stop = context.WithCancel(ctx)
	defer d.stop()
	d.started = d.clock.Now()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(d.memoryBudget()))
	if err := d.open(); err != nil {
		return errors.Join(err, d.close())
	}
	lasting := context.WithoutCancel(ctx)
	deliverCtx, stopDelivery := context.WithCancel(lasting)
	defer stopDelivery()
	copyCtx, stopCopy := context.WithCancel(lasting)
	defer stopCopy()
	d.start(deliverCtx, copyCtx)

	d.journal.Record(mail.Fact{Reason: mail.ReasonStarted, Time: d.started, Text: d.Version})
	d.Logger.Info("started", "version", d.Version, "hostname", d.config.Hostname, "data_dir", d.config.DataDir)
	d.Ready(d.status())

	var cause error
	select {
	case err := <-d.failed:
		return storeFailed(err)
	case cause = <-d.ended:
	case <-ctx.Done():
	}
	stopped := make(chan error, 1)
	go func() { stopped <- d.finish(stopDelivery, stopCopy) }()
	select {
	case err := <-d.failed: // nobody waits for finish: the process ends
		return storeFailed(err)
	case err := <-stopped:
		return errors.Join(cause, err)
	}
}

// storeFailed is the end without good order: what is still under way must
// not go on.
func storeFailed(err error) error {
	return fmt.Errorf("the store failed, and the server ends at once without another reply: %w", err)
}

// finish stops everything in good order.
func (d *Daemon) finish(stopDelivery, stopCopy context.CancelFunc) error {
	d.Logger.Info("stopping", "connections", d.connections(), "active", d.store.Leased(), "grace", grace)
	stopDelivery() // what is accepted from now on waits for the next start
	d.stopListeners()
	d.running.Wait()
	stopCopy()
	d.copying.Wait()
	d.journal.Record(mail.Fact{Reason: mail.ReasonStopped, Time: d.clock.Now(), Text: d.Version})
	err := d.close()
	if err == nil {
		d.Logger.Info("stopped")
	}
	return err
}

// open opens what lies on the disk and binds the sockets.
func (d *Daemon) open() error {
	dir := d.config.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	err := checkRestored(d.config)
	if err != nil {
		return err
	}
	// The store first: it has the lock that says who holds it.
	d.store, err = embedded.Open(queueDir(d.config), embedded.Options{
		Clock:   d.clock,
		Logger:  d.Logger,
		Failed:  d.fail,
		Reserve: min(embedded.DefaultReserve, d.config.Pressure.MinFreeSpace),
	})
	if err != nil {
		return namedInUse(d.config, fmt.Errorf("cannot open the queue: %w", err))
	}
	if d.suspended, err = newSuspendable(d.store); err != nil {
		return fmt.Errorf("cannot tell what is suspended: %w", err)
	}
	d.journal, err = journal.Open(journalDir(d.config), journal.Options{
		MaxFile: d.config.Journal.MaxFile,
		Keep:    d.config.Journal.Keep,
		Clock:   d.clock,
		Logger:  d.Logger,
	})
	if err != nil {
		return fmt.Errorf("cannot open the journal: %w", err)
	}
	crashpoint.Reach(crashpoint.Opened)
	if err := d.journal.Trim(context.Background(), queue.FactSource, d.store); err != nil {
		return fmt.Errorf("cannot match the queue with the journal: %w", err)
	}
	d.gauge = pressure.New(d.gaugeOptions())
	if err := d.bind(); err != nil {
		return err
	}
	d.deliverer = deliver.New(d.deliverOptions())
	d.clock.OnStep(func(at time.Time, by time.Duration) {
		d.store.Shift(by)
		d.deliverer.Stepped(at, by)
	})
	return nil
}

// fail ends the process's work at once: no more replies, no more attempts.
func (d *Daemon) fail(err error) {
	d.failOnce.Do(func() { d.failed <- err })
}

// part reports the end of a part of the server. It fails the server unless
// there was no error.
func (d *Daemon) part(name string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, queue.ErrUnknown):
		d.fail(err)
	default:
		d.Logger.Error(name+" ended", "error", err)
		d.ended <- fmt.Errorf("%s: %w", name, err)
	}
}

// start starts the goroutines that do the work. Sessions end by Shutdown
// alone.
func (d *Daemon) start(deliverCtx, copyCtx context.Context) {
	d.copying.Go(func() { d.part("the journal's copying", d.journal.Copy(copyCtx, d.store)) })
	d.copying.Go(func() { d.gauge.Run(copyCtx) })
	d.running.Go(func() { d.deliverer.Run(deliverCtx) })
	for _, l := range d.listeners {
		d.Logger.Info("listening", "listener", l.name, "address", l.socket.Addr().String())
		d.running.Go(func() { d.part("listener "+l.name, l.server.Serve(context.WithoutCancel(deliverCtx), l.socket)) })
	}
	d.startSubmission(context.WithoutCancel(deliverCtx), deliverCtx)
	d.serving.Go(func() { d.part("the administrative socket", d.admin.Serve(d.socket)) })
	if at := d.api.socket; at != nil {
		d.Logger.Info("serving the administrative API", "address", at.Addr().String(), "tls", d.api.tls != nil)
		d.serving.Go(func() { d.part("the administrative API", d.admin.Serve(at)) })
	}
}

// stopListeners lets sessions end; those in mid-message have the grace time.
func (d *Daemon) stopListeners() {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var stopping sync.WaitGroup
	for _, l := range slices.Concat(d.listeners, d.submissionListeners()) {
		stopping.Go(func() {
			if err := l.server.Shutdown(ctx); err != nil {
				d.Logger.Warn("sessions were cut off", "listener", l.name, "error", err)
			}
		})
	}
	stopping.Wait()
}

func (d *Daemon) connections() int {
	n := 0
	for _, l := range slices.Concat(d.listeners, d.submissionListeners()) {
		n += l.server.Connections()
	}
	return n
}

// close closes what open opened, also when it failed midway. The socket is
// the last to go: whoever waits for the end of the server watches it.
func (d *Daemon) close() error {
	var errs []error
	for _, l := range slices.Concat(d.listeners, d.submissionListeners()) {
		l.socket.Close()
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	if d.journal != nil {
		errs = append(errs, d.journal.Close())
	}
	if d.socket != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		errs = append(errs, d.admin.Shutdown(ctx))
		d.socket.Close()
		if d.api.socket != nil {
			d.api.socket.Close()
		}
	}
	d.serving.Wait()
	return errors.Join(errs...)
}
