package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"postern/internal/config"
	"postern/internal/monitor"
	"postern/internal/systemd"
)

// stalled is the time without progress from which the server is not well. A
// disk that is merely slow is far from it.
const stalled = time.Minute

// watch is how those outside see whether the server is well.
type watch struct {
	serving atomic.Bool // from the start to the stop
	fed     context.CancelFunc
	socket  net.Listener
	server  *monitor.Server
}

// healthy says why the server makes no progress, nil if it does.
func (d *Daemon) healthy() error {
	var errs []error
	if t := d.store.Stalled(); t > stalled {
		errs = append(errs, fmt.Errorf("nothing has become durable for %s", t.Round(time.Second)))
	}
	if t := d.deliverer.Stalled(); t > stalled {
		errs = append(errs, fmt.Errorf("the scheduler has not moved for %s", t.Round(time.Second)))
	}
	return errors.Join(errs...)
}

// errNotServing is what is said before the start and after the stop.
var errNotServing = errors.New("the server is starting or stopping")

// ready says why the server takes no mail, nil if it does.
func (d *Daemon) ready() error {
	if !d.watch.serving.Load() {
		return errNotServing
	}
	return errors.Join(d.gauge.Refuse(0), d.healthy())
}

// bindMonitor binds the socket for those who watch, if there is to be one.
func (d *Daemon) bindMonitor(c *config.Config) error {
	at := c.Monitoring.Address
	if !at.IsValid() {
		return nil
	}
	socket, err := net.Listen(networkOf(at), at.String())
	if err != nil {
		return c.Wrong("monitoring.address", cannotListen(at, err, listenHint(err)))
	}
	d.watch.socket = socket
	d.watch.server = monitor.New(monitor.Options{Metrics: d.counts.set, Healthy: d.healthy, Ready: d.ready, Logger: d.Logger})
	return nil
}

// startWatch lets the server be watched until it is closed. The watchdog is fed
// until the end, for which systemd has a time of its own.
func (d *Daemon) startWatch() {
	ctx, stop := context.WithCancel(context.Background())
	d.watch.fed = stop
	d.serving.Go(func() { d.feed(ctx) })
	if d.watch.server == nil {
		return
	}
	d.Logger.Info("monitoring", "address", d.watch.socket.Addr().String())
	d.serving.Go(func() { d.part("monitoring", d.watch.server.Serve(d.watch.socket)) })
}

// feed tells systemd's watchdog, if there is one, that the server makes progress,
// as long as it does.
func (d *Daemon) feed(ctx context.Context) {
	limit, err := systemd.Watchdog()
	d.untold(err)
	if limit == 0 {
		return
	}
	ticker := time.NewTicker(limit / 3)
	defer ticker.Stop()
	for {
		if err := d.healthy(); err != nil {
			d.Logger.Error("no progress; systemd will end the server if this goes on", "error", err, "limit", limit)
		} else {
			d.untold(systemd.Alive())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// begun tells those outside that the server serves.
func (d *Daemon) begun() {
	d.watch.serving.Store(true)
	d.tellServing()
}

// tellServing tells systemd where the server serves, if it does.
func (d *Daemon) tellServing() {
	if !d.watch.serving.Load() {
		return
	}
	d.mu.Lock()
	var at []string
	for _, l := range d.listeners {
		at = append(at, l.name+" at "+l.socket.Addr().String())
	}
	d.mu.Unlock()
	d.untold(systemd.Ready("Serving " + strings.Join(at, ", ")))
}

// ending tells those outside that the server stops.
func (d *Daemon) ending() {
	d.watch.serving.Store(false)
	d.untold(systemd.Stopping())
}

// untold logs what could not be told.
func (d *Daemon) untold(err error) {
	if err != nil {
		d.Logger.Warn("those who watch were not told", "error", err)
	}
}

// closeWatch ends what startWatch began to serve.
func (d *Daemon) closeWatch() {
	if d.watch.server == nil {
		return
	}
	d.watch.server.Shutdown()
	d.watch.socket.Close()
}

// endFeed lets the watchdog starve, at the very end.
func (d *Daemon) endFeed() {
	if d.watch.fed != nil {
		d.watch.fed()
	}
}
