package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/systemd"
)

// This file replaces the graph of a server that runs. Everything that can fail
// comes before the swap: the files, what they name, and the sockets.

// hangup is who asks for a reload with a signal.
const hangup = "SIGHUP"

var errNoConfiguration = errors.New("this server was started without a configuration file; it has none to read again")

// reloadOnHangup reloads with each signal until ctx ends. Signals that come
// meanwhile are one.
func (d *Daemon) reloadOnHangup(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.Hangup:
			_, _ = d.Reload(hangup) // it has told of its error
		}
	}
}

// Reload reads the configuration again, with all files that it names, and puts
// it in force as a whole; actor is who asked. Any error leaves everything as it
// is, and says all that is wrong, a line each, with file, line and column where
// it is in a file. When nothing has changed, nothing is done.
func (d *Daemon) Reload(actor string) (admin.Reloaded, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	d.untold(systemd.Reloading())
	defer d.tellServing()
	done, err := d.reload()
	if err != nil {
		d.tellReloadFailed(actor, err)
		return admin.Reloaded{}, err
	}
	d.tellReloaded(actor, done)
	return done, nil
}

func (d *Daemon) reload() (admin.Reloaded, error) {
	if d.Load == nil {
		return admin.Reloaded{}, errNoConfiguration
	}
	c, err := d.Load()
	if err != nil {
		return admin.Reloaded{}, err
	}
	running := d.graph // only a reload writes it
	done := admin.Reloaded{Changes: []config.Change{}, Pending: []config.Change{}, Warnings: append([]config.Problem{}, c.Warnings...)}
	for _, change := range config.Changed(running.config, c) {
		if change.Effect == config.AtRestart {
			done.Pending = append(done.Pending, change)
		} else {
			done.Changes = append(done.Changes, change)
		}
	}
	config.KeepUntilRestart(running.config, c)
	next := d.newGraph(c)
	if err := next.load(); err != nil {
		return admin.Reloaded{}, err
	}
	// A case that fails does not keep the configuration out: mail that waits is worse
	// than a case that was not kept up. check fails on it.
	done.Warnings = append(done.Warnings, runCases(c, d.directory)...)
	next.follow(running)
	done.Changes = append(done.Changes, next.readAnew(running)...)
	if len(done.Changes) == 0 {
		next = running
	}
	done.Generation = next.generation
	if err := d.swap(next, running); err != nil {
		return done, err
	}
	d.wantCertificates()
	return done, nil
}

// swap puts a graph in force in the place of another.
func (d *Daemon) swap(next, running *graph) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return errEnding
	}
	if next != running {
		line, err := d.lineUp(next)
		if err != nil {
			return err
		}
		d.adjust(next, running)
		d.field(next, line)
		for _, l := range line.fresh {
			d.serve(l)
		}
		d.graph = next
	}
	d.around.Store(&next.around)
	d.reloadFailure = nil
	return nil
}

// adjust gives the parts that last their new settings.
func (d *Daemon) adjust(next, running *graph) {
	d.store.Reserve(reserve(next))
	d.journal.Change(journalLimits(next))
	d.gauge.Change(pressureLimits(next))
	debug.SetMemoryLimit(next.memoryBudget())
	d.changePools(next)
	d.credentials.Change(next.credentialSettings())
	d.deliverer.Change(d.deliverSettings(next))
	d.keeper.Change(d.quarantineSettings(next))
	d.logins.guard.Set(guardSettings(next.config))
	d.limits.Keep(next.policy.Limits())
	running.web.close()
	d.replaceLDAP(next, running)
	if level := next.config.Log.Level; level != running.config.Log.Level {
		d.Level.Set(level)
	}
}

// readAnew returns what differs from another graph in what the configuration
// names, although it names the same: certificates, secrets, and the addresses
// of the machine. No secret is shown.
func (g *graph) readAnew(before *graph) []config.Change {
	changes := g.certificateChanges(before)
	changes = append(changes, g.changedAuthorities(before)...)
	changes = append(changes, g.trustChanges(before)...)
	changes = append(changes, g.ldapReadAnew(before)...)
	if old, now := before.machine(), g.machine(); old != now {
		changes = append(changes, config.Change{Key: "the addresses of this machine", Old: old, New: now, Effect: config.AtReload})
	}
	return changes
}

// machine are the addresses that the machine itself has.
func (g *graph) machine() config.Value {
	return config.Value(fmt.Sprintf("%q", fmt.Sprint(g.local.Addresses[len(g.config.OwnAddresses):])))
}

// warn tells the log of what a configuration has that is allowed but unwise, such as an
// open relay.
func (d *Daemon) warn(found []config.Problem) {
	for _, w := range found {
		d.Logger.Warn("configuration: " + w.String())
	}
}

// maxTold is how many changes stand in one fact; the log has all of them.
const maxTold = 20

func (d *Daemon) tellReloaded(actor string, done admin.Reloaded) {
	for _, c := range done.Changes {
		d.Logger.Info("setting changed", "change", c.String())
	}
	for _, c := range done.Pending {
		d.Logger.Warn("setting takes effect at the next start only, and keeps its value until then", "change", c.String())
	}
	d.warn(done.Warnings)
	d.Logger.Info("reloaded", "actor", actor, "generation", done.Generation, "changes", len(done.Changes), "waiting_for_restart", len(done.Pending))
	text := []string{fmt.Sprintf("generation %d", done.Generation)}
	for _, c := range slices.Concat(done.Changes, done.Pending) {
		if len(text) > maxTold {
			text = append(text, fmt.Sprintf("and %d more", len(done.Changes)+len(done.Pending)-maxTold))
			break
		}
		line := c.String()
		if c.Effect == config.AtRestart {
			line += " (at the next start)"
		}
		text = append(text, line)
	}
	d.journal.Record(mail.Fact{Reason: mail.ReasonReloaded, Time: d.clock.Now(), Actor: actor, Text: strings.Join(text, "; ")})
}

// tellReloadFailed tells of a reload that failed, wherever an operator may look.
func (d *Daemon) tellReloadFailed(actor string, err error) {
	problems := strings.Split(err.Error(), "\n")
	for _, p := range problems {
		d.Logger.Error("reload failed, and everything stays as it is: "+p, "actor", actor)
	}
	now := d.clock.Now()
	d.mu.Lock()
	d.reloadFailure = &admin.ReloadFailure{At: now, Problems: problems}
	d.mu.Unlock()
	if len(problems) > maxTold {
		problems = append(problems[:maxTold:maxTold], fmt.Sprintf("and %d more", len(problems)-maxTold))
	}
	d.journal.Record(mail.Fact{Reason: mail.ReasonReloadFailed, Time: now, Actor: actor, Text: strings.Join(problems, "; ")})
}

// SetLogLevel changes the level of the log, until the process ends or a reload
// finds that the setting has changed.
func (d *Daemon) SetLogLevel(level slog.Level, actor string) {
	was := d.Level.Level()
	d.Level.Set(min(was, slog.LevelInfo)) // so that this can be seen
	d.Logger.Info("log level set by hand", "was", was, "is", level, "actor", actor)
	d.Level.Set(level)
}
