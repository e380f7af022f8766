package daemon

import (
	"bytes"
	"context"
	"fmt"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/dsn"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/smtp"
	"postern/internal/smtpserver"
	"postern/internal/submit"
)

// How many programs of this host may be connected at once, and how many of
// one user. Others leave their messages in the drop directory.
const (
	maxPrograms        = 500
	maxProgramsPerUser = 100
)

// submission is what takes mail from the users of this host.
type submission struct {
	listener *listener
	pickup   *submit.Pickup
}

// openSubmission makes the directory of submission, if there is to be one, and
// binds its socket.
func (d *Daemon) openSubmission(g *graph) error {
	c := &g.config.Submission
	if c.Directory == "" {
		return nil
	}
	directory := submit.Directory(c.Directory)
	if err := directory.Make(); err != nil {
		return fmt.Errorf("submission.directory: %w", err)
	}
	socket, err := admin.ListenForAll(directory.Socket())
	if err != nil {
		return fmt.Errorf("submission.directory: %w", err)
	}
	s := d.submissionService(g)
	d.submission = &submission{
		listener: &listener{name: submit.Listener, socket: socket, server: smtpserver.New(s.options, s.handler)},
		pickup: submit.NewPickup(submit.PickupOptions{
			Directory: directory, Hostname: g.config.Hostname, Door: d.door(g), IDs: &d.ids,
			MaxSize: c.MaxSize, MaxRecipients: c.MaxRecipients, GiveUp: g.config.Delivery.Retry.Until, Report: d.reportRefusal,
			Clock: d.clock, Logger: d.Logger, Record: d.journal.Record,
		}),
	}
	return nil
}

// submissionService is what answers the programs of this host.
func (d *Daemon) submissionService(g *graph) service {
	c := &g.config.Submission
	l := &config.Listener{
		Name: submit.Listener, MaxSize: c.MaxSize, MaxRecipients: c.MaxRecipients,
		MaxConnections: maxPrograms, MaxConnectionsPerClient: maxProgramsPerUser,
	}
	options := d.serverOptions(g, l)
	options.User = submit.Peer
	options.Newlines = func(mail.Origin) smtp.Newlines { return smtp.NewlinesRepair } // all users are trusted
	return service{options, d.handler(g, d.door(g), l.Name)}
}

// changeSubmission lets the submission follow a graph, if there is one: its own
// settings take effect at a restart, but names and rules of the server are in
// it, too.
func (d *Daemon) changeSubmission(g *graph) {
	if d.submission == nil {
		return
	}
	s := d.submissionService(g)
	d.submission.listener.server.Change(s.options, s.handler)
	d.submission.pickup.Change(d.door(g), g.config.Hostname, g.config.Delivery.Retry.Until)
}

// startSubmission starts what openSubmission has opened.
func (d *Daemon) startSubmission(sessions, pickup context.Context) {
	if d.submission == nil {
		return
	}
	l := d.submission.listener
	d.Logger.Info("listening", "listener", l.name, "address", l.socket.Addr().String())
	d.running.Go(func() { d.part("listener "+l.name, l.server.Serve(sessions, l.socket)) })
	d.running.Go(func() { d.part("the drop directory", d.submission.pickup.Run(pickup)) })
}

// submissionListeners is its listener, if there is one.
func (d *Daemon) submissionListeners() []*listener {
	if d.submission == nil {
		return nil
	}
	return []*listener{d.submission.listener}
}

// reportRefusal sends the report about recipients that were refused when the
// program that named them was gone. It goes the way of all mail; one from the
// null sender has nobody to tell.
func (d *Daemon) reportRefusal(ctx context.Context, r *submit.Refusal) error {
	g := d.inForce()
	var sender []mail.Recipient
	if !r.Envelope.From.IsNull() {
		for _, a := range g.local.Reports(r.Envelope.From) {
			sender = append(sender, mail.Recipient{Address: a, Notify: mail.NotifyNever})
		}
	}
	if len(sender) == 0 {
		return nil // the fact is all there can be
	}
	report := dsn.Report{
		ID: d.ids.New(d.clock.Now()), Host: g.config.Hostname, Now: d.clock.Now(),
		About: r.Origin.Session, Envelope: r.Envelope, Origin: r.Origin, Accepted: r.At,
		Content: r.Content, Size: r.Size,
	}
	for i, to := range r.Recipients {
		if to.Notify.Wants(mail.Bounced) {
			report.Recipients = append(report.Recipients, dsn.Recipient{
				Recipient: to, Outcome: mail.Outcome{State: mail.Bounced, Reply: r.Replies[i], At: d.clock.Now()},
			})
		}
	}
	if len(report.Recipients) == 0 {
		return nil
	}
	var text bytes.Buffer
	envelope, err := report.Compose(&text)
	if err != nil {
		return err
	}
	_, err = d.door(g).Accept(ctx, intake.Message{
		Origin: mail.Origin{Listener: "postern"}, Envelope: envelope, Content: &text,
		Recipients: sender,
		Gone:       func() bool { return false }, Once: r.Name,
	})
	return err
}
