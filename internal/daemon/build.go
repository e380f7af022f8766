package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/dns"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/pressure"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/smtpclient"
	"postern/internal/smtpserver"
	"postern/internal/submit"
)

// loadCertificates loads the certificate of every listener that has one.
func (d *Daemon) loadCertificates() error {
	d.tls = make([]*tls.Config, len(d.config.Listeners))
	var errs []error
	for i := range d.config.Listeners {
		l := &d.config.Listeners[i]
		if l.TLSCertificate == "" {
			continue
		}
		certificate, err := certs.Load(l.TLSCertificate, l.TLSKey, d.clock.Now())
		if err != nil {
			errs = append(errs, wrongCertificate(l, err))
			continue
		}
		d.tls[i] = certs.ServerConfig(certificate)
	}
	return errors.Join(errs...)
}

// wrongCertificate says of which of the two files an error is.
func wrongCertificate(l *config.Listener, err error) error {
	if wrong, ok := errors.AsType[*certs.Error](err); ok && wrong.File == l.TLSKey {
		return l.Wrong("listener.tls_key", err)
	}
	return l.Wrong("listener.tls_certificate", err)
}

// atListener says which listener an error is about, and where it stands in
// the configuration.
func atListener(l *config.Listener, err error) error {
	if l.Place == (mail.Place{}) {
		return fmt.Errorf("listener %s: %w", l.Name, err)
	}
	return fmt.Errorf("%s: listener %s: %w", l.Place, l.Name, err)
}

// cannotListen says what to do about an address that cannot be had.
func cannotListen(address netip.AddrPort, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "; another program listens there"
	case errors.Is(err, syscall.EACCES):
		hint = "; a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "; this machine has no such address"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // it names the address once more
	}
	return fmt.Errorf("cannot listen at %s: %w%s", address, err, hint)
}

// loadLocal finds out what the server takes for itself: what the
// configuration says, and the addresses of the machine.
func (d *Daemon) loadLocal() error {
	d.local = &intake.Local{
		Names:      append([]string{d.config.Hostname}, d.config.OwnNames...),
		Addresses:  slices.Clone(d.config.OwnAddresses),
		Postmaster: d.config.Postmaster,
	}
	if d.config.Submission.Directory != "" {
		d.local.IsUser = submit.IsUser
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("cannot tell this machine's addresses: %w", err)
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			d.local.Addresses = append(d.local.Addresses, prefix.Addr())
		}
	}
	return nil
}

// bind binds all sockets before anything is served, so that a server that
// cannot have one of them does nothing at all.
func (d *Daemon) bind() error {
	door := intake.New(intake.Options{
		Hostname:     d.config.Hostname,
		Store:        d.store,
		IDs:          &d.ids,
		Local:        d.local,
		AddDate:      d.config.Message.AddDate,
		AddMessageID: d.config.Message.AddMessageID,
		DropFields:   d.config.Message.DropFields,
		MaxHops:      d.config.Message.MaxHops,
		Room:         d.gauge.Refuse,
		Suspended:    d.suspended.intake,
		Clock:        d.clock,
		Logger:       d.Logger,
	})
	for i := range d.config.Listeners {
		c := &d.config.Listeners[i]
		socket, err := net.Listen("tcp", c.Address.String())
		if err != nil {
			return atListener(c, cannotListen(c.Address, err))
		}
		d.listeners = append(d.listeners, &listener{
			name:   c.Name,
			socket: socket,
			server: smtpserver.New(d.serverOptions(c, d.tls[i]), handler(door, c.Trust)),
		})
	}
	if err := d.openSubmission(door); err != nil {
		return err
	}
	return d.bindAdmin(door)
}

// handler lets the door answer what an SMTP server is asked.
func handler(door *intake.Intake, trust []netip.Prefix) smtpserver.Handler {
	return smtpserver.HandlerFunc(func(_ context.Context, o mail.Origin) (smtpserver.Session, mail.Reply) {
		if refusal := door.Greeting(); !refusal.IsZero() {
			return nil, refusal
		}
		return door.Session(o, trust), mail.Reply{}
	})
}

func (d *Daemon) serverOptions(c *config.Listener, t *tls.Config) smtpserver.Options {
	return smtpserver.Options{
		Listener:                c.Name,
		Hostname:                d.config.Hostname,
		TLS:                     t,
		MaxSize:                 c.MaxSize,
		MaxRecipients:           c.MaxRecipients,
		MaxMessages:             c.MaxMessages,
		MaxConnections:          c.MaxConnections,
		MaxConnectionsPerClient: c.MaxConnectionsPerClient,
		Limit:                   func() int { return d.gauge.Connections(c.MaxConnections) },
		MaxErrors:               c.MaxErrors,
		Newlines:                newlines(c),
		CommandTimeout:          c.CommandTimeout,
		DataTimeout:             c.DataTimeout,
		IDs:                     &d.ids,
		Clock:                   d.clock,
		Logger:                  d.Logger,
		Record:                  d.journal.Record,
	}
}

// memoryBudget is how much memory the process may have, in octets.
func (d *Daemon) memoryBudget() int64 {
	if set := d.config.Pressure.MaxMemory; set > 0 {
		return set
	}
	return pressure.DefaultBudget()
}

// gaugeOptions say what is watched: the parts of data_dir apart, because the
// journal may be on a disk of its own.
func (d *Daemon) gaugeOptions() pressure.Options {
	c := &d.config.Pressure
	return pressure.Options{
		Directories:   []pressure.Directory{{Path: queueDir(d.config), Contents: true}, {Path: journalDir(d.config)}},
		MinFreeSpace:  c.MinFreeSpace,
		MinFreeInodes: int64(c.MinFreeInodes),
		MaxMemory:     d.memoryBudget(),
		Memory:        d.store.Memory,
		Journal:       d.journal.Failure,
		Store:         d.store.Stuck,
		Latency:       d.store.Latency,
		SlowCommit:    c.SlowCommit,
		Record:        d.journal.Record,
		Clock:         d.clock,
		Logger:        d.Logger,
	}
}

// newlines decides what becomes of a bare CR or LF: a client that is trusted
// is helped, any other may be trying to smuggle a second message in.
func newlines(c *config.Listener) func(mail.Origin) smtp.Newlines {
	return func(o mail.Origin) smtp.Newlines {
		switch {
		case c.BareNewline == config.BareNewlineRepair,
			c.BareNewline == config.BareNewlineAuto && intake.Trusts(c.Trust, o.Client.Addr()):
			return smtp.NewlinesRepair
		}
		return smtp.NewlinesRefuse
	}
}

func (d *Daemon) deliverOptions() deliver.Options {
	c := &d.config.Delivery
	var copyTo mail.Address
	if c.CopyFailures {
		copyTo = d.config.Postmaster
	}
	return deliver.Options{
		Hostname:        d.config.Hostname,
		Store:           d.store,
		Router:          d.router(),
		IDs:             &d.ids,
		Client:          d.clientOptions(),
		Retry:           c.Retry,
		RetryReports:    c.RetryReports,
		DelayWarning:    c.DelayWarning,
		CopyFailures:    copyTo,
		MaxTransactions: c.MaxConnections,
		MaxPerSite:      c.MaxConnectionsPerSite,
		MaxRecipients:   c.MaxRecipients,
		IdleTimeout:     c.IdleTimeout,
		Grace:           grace,
		Record:          d.journal.Record,
		Clock:           d.clock,
		Logger:          d.Logger,
		Failed:          d.fail,
		// A report to an address of this host reaches the postmaster or nobody.
		ReportTo: func(sender mail.Address) (mail.Address, bool) {
			to, err := d.local.ResolveUser(sender, netip.Addr{})
			return to, err == nil
		},
	}
}

// router sends mail to the smarthosts, or without any directly.
func (d *Daemon) router() deliver.Router {
	c := &d.config.Delivery
	lookup := route.Lookup{
		Resolver: d.resolver(""),
		Self:     d.own,
		Prefer:   route.Family(c.AddressFamily),
		Shuffle:  rand.Shuffle,
	}
	if len(c.Smarthosts) > 0 {
		return route.NewSmarthosts(route.Options{
			Lookup: lookup, Hosts: c.Smarthosts, TLS: string(c.SmarthostTLS), Credentials: d.credentials,
		})
	}
	lookup.Self = func(a netip.AddrPort) bool {
		// What is before this host, such as a NAT router, passes all on to it.
		return d.own(a) || slices.Contains(d.config.OwnAddresses, a.Addr())
	}
	return route.NewMX(route.MXOptions{Lookup: lookup, Port: uint16(c.Port), Names: d.local.Names, TLS: string(c.MXTLS)})
}

// resolver asks DNS; hosts is the file of host names that goes before it, ""
// for that of the machine.
func (d *Daemon) resolver(hosts string) *dns.Client {
	return dns.NewClient(dns.Options{Servers: d.config.DNS.Servers, Timeout: d.config.DNS.Timeout, Hosts: hosts, Clock: d.clock})
}

func (d *Daemon) clientOptions() smtpclient.Options {
	c := &d.config.Delivery
	return smtpclient.Options{
		Timeouts: smtpclient.Timeouts{
			Connect:   c.ConnectTimeout,
			Greeting:  c.GreetingTimeout,
			Hello:     c.CommandTimeout,
			Mail:      c.CommandTimeout,
			Rcpt:      c.CommandTimeout,
			DataStart: c.DataTimeout,
			DataBlock: c.BlockTimeout,
			DataEnd:   c.FinalTimeout,
		},
		Logger: d.Logger,
		Clock:  d.clock,
	}
}

// own reports whether an address is one that the server itself listens at.
func (d *Daemon) own(a netip.AddrPort) bool {
	return slices.ContainsFunc(d.config.Listeners, func(l config.Listener) bool {
		at := l.Address
		return at.Port() == a.Port() && (at.Addr() == a.Addr() || at.Addr().IsUnspecified() && d.local.Has(a.Addr()))
	})
}

// status is the state of the server, less what the queue knows.
func (d *Daemon) status() admin.Status {
	s := admin.Status{
		Version:  d.Version,
		Hostname: d.config.Hostname,
		PID:      os.Getpid(),
		Started:  d.started,
		DataDir:  d.config.DataDir,
	}
	for i, l := range d.listeners {
		s.Listeners = append(s.Listeners, admin.Listener{
			Name: l.name, Address: l.socket.Addr().String(), Connections: l.server.Connections(),
			Limit: l.server.Limit(), MaxConnections: d.config.Listeners[i].MaxConnections,
		})
	}
	for _, l := range d.submissionListeners() {
		s.Listeners = append(s.Listeners, admin.Listener{
			Name: l.name, Address: l.socket.Addr().String(), Connections: l.server.Connections(),
			Limit: l.server.Limit(), MaxConnections: maxPrograms,
		})
	}
	for _, p := range d.gauge.Pressures() {
		s.Pressures = append(s.Pressures, admin.Pressure{Kind: string(p.Kind), Since: p.Since, Text: p.Text})
	}
	return s
}
