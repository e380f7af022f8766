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
	"postern/internal/filter"
	"postern/internal/mail"
	"postern/internal/queue"
)

func (a *app) queueCommand() *cobra.Command {
	verbs := []*cobra.Command{a.queueListCommand(), a.queueShowCommand(), a.queueCatCommand(), a.queueShapeCommand(), a.queueDamagedCommand(),
		a.queueExportCommand(), a.queueImportCommand()}
	for i := range edits {
		verbs = append(verbs, a.editCommand(&edits[i]))
	}
	return group("queue", "What is in the queue, and what to do about it", verbs...)
}

const filterHelp = `A filter says which recipients are meant, such as
  age > 2h and domain = example.com
  state = held and hold = "dead letter"
  sender ~ *@batch.example.com and not reason ~ 4*
Quote it for the shell. docs/queue.md has all fields and operators.`

func (a *app) queueListCommand() *cobra.Command {
	return listCommand("List the messages in the queue, oldest first, a line for each destination",
		"List the messages of which a recipient is selected, oldest first, with the\nselected recipients: a line for each destination.", a.listQueue)
}

// listCommand is the command that lists what a filter selects, by list.
func listCommand(short, long string, list func(context.Context, admin.Listing) error) *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "list [FILTER | ID...]", Short: short, Long: long + "\n\n" + filterHelp, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return usageError{fmt.Errorf("--limit %d: it must not be negative", limit)}
			}
			filter, err := filterOf(args)
			if err != nil {
				return err
			}
			return list(cmd.Context(), admin.Listing{Filter: filter, Limit: limit})
		}}
	c.Flags().IntVarP(&limit, "limit", "n", 0, "at most this `number` of messages; 0 for all")
	return c
}

// filterOf makes a filter of arguments: ids, or the words of a filter. What is
// wrong with it is a mistake in the command line.
func filterOf(args []string) (string, error) {
	switch text := strings.Join(args, " "); {
	case text == "":
		return "", nil
	case allIDs(args):
		return filterOfIDs(args), nil
	default:
		if _, err := filter.Parse(text); err != nil {
			return "", usageError{err}
		}
		return text, nil
	}
}

func filterOfIDs(ids []string) string { return "id in (" + strings.Join(ids, ", ") + ")" }

func allIDs(args []string) bool {
	return !slices.ContainsFunc(args, func(s string) bool {
		_, err := mail.ParseID(s)
		return err != nil
	})
}

// listQueue prints the queue as it comes.
func (a *app) listQueue(ctx context.Context, l admin.Listing) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	list := newListing(a, "MESSAGE\tAGE\tSIZE\tFROM\tTO\tSTATE\tNEXT\tLAST REPLY")
	err = list.end(client.List(ctx, l, list.bar.show, func(e *queue.Entry) error {
		return list.add(e, func(w io.Writer) { printEntry(w, e) })
	}))
	if err != nil || a.json {
		return err
	}
	if list.count == 0 {
		fmt.Fprintln(a.out, nothingListed(l.Filter))
		return nil
	}
	status, err := client.Status(ctx)
	a.showSuspensions(status.Suspensions)
	return err
}

func nothingListed(filter string) string {
	if filter != "" {
		return "nothing in the queue is selected"
	}
	return "the queue is empty"
}

// maxColumn is how wide, in characters, an address in a table may be; `queue
// show` and --json have all of it.
const maxColumn = 40

// maxLastColumn is the same for a text behind which nothing comes.
const maxLastColumn = 60

// column makes a text fit for a table.
func column(s string) string { return clipped(s, maxColumn) }

// clipped makes a text printable, and at most so wide.
func clipped(s string, width int) string {
	s = printable(s)
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// printEntry prints one entry: a line for a destination.
func printEntry(w io.Writer, e *queue.Entry) {
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		cells := []string{string(e.ID), age(e.Accepted), size(e.Size), column(e.Envelope.From.Path()), addressList(d), states(d), nextAttempt(d)}
		if reply := lastReply(d); reply != "" {
			cells = append(cells, clipped(reply, maxLastColumn))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
}

// firstOf names the first of some and how many there are besides.
func firstOf(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	first := column(names[0])
	if more := len(names) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", first, more)
	}
	return first
}

// addressList names the recipients of a delivery.
func addressList(d *queue.Delivery) string {
	e := queue.Entry{Deliveries: []queue.Delivery{*d}}
	return firstOf(e.Addresses())
}

// lastReply is why a delivery still waits, of its first recipient that was tried.
func lastReply(d *queue.Delivery) string {
	for i := range d.Recipients {
		if last := d.Recipients[i].Last; last != nil {
			return last.Reply.String()
		}
	}
	return ""
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
	return dueIn(d.Next)
}

// dueIn says when something is due.
func dueIn(t time.Time) string {
	if wait := time.Until(t); wait > 0 {
		return "in " + duration(wait)
	}
	return "now"
}
