package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/trial"
)

// demoTime bounds the demonstration.
const demoTime = time.Minute

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{Use: "demo", Short: "Send messages through a trial server, tell their stories, and end", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), demoTime)
			defer cancel()
			var log bytes.Buffer
			err := a.runTrial(ctx, &log, a.demonstrate)
			if err != nil {
				fmt.Fprintf(a.err, "the log of the server:\n%s", log.Bytes())
			}
			return err
		}}
}

// scene is one message of the demonstration, and how it must end.
type scene struct {
	title string
	to    []string // local parts of the receiver
	size  int
	ends  []mail.Reason // one for each recipient
}

var scenes = []scene{
	{"A good message", []string{"ok"}, 1000, []mail.Reason{mail.ReasonDelivered}},
	{"Two recipients, one of which bounces: the sender gets a report", []string{"ok", "bounce-550"}, 1000, []mail.Reason{mail.ReasonDelivered, mail.ReasonBounced}},
	{"A recipient that is deferred first", []string{"defer-451"}, 1000, []mail.Reason{mail.ReasonDelivered}},
	{"A message of 10 MB", []string{"ok"}, 10_000_000, []mail.Reason{mail.ReasonDelivered}},
}

func (a *app) demonstrate(ctx context.Context, p trial.Places) error {
	client := admin.NewClient(p.Socket)
	teller := newTeller(a.out)
	for i, s := range scenes {
		fmt.Fprintf(a.out, "%d. %s\n", i+1, s.title)
		id, err := trial.Send(ctx, p.SMTP, mail.Envelope{From: sinkAddress("me")}, s.recipients(), s.content())
		if err != nil {
			return err
		}
		if err := teller.tellStory(ctx, client, id, s.ends); err != nil {
			return err
		}
		fmt.Fprintln(a.out)
	}
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	for state, n := range status.Recipients {
		if n > 0 {
			return fmt.Errorf("%d recipients are left in the queue, %s", n, state)
		}
	}
	fmt.Fprintln(a.out, "Nothing is left in the queue.")
	return nil
}

func sinkAddress(local string) mail.Address { return mail.Address{Local: local, Domain: trial.Domain} }

func (s scene) recipients() []mail.Address {
	var to []mail.Address
	for _, local := range s.to {
		to = append(to, sinkAddress(local))
	}
	return to
}

func (s scene) content() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\n", sinkAddress("me"), sinkAddress(s.to[0]), s.title)
	const line = "A postern is the small gate in a wall by which messengers leave.\r\n"
	for b.Len() < s.size {
		b.WriteString(line)
	}
	return b.Bytes()
}

var errTold = errors.New("the story is complete")

// tellStory prints the facts of a message as they happen, until every
// recipient has come to its end; then those of the reports about it. It fails
// when the ends are not the given ones.
func (t *teller) tellStory(ctx context.Context, client *admin.Client, id mail.ID, ends []mail.Reason) error {
	var seen []mail.Reason
	var reports []mail.ID
	err := client.Journal(ctx, admin.JournalQuery{Message: id, Follow: true}, func(f mail.Fact) error {
		t.tell(&f)
		if f.About == id && f.Reason == mail.ReasonAccepted {
			reports = append(reports, f.Message)
		}
		if f.Message == id && mail.State(f.Reason).Final() {
			for range f.To {
				seen = append(seen, f.Reason)
			}
		}
		if len(seen) >= len(ends) && len(reports) >= count(ends, mail.ReasonBounced) {
			return errTold
		}
		return nil
	})
	if !errors.Is(err, errTold) {
		return fmt.Errorf("the story of %s broke off: %w", id, err)
	}
	slices.Sort(seen)
	if want := slices.Sorted(slices.Values(ends)); !slices.Equal(seen, want) {
		return fmt.Errorf("message %s ended %v, not %v", id, seen, want)
	}
	for _, report := range reports {
		fmt.Fprintf(t.out, "   the report:\n")
		if err := t.tellStory(ctx, client, report, []mail.Reason{mail.ReasonDelivered}); err != nil {
			return err
		}
	}
	return nil
}

func count(list []mail.Reason, r mail.Reason) int {
	n := 0
	for _, x := range list {
		if x == r {
			n++
		}
	}
	return n
}
