package daemon

import (
	"os"
	"slices"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/intake"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/pressure"
	"postern/internal/quarantine"
	"postern/internal/queue/embedded"
	"postern/internal/smtp"
	"postern/internal/smtpserver"
)

// This file says what each part gets of a graph. Start and reload ask the same
// functions.

// service is what answers the clients of one listener.
type service struct {
	options smtpserver.Options
	handler smtpserver.Handler
}

// services returns what answers at each listener, in their order.
func (d *Daemon) services(g *graph) []service {
	door := d.door(g)
	list := make([]service, len(g.config.Listeners))
	for i := range list {
		list[i] = service{d.doorOf(d.serverOptions(g, &g.config.Listeners[i]), g, i), d.handler(g, door, g.config.Listeners[i].Name)}
	}
	return list
}

// door is the way in.
func (d *Daemon) door(g *graph) *intake.Intake {
	o := g.doorOptions()
	o.Store, o.IDs = d.store, &d.ids
	o.Room, o.Suspended = d.gauge.Refuse, d.suspended.intake
	o.Policy, o.Inspections, o.ClientName = g.policy.Begin, d.inspections, d.clientName
	o.Auth, o.Senders = d.authenticator(g), d.senders
	o.Logger, o.Metrics = d.Logger, d.counts.intake
	return intake.New(o)
}

// doorOptions are what the configuration says of the way in.
func (g *graph) doorOptions() intake.Options {
	m := &g.config.Message
	o := intake.Options{
		Hostname:         g.config.Hostname,
		Company:          g.company,
		Class:            g.class,
		OwnClass:         g.ownClass,
		Local:            g.local,
		AddDate:          m.AddDate,
		AddMessageID:     m.AddMessageID,
		Missing:          g.missing,
		DropFields:       m.DropFields,
		MaxHops:          m.MaxHops,
		AccountInHeaders: m.AccountInHeaders,
		Routed:           g.policy.Routed,
		Choose:           g.choose(),
		VRFY:             g.disclosure,
		Ours:             g.ours,
		Clock:            g.clock,
	}
	if g.signing != nil { // else the keys can be read by the server's user alone
		o.Signer = g.signing
	}
	return o
}

func (d *Daemon) serverOptions(g *graph, c *config.Listener) smtpserver.Options {
	return smtpserver.Options{
		Listener:                c.Name,
		Hostname:                g.config.Hostname,
		MaxSize:                 c.MaxSize,
		MaxRecipients:           c.MaxRecipients,
		MaxMessages:             c.MaxMessages,
		MaxConnections:          c.MaxConnections,
		MaxConnectionsPerClient: c.MaxConnectionsPerClient,
		Sockets:                 d.sockets,
		Limit:                   func() int { return d.gauge.Connections(c.MaxConnections) },
		MaxErrors:               c.MaxErrors,
		Newlines:                newlines(g, c),
		AuthInClear:             c.AuthWithoutTLS,
		CommandTimeout:          c.CommandTimeout,
		DataTimeout:             c.DataTimeout,
		IDs:                     &d.ids,
		Clock:                   d.clock,
		Logger:                  d.Logger,
		Metrics:                 d.counts.server,
		Record:                  d.journal.Record,
	}
}

// newlines decides what becomes of a bare CR or LF: a client that is trusted
// is helped, any other may be trying to smuggle a second message in.
func newlines(g *graph, c *config.Listener) func(mail.Origin) smtp.Newlines {
	return func(o mail.Origin) smtp.Newlines {
		repair := c.BareNewline == config.BareNewlineRepair
		if c.BareNewline == config.BareNewlineAuto {
			repair, _ = g.policy.Trusts(c.Name, o.Client.Addr())
		}
		if repair {
			return smtp.NewlinesRepair
		}
		return smtp.NewlinesRefuse
	}
}

// gaugeOptions say what is watched: the parts of data_dir apart, because the
// journal may be on a disk of its own.
func (d *Daemon) gaugeOptions(g *graph) pressure.Options {
	return pressure.Options{
		Directories: []pressure.Directory{{Path: queueDir(g.config), Contents: true}, {Path: journalDir(g.config)}, {Path: directoryDir(g.config)}},
		Limits:      pressureLimits(g),
		Memory:      d.store.Memory,
		Journal:     d.journal.Failure,
		Store:       d.store.Stuck,
		Latency:     d.store.Latency,
		Record:      d.journal.Record,
		Clock:       d.clock,
		Logger:      d.Logger,
	}
}

func pressureLimits(g *graph) pressure.Limits {
	c := &g.config.Pressure
	return pressure.Limits{
		MinFreeSpace:  c.MinFreeSpace,
		MinFreeInodes: int64(c.MinFreeInodes),
		MaxMemory:     g.memoryBudget(),
		SlowCommit:    c.SlowCommit,
	}
}

// reserve is the room that the store leaves on its disk.
func reserve(g *graph) int64 { return min(embedded.DefaultReserve, g.config.Pressure.MinFreeSpace) }

func journalLimits(g *graph) journal.Limits {
	return journal.Limits{MaxFile: g.config.Journal.MaxFile, Keep: g.config.Journal.Keep}
}

// quarantineSettings are for the door that is open with the graph.
func (d *Daemon) quarantineSettings(g *graph) quarantine.Settings {
	c := &g.config.Quarantine
	return quarantine.Settings{
		Hostname: g.config.Hostname, Keep: c.Keep, DigestTo: c.DigestTo, DigestEvery: c.DigestEvery, Door: d.door(g),
	}
}

func (d *Daemon) deliverOptions(g *graph) deliver.Options {
	return deliver.Options{
		Store:    d.store,
		IDs:      &d.ids,
		Settings: d.deliverSettings(g),
		Grace:    grace,
		Record:   d.journal.Record,
		Clock:    d.clock,
		Logger:   d.Logger,
		Metrics:  d.counts.deliver,
		Failed:   d.fail,
	}
}

func (d *Daemon) deliverSettings(g *graph) deliver.Settings {
	c, router := &g.config.Delivery, g.router()
	return deliver.Settings{
		Hostname:      g.config.Hostname,
		Company:       g.company,
		Signer:        g.signing,
		Router:        router,
		Choose:        router.Choose,
		ChoiceChanges: router.Changes,
		Client:        d.clientOf(g, &config.Transport{}),
		Transports:    d.transports(g),
		// A server that policy or a person names goes as the smarthosts do, also without any.
		TransportNames:  append(g.config.TransportNames(), config.SmarthostsTransport),
		Retry:           c.Retry,
		RetryReports:    c.RetryReports,
		DelayWarning:    c.DelayWarning,
		CopyFailures:    c.CopyFailures,
		MaxTransactions: c.MaxConnections,
		MaxPerSite:      c.MaxConnectionsPerSite,
		MaxRecipients:   c.MaxRecipients,
		IdleTimeout:     c.IdleTimeout,
		// An address of this host is somebody's elsewhere, or nobody's.
		ReportTo: g.local.Reports,
	}
}

// status is the state of the server, less what the queue knows.
func (d *Daemon) status() admin.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.graph
	s := admin.Status{
		Version:       d.Version,
		Hostname:      g.config.Hostname,
		PID:           os.Getpid(),
		Started:       d.started,
		DataDir:       g.config.DataDir,
		Generation:    g.generation,
		Loaded:        g.loaded,
		ReloadFailure: d.reloadFailure,
		LogLevel:      admin.LogLevel{Level: d.Level.Level(), Configured: g.config.Log.Level},
		Listeners:     d.listenerStates(),
		Quarantine:    d.keeper.Census(),
	}
	for _, l := range d.submissionListeners() {
		s.Listeners = append(s.Listeners, l.state(admin.ListenerOpen))
	}
	for _, p := range d.gauge.Pressures() {
		s.Pressures = append(s.Pressures, admin.Pressure{Kind: string(p.Kind), Since: p.Since, Text: p.Text})
	}
	s.Warnings = slices.Concat(d.listWarnings(g), d.trustWarnings(g), g.certificateWarnings(), g.authorityWarnings(), g.keyWarnings(), g.hostsWarnings(), g.userRouteWarnings(), g.expiryWarnings(d.clock.Now()), g.web.warnings(), d.credentialWarnings(g), poolWarnings(d.pools.Pools()), ldapWarnings(g), doorWarnings(g.config), d.trapped.list())
	s.Directory = admin.RecordCounts(d.directory.Counts())
	return s
}
