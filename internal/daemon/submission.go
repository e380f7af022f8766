package daemon

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"

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
func (d *Daemon) openSubmission(door *intake.Intake) error {
	c := &d.config.Submission
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
	options := d.serverOptions(&config.Listener{
		Name: submit.Listener, MaxSize: c.MaxSize, MaxRecipients: c.MaxRecipients,
		MaxConnections: maxPrograms, MaxConnectionsPerClient: maxProgramsPerUser,
	}, nil)
	options.User = submit.Peer
	options.Newlines = func(mail.Origin) smtp.Newlines { return smtp.NewlinesRepair } // all users are trusted
	d.submission = &submission{
		listener: &listener{name: submit.Listener, socket: socket, server: smtpserver.New(options, handler(door, nil))},
		pickup: submit.NewPickup(submit.PickupOptions{
			Directory: directory, Hostname: d.config.Hostname, Door: door, IDs: &d.ids,
			MaxSize: c.MaxSize, MaxRecipients: c.MaxRecipients,
			Report: func(ctx context.Context, r *submit.Refusal) error { return d.reportRefusal(ctx, door, r) },
			Clock:  d.clock, Logger: d.Logger, Record: d.journal.Record,
		}),
	}
	return nil
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
func (d *Daemon) reportRefusal(ctx context.Context, door *intake.Intake, r *submit.Refusal) error {
	to, err := d.local.ResolveUser(r.Envelope.From, netip.Addr{})
	if r.Envelope.From.IsNull() || err != nil {
		return nil // the fact is all there can be
	}
	report := dsn.Report{
		ID: d.ids.New(d.clock.Now()), Host: d.config.Hostname, Now: d.clock.Now(),
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
	_, err = door.Accept(ctx, intake.Message{
		Origin: mail.Origin{Listener: "postern"}, Envelope: envelope, Content: &text,
		Recipients: []mail.Recipient{{Address: to, Notify: mail.NotifyNever}},
		Gone:       func() bool { return false }, Once: r.Name,
	})
	return err
}
