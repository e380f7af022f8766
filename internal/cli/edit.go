package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
)

// edit is a verb that changes what is in the queue.
type edit struct {
	kind  queue.ChangeKind
	verb  string // its name; "" when that is the kind's
	short string
	done  string // what the recipients are afterwards
	none  string // why a recipient is left as it is
	// to is the name of what the flag --to takes, and what what that is for; "" when there is
	// none, and for where they are sent.
	to, what string
	// asks says that it asks also about one message alone, with this warning.
	asks string
	// within narrows what a filter selects; nil: it is taken as it is.
	within func(filter string) string
}

var edits = []edit{
	{kind: queue.ChangeRetry, short: "Try messages now instead of at their time", done: "due now", none: "those that are held must be released"},
	{kind: queue.ChangeHold, short: "Hold messages until they are released", done: "held", none: "they are held already", to: "reason"},
	{kind: queue.ChangeRelease, short: "Release held messages, but those in quarantine; they are tried now", done: "released", none: "none of them is held",
		within: outsideQuarantine},
	{kind: queue.ChangeRemove, short: "Remove messages from the queue; nobody is told", done: "removed", none: "they have gone", asks: goneForGood},
	{kind: queue.ChangeReroute, short: "Send messages to the servers of another domain, or by another transport", done: "rerouted", none: "they go there already", to: "domain"},
	{kind: queue.ChangeRecipient, short: "Send messages to another address", done: "readdressed", none: "that is their address already", to: "address",
		asks: "Every recipient that is selected gets this one address. Reports still name the old one."},
	{kind: queue.ChangeClass, short: "Give messages another priority class, with all their recipients", done: "of that class", none: "they are of that class already", to: "class", what: "that they get: bulk, normal or urgent"},
}

const goneForGood = "They are gone for good then, and nobody is told: neither the senders nor the recipients."

// name is what the verb is called.
func (e *edit) name() string { return cmp.Or(e.verb, string(e.kind)) }

// editRun is one run of such a verb.
type editRun struct {
	*app
	*edit
	change  admin.Change
	dryRun  bool
	yes     bool
	client  *admin.Client
	only    []mail.Address // of the selected recipients these alone; none: all
	filters []string
	in      *bufio.Reader
}

func (a *app) editCommand(e *edit) *cobra.Command {
	run := editRun{app: a, edit: e, change: admin.Change{Kind: e.kind}}
	c := &cobra.Command{Use: e.name() + " FILTER | ID... | -", Short: e.short, Args: cobra.ArbitraryArgs,
		Long: e.short + `. It says first how many that are, and asks,
unless it is one message alone or --yes is given. Recipients of which an attempt
is under way are changed when it ends, unless they are delivered by then.

With "-" the ids are read from standard input, the first word of each line.

` + filterHelp + "\nThe filter \"all\" is everybody.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := run.setWhat(cmd.Flags()); err != nil {
				return err
			}
			return run.start(cmd, args)
		}}
	flags := c.Flags()
	flags.BoolVar(&run.dryRun, "dry-run", false, "say what would be done, and do nothing")
	flags.BoolVarP(&run.yes, "yes", "y", false, "do not ask")
	switch e.to {
	case "":
	case "reason":
		flags.String("reason", string(mail.HoldOperator), "why they are held: `operator`, or quarantine, which keeps them apart for a person to judge")
	case "addresses":
		flags.StringSlice("to", nil, "only these of the recipients: `addresses`, separated by commas")
	case "domain":
		c.Use = e.name() + " --to DOMAIN | --via TRANSPORT FILTER | ID... | -"
		flags.String("to", "", "the `domain` whose servers they go to; their own, to leave it to the routes")
		flags.String("via", "", "the `transport` by which they go to their own domain, by name; or a server, as host:port")
	default:
		c.Use = fmt.Sprintf("%s --to %s FILTER | ID... | -", e.name(), strings.ToUpper(e.to))
		flags.String("to", "", "the `"+e.to+"` "+cmp.Or(e.what, "to send them to"))
	}
	return c
}

// setWhat checks and sets what the flag of the verb says.
func (r *editRun) setWhat(flags *pflag.FlagSet) (err error) {
	to, _ := flags.GetString("to") // not every verb has it
	switch r.to {
	case "reason":
		reason, _ := flags.GetString("reason")
		r.change.Hold = mail.Hold(reason)
		if r.change.Hold != mail.HoldOperator && r.change.Hold != mail.HoldQuarantine {
			return usageError{fmt.Errorf("--reason %q: it is operator or quarantine", reason)}
		}
	case "addresses":
		return r.setOnly(flags)
	case "domain":
		if via, _ := flags.GetString("via"); via != "" {
			return r.setVia(via, to)
		}
		r.change.Destination, err = mail.ParseDestination(to)
	case "address":
		r.change.Recipient = to
		_, err = mail.ParseAddress(to)
	case "class":
		r.change.Class = strings.ToLower(to)
		_, err = mail.ParseClass(to)
	}
	if err != nil {
		return usageError{fmt.Errorf("--to %q: %w", to, err)}
	}
	return nil
}

// setVia sets the way of a reroute, which stands in the place of a domain.
func (r *editRun) setVia(via, to string) error {
	if to != "" {
		return usageError{errors.New("--to and --via: give one of them")}
	}
	r.change.Via = via
	if _, err := mail.ParseRouteKey(via); err != nil {
		return usageError{fmt.Errorf("--via %q: %w", via, err)}
	}
	return nil
}

func (r *editRun) start(cmd *cobra.Command, args []string) (err error) {
	r.in = bufio.NewReader(cmd.InOrStdin())
	if r.filters, err = r.selected(cmd, args); err != nil {
		return err
	}
	if r.json && !r.yes && !r.dryRun {
		return usageError{errors.New("--json asks no questions: add --yes, or --dry-run")}
	}
	if r.client, err = r.app.client(); err != nil {
		return err
	}
	found, err := r.count(cmd.Context())
	if err != nil {
		return err
	}
	if !r.json {
		r.showSelection(&found)
	}
	if r.dryRun || found.Changes == 0 {
		return r.finish(&edited{Selection: found, DryRun: r.dryRun})
	}
	if err := r.confirm(&found); err != nil {
		return err
	}
	done, err := r.run(cmd.Context(), found.Changes)
	if err != nil {
		return err
	}
	return r.finish(&edited{Selection: found, Edited: done})
}

// edited is what such a verb says as JSON.
type edited struct {
	Selection admin.Selection `json:"selection"`
	DryRun    bool            `json:"dry_run,omitempty"`
	Edited    queue.Edited    `json:"edited"`
}

// idsPerFilter is how many ids one filter has.
const idsPerFilter = 10_000

// maxIDs is how many ids are read from standard input.
const maxIDs = 5_000_000

// selected are the filters that the arguments stand for.
func (r *editRun) selected(cmd *cobra.Command, args []string) ([]string, error) {
	switch {
	case len(args) == 0:
		return nil, usageError{fmt.Errorf("which messages? %s takes a filter, ids, or all; see '%[1]s --help'", cmd.CommandPath())}
	case len(args) > 1 || args[0] != "-":
		filter, err := filterOf(args)
		return []string{r.narrowed(filter)}, err
	case !r.yes && !r.dryRun:
		return nil, usageError{errors.New("with ids from standard input nothing can be asked there: add --yes, or --dry-run")}
	}
	ids, err := readIDs(r.in)
	if err != nil {
		return nil, err
	}
	var filters []string
	for part := range slices.Chunk(ids, idsPerFilter) {
		filters = append(filters, r.narrowed(filterOfIDs(part)))
	}
	return filters, nil
}

// narrowed is a filter as far as the verb takes it.
func (r *editRun) narrowed(filter string) string {
	if r.within != nil {
		filter = r.within(filter)
	}
	return filter + amongst(r.only)
}

// readIDs reads the first word of each line.
func readIDs(in io.Reader) (ids []string, err error) {
	lines := bufio.NewScanner(in)
	for number := 1; lines.Scan(); number++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if _, err := mail.ParseID(words[0]); err != nil {
			return nil, fmt.Errorf("standard input, line %d: %w", number, err)
		}
		if ids = append(ids, words[0]); len(ids) > maxIDs {
			return nil, fmt.Errorf("standard input, line %d: more than %d ids; use a filter", number, maxIDs)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), lines.Err()
}

func (r *editRun) count(ctx context.Context) (admin.Selection, error) {
	if err := r.checkOnly(ctx); err != nil {
		return admin.Selection{}, err
	}
	return r.countIn(ctx, r.filters)
}

func (r *editRun) countIn(ctx context.Context, filters []string) (admin.Selection, error) {
	total := admin.Selection{Recipients: map[mail.State]int{}}
	bar := newCounter(r.err, "messages looked at")
	defer bar.end()
	for _, filter := range filters {
		found, err := r.client.Count(ctx, admin.Edit{Filter: filter, Change: r.change}, bar.show)
		if err != nil {
			return total, err
		}
		total.Merge(&found)
	}
	return total, nil
}

func (r *editRun) run(ctx context.Context, changes int) (queue.Edited, error) {
	var total queue.Edited
	bar := newCounter(r.err, "recipients")
	defer bar.end()
	for _, filter := range r.filters {
		done, err := r.client.Edit(ctx, admin.Edit{Filter: filter, Change: r.change}, func(now queue.Edited) {
			bar.show(queue.Progress{Done: int64(min(total.Sum()+now.Sum(), changes)), Total: int64(changes)})
		})
		if ctx.Err() != nil {
			return total, fmt.Errorf("interrupted; the server goes on with what it has begun, `postern status` says how far it is")
		}
		if err != nil {
			return total, err
		}
		total.Changed += done.Changed
		total.Pending += done.Pending
	}
	return total, nil
}

func (r *editRun) showSelection(found *admin.Selection) {
	if found.Messages == 0 {
		fmt.Fprintln(r.out, "nothing in the queue is selected")
		return
	}
	fmt.Fprintf(r.out, "selected: %s with %s (%d queued, %d deferred, %d held), %s, the oldest waits for %s\n",
		several(found.Messages, "message", "messages"), several(found.Total(), "recipient", "recipients"),
		found.Recipients[mail.Queued], found.Recipients[mail.Deferred], found.Recipients[mail.Held], size(found.Size), age(found.Oldest))
	switch {
	case found.Changes == 0:
		fmt.Fprintf(r.out, "nothing to do: %s\n", r.none)
	case r.dryRun:
		fmt.Fprintf(r.out, "%s would be %s\n", several(found.Changes, "recipient", "recipients"), r.done)
	}
}

// confirm asks, unless that is not needed.
func (r *editRun) confirm(found *admin.Selection) error {
	if r.yes || found.Messages == 1 && r.asks == "" {
		return nil
	}
	if r.asks != "" {
		fmt.Fprintln(r.err, r.asks)
	}
	fmt.Fprintf(r.err, "%s will be %s. Go on? [y/N] ", several(found.Changes, "recipient", "recipients"), r.done)
	said, err := r.in.ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(said)) {
	case "y", "yes":
		return nil
	}
	if err != nil {
		return errors.New("nothing was done: there was no answer; --yes does it without a question")
	}
	return errors.New("nothing was done")
}

func (r *editRun) finish(e *edited) error {
	if r.json {
		return r.printJSON(e)
	}
	if done := e.Edited; done.Sum() > 0 {
		fmt.Fprintf(r.out, "%s %s\n", several(done.Changed, "recipient", "recipients"), r.done)
		if done.Pending > 0 {
			fmt.Fprintf(r.out, "%s more will be %s when the attempt that is under way ends, unless delivered by then\n",
				several(done.Pending, "recipient", "recipients"), r.done)
		}
	}
	return nil
}
