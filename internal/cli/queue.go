package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
)

func (a *app) queueCommand() *cobra.Command {
	return group("queue", "What is in the queue", a.queueListCommand(), a.queueShowCommand(), a.queueDamagedCommand())
}

func (a *app) queueListCommand() *cobra.Command {
	var f queue.Filter
	var states []string
	c := &cobra.Command{Use: "list", Short: "List the messages in the queue, oldest first, a line for each destination", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range states {
				if !mail.State(s).Stored() {
					return usageError{fmt.Errorf("--state %q is not a state in the queue: these are queued, deferred and held", s)}
				}
				f.States = append(f.States, mail.State(s))
			}
			return a.listQueue(cmd.Context(), f)
		}}
	flags := c.Flags()
	flags.StringSliceVar(&states, "state", nil, "only messages with a recipient in this `state`: queued, deferred or held")
	flags.StringVar(&f.Sender, "sender", "", "only messages from this `address`; <> for reports")
	flags.StringVar(&f.Recipient, "recipient", "", "only messages to this `address`")
	flags.StringVar((*string)(&f.Destination), "destination", "", "only messages to this `domain`")
	return c
}

// listQueue prints the queue page by page, so that a long one needs no memory.
func (a *app) listQueue(ctx context.Context, f queue.Filter) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	table := newTable(a.out)
	var count int
	for page := (queue.Page{Limit: admin.MaxPage}); ; {
		entries, err := client.List(ctx, f, page)
		if err != nil {
			return err
		}
		if count == 0 && len(entries) > 0 && !a.json {
			fmt.Fprintln(table, "MESSAGE\tAGE\tSIZE\tFROM\tTO\tSTATE\tNEXT")
		}
		for i := range entries {
			if err := a.printEntry(table, &entries[i]); err != nil {
				return err
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		count += len(entries)
		if len(entries) < admin.MaxPage {
			break
		}
		page.After = entries[len(entries)-1].ID
	}
	if count == 0 && !a.json {
		fmt.Fprintln(a.out, nothingListed(&f))
	}
	return nil
}

func nothingListed(f *queue.Filter) string {
	if f.Sender != "" || f.Recipient != "" || f.Destination != "" || len(f.States) > 0 {
		return "nothing in the queue is selected"
	}
	return "the queue is empty"
}

// maxColumn is how wide, in characters, an address in a table may be; `queue
// show` and --json have all of it.
const maxColumn = 40

// column makes a text fit for a table.
func column(s string) string {
	s = printable(s)
	if utf8.RuneCountInString(s) <= maxColumn {
		return s
	}
	return string([]rune(s)[:maxColumn-1]) + "…"
}

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// printEntry prints one entry: a line for a destination, or as JSON.
func (a *app) printEntry(w io.Writer, e *queue.Entry) error {
	if a.json {
		return a.printJSON(e)
	}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, age(e.Accepted), size(e.Size),
			column(e.Envelope.From.Path()), addressList(d), states(d), nextAttempt(d))
	}
	return nil
}

// addressList names the first recipient and how many there are besides.
func addressList(d *queue.Delivery) string {
	first := column(d.Recipients[0].Address.String())
	if more := len(d.Recipients) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", first, more)
	}
	return first
}

func states(d *queue.Delivery) string {
	var names []string
	for i := range d.Recipients {
		name := string(d.Recipients[i].State)
		if hold := d.Recipients[i].Hold; hold != "" {
			name += " (" + string(hold) + ")"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func nextAttempt(d *queue.Delivery) string {
	waiting := func(r queue.Recipient) bool { return r.State != mail.Held }
	if !slices.ContainsFunc(d.Recipients, waiting) {
		return "-"
	}
	if wait := time.Until(d.Next); wait > 0 {
		return "in " + duration(wait)
	}
	return "now"
}

func (a *app) queueShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show one message in the queue", Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			entry, err := client.Entry(cmd.Context(), mail.ID(args[0]))
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(entry)
			}
			a.showEntry(&entry)
			return nil
		}}
}

func (a *app) showEntry(e *queue.Entry) {
	fmt.Fprintf(a.out, "message   %s\n", e.ID)
	fmt.Fprintf(a.out, "accepted  %s (%s ago) by %s\n", e.Accepted.Local().Format(dateTime), age(e.Accepted), e.Origin.Listener)
	if e.Message != e.ID {
		fmt.Fprintf(a.out, "copy of   %s\n", e.Message)
	}
	fmt.Fprintf(a.out, "from      %s\n", printable(e.Envelope.From.Path()))
	fmt.Fprintf(a.out, "size      %s\n", size(e.Size))
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		fmt.Fprintf(a.out, "\n%s: %d attempts, next %s\n", printable(string(d.Destination)), d.Attempts, nextAttempt(d))
		for j := range d.Recipients {
			a.showRecipient(&d.Recipients[j])
		}
	}
}

func (a *app) showRecipient(r *queue.Recipient) {
	state := string(r.State)
	if r.Hold != "" {
		state += " (" + string(r.Hold) + ")"
	}
	fmt.Fprintf(a.out, "  %s  %s\n", printable(r.Address.Path()), state)
	if o := r.Last; o != nil {
		said := answer(speaker{o.Host, o.Remote}, o.Command, o.Reply)
		if o.Cause != "" {
			said += ", " + o.Cause
		}
		fmt.Fprintf(a.out, "    attempt %d at %s: %s\n", o.Attempt, o.At.Local().Format(dateTime), printable(said))
	}
	if !r.Warned.IsZero() {
		fmt.Fprintf(a.out, "    the sender was told of the delay at %s\n", r.Warned.Local().Format(dateTime))
	}
}
