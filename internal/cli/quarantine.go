package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern/internal/admin"
	"postern/internal/filter"
	"postern/internal/mail"
	"postern/internal/quarantine"
	"postern/internal/queue"
)

// judgements are the verbs with which a message leaves the quarantine.
var judgements = []edit{
	{kind: queue.ChangeRelease, short: "Release messages from quarantine; they are tried now", done: "released", none: "they have gone",
		within: quarantine.Where, to: "addresses"},
	{kind: queue.ChangeRemove, verb: "delete", short: "Delete messages in quarantine; nobody is told", done: "deleted", none: "they have gone",
		within: quarantine.Where, to: "addresses", asks: goneForGood},
}

func (a *app) quarantineCommand() *cobra.Command {
	verbs := []*cobra.Command{a.quarantineListCommand(), a.quarantineShowCommand(), a.quarantinePartsCommand()}
	for i := range judgements {
		verbs = append(verbs, a.editCommand(&judgements[i]))
	}
	return group("quarantine", "Mail that is kept apart until somebody has judged it", verbs...)
}

// outsideQuarantine keeps a filter from what must be judged first: "all" is
// easily written.
func outsideQuarantine(filter string) string {
	return "(" + filter + ") and not (" + quarantine.Where("") + ")"
}

// maxOnly is how many addresses a judgement can name.
const maxOnly = 100

// setOnly checks and sets to whom a judgement is limited.
func (r *editRun) setOnly(flags *pflag.FlagSet) error {
	if !flags.Changed("to") {
		return nil
	}
	list, err := flags.GetStringSlice("to")
	if err != nil {
		return err
	}
	for _, text := range list {
		to, err := mail.ParseAddress(text)
		if err != nil {
			return usageError{fmt.Errorf("--to %q: %w", text, err)}
		}
		r.only = append(r.only, to)
	}
	if len(r.only) == 0 || len(r.only) > maxOnly {
		return usageError{fmt.Errorf("--to names %d addresses; 1 to %d are possible", len(r.only), maxOnly)}
	}
	return nil
}

// amongst narrows a filter to some recipients; none is all.
func amongst(recipients []mail.Address) string {
	if len(recipients) == 0 {
		return ""
	}
	names := make([]string, len(recipients))
	for i, a := range recipients {
		names[i] = filter.Quote(a.String())
	}
	return " and recipient in (" + strings.Join(names, ", ") + ")"
}

// checkOnly makes sure that each address that was named is there: one that is
// misspelt would be left out without a word.
func (r *editRun) checkOnly(ctx context.Context) error {
	for _, a := range r.only {
		filters := make([]string, len(r.filters))
		for i, f := range r.filters {
			filters[i] = f + amongst([]mail.Address{a})
		}
		found, err := r.countIn(ctx, filters)
		if err != nil {
			return err
		}
		if found.Total() == 0 {
			return fmt.Errorf("nothing was done: --to %s: what is selected in quarantine has no such recipient; `postern quarantine show ID` lists them", a)
		}
	}
	return nil
}

func (a *app) quarantineListCommand() *cobra.Command {
	return listCommand("List the messages in quarantine, oldest first",
		"List the messages in quarantine of which a recipient is selected, oldest first,\na line for each.", a.listQuarantine)
}

// listQuarantine prints what is in quarantine as it comes.
func (a *app) listQuarantine(ctx context.Context, l admin.Listing) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	list := newListing(a, "MESSAGE\tAGE\tSIZE\tFROM\tTO\tSUBJECT\tWHY")
	err = list.end(client.Quarantine(ctx, l, list.bar.show, func(i *quarantine.Item) error {
		return list.add(i, func(w io.Writer) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, age(i.Since), size(i.Size), column(i.From), firstOf(i.To), column(itemSubject(i)), clipped(i.Why, maxLastColumn))
		})
	}))
	if err == nil && list.count == 0 && !a.json {
		nothing := "nothing is in quarantine"
		if l.Filter != "" {
			nothing = "nothing in quarantine is selected"
		}
		fmt.Fprintln(a.out, nothing)
	}
	return err
}

// itemSubject is the subject of a message, or why there is none.
func itemSubject(i *quarantine.Item) string {
	if i.Unreadable != "" {
		return "(cannot be read)"
	}
	return i.Subject
}

// suspect is all that a person may want to see of a message in quarantine, but
// its content.
type suspect struct {
	Message admin.Message  `json:"message"`
	Trail   []mail.Decided `json:"trail"` // the decisions that led there
	Header  admin.Header   `json:"header"`
}

func (a *app) quarantineShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show one message in quarantine: whose it is, why it is there, and its header", Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (suspect, error) {
				return findSuspect(ctx, c, mail.ID(args[0]))
			}, a.showSuspect)
		}}
}

var errNotThere = errors.New("none of its recipients is in quarantine; `postern queue show` tells of other messages")

func findSuspect(ctx context.Context, c *admin.Client, id mail.ID) (s suspect, err error) {
	if s.Message, err = c.Message(ctx, id); err != nil {
		return s, err
	}
	if !inQuarantine(&s.Message.Entry) {
		return s, fmt.Errorf("message %s: %w", id, errNotThere)
	}
	s.Trail = []mail.Decided{}
	err = c.Journal(ctx, admin.JournalQuery{Message: id}, func(f mail.Fact) error {
		if f.Message == id {
			s.Trail = append(s.Trail, f.Trail...)
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	s.Header, err = c.Header(ctx, id)
	return s, err
}

func inQuarantine(e *queue.Entry) bool {
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			if e.Deliveries[i].Recipients[j].Hold == mail.HoldQuarantine {
				return true
			}
		}
	}
	return false
}

func (a *app) showSuspect(s *suspect) {
	e := &s.Message.Entry
	a.showOrigin(e)
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			a.showRecipient(&e.Deliveries[i].Recipients[j])
		}
	}
	if len(s.Trail) > 0 {
		fmt.Fprintln(a.out, "\nwhat was decided:")
	}
	for _, d := range s.Trail {
		fmt.Fprintf(a.out, "  %s\n", printable(d.String()))
	}
	fmt.Fprintln(a.out, "\nheader:")
	for _, f := range s.Header.Fields {
		fmt.Fprintf(a.out, "  %s: %s\n", printable(f.Name), printable(f.Value))
		if f.Decoded != "" {
			fmt.Fprintf(a.out, "    which reads: %s\n", printable(f.Decoded))
		}
	}
	if s.Header.Cut {
		fmt.Fprintln(a.out, "  and more; `postern queue cat` has all")
	}
	a.showCommands([]command{
		{"quarantine parts " + string(e.ID), "see what is in it"},
		{"quarantine release " + string(e.ID), "send it to all; --to A,B to these alone"},
		{"quarantine delete " + string(e.ID), "drop it; nobody is told"},
		{"queue cat " + string(e.ID), "read it as it is stored"},
		{"journal show " + string(e.ID), "see what happened so far"},
	})
}
