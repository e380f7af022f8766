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
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/admin"
	"postern/internal/auth"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/container"
	"postern/internal/crashpoint"
	"postern/internal/deliver"
	"postern/internal/directory"
	"postern/internal/dns"
	"postern/internal/intake"
	"postern/internal/journal"
	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/pool"
	"postern/internal/pressure"
	"postern/internal/quarantine"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
	"postern/internal/senders"
	"postern/internal/smtpserver"
)

// grace is how long sessions and attempts may go on after the stop.
const grace = 30 * time.Second

// Options are what a Daemon needs beside its configuration.
type Options struct {
	Version string
	Logger  *slog.Logger
	// Level is that of the Logger, if it can be changed.
	Level *slog.LevelVar
	// Load reads the configuration anew, for a reload. Nil: there is no reload.
	Load func() (*config.Config, error)
	// Hangup asks for a reload with each signal. It may be nil.
	Hangup <-chan os.Signal
	// Sockets are those of listeners that are bound already; the Daemon has them
	// from New on, and closes those that are for no listener.
	Sockets Sockets
	// Ready is told, once, when all listeners are bound and served.
	Ready func(admin.Status)
}

// Daemon is a server that is built but not running.
type Daemon struct {
	Options
	clock   *mail.SteppedClock
	started time.Time
	ids     mail.IDs

	journal *journal.Journal
	store   *embedded.Store
	// directory has the records. It is open before anybody is served.
	directory *directory.Directory
	// senders is who sends, and is in the directory.
	senders *senders.Inventory
	// logins is what verifies clients, and keeps those out who guess.
	logins logins
	// trapped are the local domains whose mail the world sends elsewhere.
	trapped trapped
	gauge   *pressure.Gauge
	counts  counts
	watch   watch
	sockets *smtpserver.Sockets // of all listeners
	// handshakes are those of all listeners; sessions have the other processors.
	handshakes *smtpserver.Handshakes
	// suspended is the store for an operator, and knows what is suspended.
	suspended *suspendable
	// inspections bounds what policy looks at at a time, whatever is reloaded.
	inspections *intake.Inspections
	// limits is what policy has counted.
	limits *limit.Set
	// accountLimits is what accounts have sent. There are as many limits as different
	// numbers are recorded, and none is forgotten.
	accountLimits *limit.Set
	// namer looks up the names of clients.
	namer *dns.Namer
	// submission takes mail from users of this host; nil when it is not to.
	submission     *submission
	deliverer      *deliver.Deliverer
	pools          *pool.Set // of target servers
	keeper         *quarantine.Keeper
	socket         net.Listener
	admin          *admin.Server
	apiSocket      net.Listener // nil: the API is at no TCP address
	apiCertificate *certs.Files // nil: it is in clear
	// expiryLooked is when it was looked last which certificates are about to end.
	expiryLooked time.Time
	// acme has certificates from an authority.
	acme *certs.Manager
	// around is where the server runs, as it was seen last; masked are the clients of
	// which it was told that their address tells nobody.
	around atomic.Pointer[container.Surroundings]
	masked sync.Map

	// reloading is held for a whole reload. mu comes after it, and guards what
	// follows.
	reloading sync.Mutex
	mu        sync.Mutex
	graph     *graph // in force
	// reloadFailure is why the last reload failed; nil when it did not.
	reloadFailure *admin.ReloadFailure
	// listeners take clients, in the order of the configuration, halted are the
	// names of those that were stopped by hand, and leaving take none any more,
	// but have some still.
	listeners []*listener
	halted    map[string]bool
	leaving   []*listener
	stopping  bool // the server stops: nothing is started any more
	// retired are directories of graphs that were replaced, which sessions may ask.
	retired []*ldapSource

	stop     context.CancelFunc
	failOnce sync.Once
	failed   chan error // the store's failure
	ended    chan error // parts that ended although nobody stopped them
	// The goroutines that Run started, in the order in which they end:
	// sessions and attempts, the journal's copying and the gauge, the
	// administrative socket.
	running, copying, serving sync.WaitGroup
}

// New builds a server from a configuration that was loaded without error. It
// fails when what the configuration names cannot be used, with all that is
// wrong, a line each.
func New(c *config.Config, o Options) (*Daemon, error) {
	d := newDaemon(c, o)
	if err := d.graph.load(); err != nil {
		return nil, err
	}
	d.around.Store(&d.graph.around)
	return d, nil
}

// newGraph returns a graph of this server that has read nothing yet.
func (d *Daemon) newGraph(c *config.Config) *graph {
	g := newGraph(c, d.clock)
	g.told = told{list: d.tellList, blockList: d.tellBlockList, lists: d.counts.lists, blockLists: d.counts.blockLists, logger: d.Logger}
	g.told.ldap = d.counts.ldap
	if d.graph != nil {
		g.certificates.store, g.keys = d.graph.certificates.store, d.graph.keys
	}
	g.certificates.acme = d.acme
	g.told.source, g.told.oidc, g.told.httpAuth = d.tellSource, d.counts.oidc, d.counts.httpAuth
	g.lasting = lasting{
		pools: d.pools, limits: d.limits, accountLimits: d.accountLimits, metrics: d.counts.policy, masks: d.masks,
		directory: func() *directory.Directory { return d.directory },
	}
	return g
}

func newDaemon(c *config.Config, o Options) *Daemon {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Ready == nil {
		o.Ready = func(admin.Status) {}
	}
	if o.Level == nil {
		o.Level = new(slog.LevelVar)
		o.Level.Set(c.Log.Level)
	}
	clock := mail.NewSteppedClock()
	d := &Daemon{
		Options: o, clock: clock, halted: make(map[string]bool),
		handshakes: smtpserver.NewHandshakes(runtime.GOMAXPROCS(0) / 2),
		sockets:    smtpserver.NewSockets(clientDescriptors(pressure.Descriptors(), c.Delivery.MaxConnections)),
		failed:     make(chan error, 1),
		ended:      make(chan error, 1),
	}
	d.logins.hasher = auth.NewHasher(0, clock)
	d.counts = newCounts(d)
	d.inspections = intake.NewInspections(0)
	d.limits, d.accountLimits = limit.NewSet(clock), limit.NewSet(clock)
	d.acme = d.newManager(c)
	d.pools = newPools(d)
	d.graph = d.newGraph(c)
	d.namer = dns.NewNamer(dns.NamerOptions{Resolver: d.clientResolver})
	return d
}

// Run serves until ctx ends or the administrative socket is told to stop,
// then stops in good order. When a part that it cannot do without ends by
// itself, Run stops in good order too, and fails.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, d.stop = context.WithCancel(ctx)
	defer d.stop()
	d.started = d.clock.Now()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(d.graph.memoryBudget()))
	if err := d.open(); err != nil {
		return errors.Join(err, d.close())
	}
	lasting := context.WithoutCancel(ctx)
	deliverCtx, stopDelivery := context.WithCancel(lasting)
	defer stopDelivery()
	copyCtx, stopCopy := context.WithCancel(lasting)
	defer stopCopy()
	d.start(deliverCtx, copyCtx)
	d.running.Go(func() { d.reloadOnHangup(ctx) })
	d.running.Go(func() { d.watchFiles(ctx) })
	d.wantCertificates()
	d.running.Go(func() { d.tendIssuers(ctx) })
	d.running.Go(func() { d.watchDomains(ctx) })
	d.running.Go(func() { d.tendKeys(ctx) })

	d.journal.Record(mail.Fact{Reason: mail.ReasonStarted, Time: d.started, Text: d.Version})
	c := d.inForce().config // which a reload may replace by now
	d.Logger.Info("started", "version", d.Version, "hostname", c.Hostname, "data_dir", c.DataDir)
	d.warn(c.Warnings)
	d.begun()
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
	d.ending()
	d.stop()       // the reloads, when it was a part that ended
	stopDelivery() // what is accepted from now on waits for the next start
	d.stopListeners()
	d.running.Wait()
	d.acme.Close() // it tells the journal
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
	g := d.graph
	dir := g.config.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	err := checkRestored(g.config)
	if err != nil {
		return err
	}
	// The store first: it has the lock that says who holds it.
	d.store, err = embedded.Open(queueDir(g.config), embedded.Options{
		Clock:   d.clock,
		Logger:  d.Logger,
		Failed:  d.fail,
		Reserve: reserve(g),
		Metrics: d.counts.store,
	})
	if err != nil {
		return namedInUse(g.config, fmt.Errorf("cannot open the queue: %w", err))
	}
	if d.suspended, err = newSuspendable(d.store); err != nil {
		return fmt.Errorf("cannot tell what is suspended: %w", err)
	}
	d.journal, err = journal.Open(journalDir(g.config), journal.Options{Limits: journalLimits(g), Clock: d.clock, Logger: d.Logger})
	if err != nil {
		return fmt.Errorf("cannot open the journal: %w", err)
	}
	crashpoint.Reach(crashpoint.Opened)
	if err := d.journal.Trim(context.Background(), queue.FactSource, d.store); err != nil {
		return fmt.Errorf("cannot match the queue with the journal: %w", err)
	}
	if err := d.openDirectory(g); err != nil {
		return err
	}
	if err := d.openLogins(g); err != nil {
		return err
	}
	d.gauge = pressure.New(d.gaugeOptions(g))
	d.changePools(g)
	d.deliverer = deliver.New(d.deliverOptions(g))
	d.suspended.tell(d.deliverer.SuspendSite)
	d.keeper = quarantine.New(quarantine.Options{
		Store: d.store, Changes: d.store.LastFact, Settings: d.quarantineSettings(g), Clock: d.clock, Logger: d.Logger,
	})
	if err := d.bind(g); err != nil {
		return err
	}
	d.clock.OnStep(func(at time.Time, by time.Duration) {
		d.store.Shift(by)
		d.limits.Shift(by)
		d.accountLimits.Shift(by)
		d.deliverer.Stepped(at, by)
	})
	return nil
}

// bind binds all sockets before anything is served, so that a server that
// cannot have one of them does nothing at all.
func (d *Daemon) bind(g *graph) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	line, err := d.lineUp(g)
	if err != nil {
		return err
	}
	d.field(g, line)
	d.closeUnused()
	if err := d.bindMonitor(g.config); err != nil {
		return err
	}
	if err := d.openSubmission(g); err != nil {
		return err
	}
	return d.bindAdmin(g)
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
		select {
		case d.ended <- fmt.Errorf("%s: %w", name, err):
		default: // another part has ended before, which is enough
		}
	}
}

// start starts the goroutines that do the work. Sessions end by Shutdown
// alone.
func (d *Daemon) start(deliverCtx, copyCtx context.Context) {
	d.copying.Go(func() { d.part("the journal's copying", d.journal.Copy(copyCtx, d.store)) })
	d.copying.Go(func() { d.part("the journal's copying of the directory", d.journal.Copy(copyCtx, d.directory)) })
	d.copying.Go(func() { d.gauge.Run(copyCtx) })
	d.running.Go(func() { d.guardLogins(deliverCtx) })
	d.running.Go(func() { d.pools.Run(deliverCtx) })
	d.running.Go(func() { d.deliverer.Run(deliverCtx) })
	d.running.Go(func() { d.part("the quarantine", d.keeper.Run(deliverCtx)) })
	for _, l := range d.listeners {
		d.serve(l)
	}
	d.startSubmission(context.WithoutCancel(deliverCtx), deliverCtx)
	d.startWatch()
	d.serving.Go(func() { d.part("the administrative socket", d.admin.Serve(d.socket, nil)) })
	if at := d.apiSocket; at != nil {
		d.Logger.Info("serving the administrative API", "address", at.Addr().String(), "tls", d.graph.api.tls != nil)
		d.serving.Go(func() { d.part("the administrative API", d.admin.Serve(at, d.graph.api.tls)) })
	}
}

// close closes what open opened, also when it failed midway. The socket is
// the last to go: whoever waits for the end of the server watches it.
func (d *Daemon) close() error {
	var errs []error
	d.closeWatch() // it reads the store
	d.acme.Close()
	d.namer.Close()
	for _, l := range slices.Concat(d.listeners, d.submissionListeners()) {
		l.socket.Close()
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	if d.senders != nil {
		errs = append(errs, d.senders.Close())
	}
	if d.directory != nil {
		errs = append(errs, d.directory.Close())
	}
	if d.journal != nil {
		errs = append(errs, d.journal.Close())
	}
	if d.socket != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		errs = append(errs, d.admin.Shutdown(ctx))
		d.socket.Close()
		if d.apiSocket != nil {
			d.apiSocket.Close()
		}
	}
	d.endFeed()
	d.serving.Wait()
	d.closeLDAP()
	return errors.Join(errs...)
}
