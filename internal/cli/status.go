package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show the state of the server", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), a, (*admin.Client).Status, a.showStatus)
		}}
}

// showBroken says what is wrong with the configuration on the disk, of which the
// server does not know yet.
func (a *app) showBroken() {
	if a.broken == nil {
		return
	}
	for line := range strings.SplitSeq(a.broken.Error(), "\n") {
		fmt.Fprintf(a.out, "WOULD NOT START AGAIN: %s\n", printable(line))
	}
}

func (a *app) showStatus(s *admin.Status) {
	fmt.Fprintf(a.out, "postern %s on %s, process %d, up %s (since %s)\n",
		s.Version, s.Hostname, s.PID, age(s.Started), s.Started.Local().Format(dateTime))
	fmt.Fprintf(a.out, "data in %s\n", printable(s.DataDir))
	fmt.Fprintf(a.out, "configuration %d, read %s\n", s.Generation, s.Loaded.Local().Format(dateTime))
	if f := s.ReloadFailure; f != nil {
		for _, p := range f.Problems {
			fmt.Fprintf(a.out, "NOT RELOADED for %s (since %s): %s\n", age(f.At), f.At.Local().Format(dateTime), printable(p))
		}
	}
	if l := s.LogLevel; l.Level != l.Configured {
		fmt.Fprintf(a.out, "log level %s, set by hand; configured is %s\n", levelName(l.Level), levelName(l.Configured))
	}
	a.showListeners(s.Listeners)
	fmt.Fprintf(a.out, "recipients: %d queued, %d deferred, %d held; %s active\n",
		s.Recipients[mail.Queued], s.Recipients[mail.Deferred], s.Recipients[mail.Held], several(s.Active, "delivery", "deliveries"))
	if bulk, urgent := s.Waiting[mail.Bulk.String()], s.Waiting[mail.Urgent.String()]; bulk+urgent > 0 {
		fmt.Fprintf(a.out, "of those that wait: %d urgent, %d normal, %d bulk\n", urgent, s.Waiting[mail.Normal.String()], bulk)
	}
	if q := s.Quarantine; q.Messages > 0 {
		fmt.Fprintf(a.out, "in quarantine: %s with %s, %s, the oldest for %s; counted %s ago\n", several(q.Messages, "message", "messages"),
			several(q.Recipients, "recipient", "recipients"), size(q.Size), age(q.Oldest), age(q.Counted))
	}
	d := &s.Directory
	fmt.Fprintf(a.out, "directory: %s, %s, %s, %s, %s\n", several(d.Users, "user", "users"), several(d.Domains, "local domain", "local domains"),
		several(d.Aliases, "alias", "aliases"), several(d.Lists, "list", "lists"), several(d.Bans, "ban", "bans"))
	fmt.Fprintln(a.out, siteCounts(&s.Sites.SiteCounts))
	fmt.Fprintln(a.out, transactions(&s.Sites.Transactions))
	if worst := s.Sites.Worst; worst != nil {
		fmt.Fprintf(a.out, "DOWN: %s %s; %d of its deliveries wait\n", printable(worst.Name), siteDown(&worst.Site), worst.Due+worst.Later)
		if s.Sites.Down > 1 {
			fmt.Fprintf(a.out, "DOWN: %s; `postern site list --down` lists them\n", several(s.Sites.Down-1, "site more", "sites more"))
		}
	}
	a.showSuspensions(s.Suspensions)
	if e := s.Edit; e != nil {
		fmt.Fprintf(a.out, "the queue is being edited for %s by %s: %s, %s so far; filter: %s\n", age(e.At), printable(e.Actor),
			e.Change.Kind, several(e.Done.Sum(), "recipient", "recipients"), printable(e.Filter.Where))
	}
	for _, file := range s.DamagedFiles {
		fmt.Fprintf(a.out, "DAMAGED: %s; stop the server and run `postern store salvage`\n", printable(file))
	}
	if s.JournalError != "" {
		fmt.Fprintf(a.out, "THE JOURNAL CANNOT BE WRITTEN: %s\n", printable(s.JournalError))
	}
	for _, p := range s.Pressures {
		fmt.Fprintf(a.out, "UNDER PRESSURE for %s (since %s): %s: %s\n", age(p.Since), p.Since.Local().Format(dateTime), p.Kind, printable(p.Text))
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(a.out, "WARNING: %s\n", printable(w))
	}
	if s.ReloadFailure == nil {
		a.showBroken()
	}
}

func (a *app) showSuspensions(list []admin.Suspension) {
	for i := range list {
		fmt.Fprintf(a.out, "SUSPENDED: %s\n", suspended(&list[i]))
	}
}

func (a *app) showListeners(list []admin.Listener) {
	for i := range list {
		l := &list[i]
		fmt.Fprintf(a.out, "listener %s at %s: ", l.Name, l.Address)
		switch l.State {
		case admin.ListenerStopped:
			fmt.Fprintf(a.out, "STOPPED by hand, %s left; `postern listener start %s` opens it\n", several(l.Connections, "connection", "connections"), l.Name)
		case admin.ListenerClosing:
			fmt.Fprintf(a.out, "closed, %s left\n", several(l.Connections, "connection", "connections"))
		default:
			fmt.Fprintf(a.out, "%s%s%s\n", several(l.Connections, "connection", "connections"), limited(l), doorWords(l))
		}
	}
}

// limited says that fewer clients are served than are configured.
func limited(l *admin.Listener) string {
	if l.Limit >= l.MaxConnections {
		return ""
	}
	return fmt.Sprintf(", %d are served at present instead of %d", l.Limit, l.MaxConnections)
}

// stopWait is how long `stop` waits for the server to end. It is longer than
// the server lets sessions and attempts go on.
const stopWait = time.Minute

func (a *app) stopCommand() *cobra.Command {
	return &cobra.Command{Use: "stop", Short: "Stop the server in good order, and wait until it has ended", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := client.Stop(cmd.Context()); err != nil {
				return err
			}
			return waitForEnd(cmd.Context(), client)
		}}
}

func waitForEnd(ctx context.Context, client *admin.Client) error {
	bounded, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	err := client.WaitEnd(bounded)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted; the server goes on stopping")
	}
	return fmt.Errorf("the server has not ended after %s; its log says what it waits for", stopWait)
}
