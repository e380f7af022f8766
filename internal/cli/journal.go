package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
)

func (a *app) journalCommand() *cobra.Command {
	return group("journal", "What happened, and why", a.journalTailCommand(), a.journalFindCommand(), a.journalShowCommand())
}

func (a *app) journalTailCommand() *cobra.Command {
	q := admin.JournalQuery{}
	c := &cobra.Command{Use: "tail", Short: "Print the last facts, in local time", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case q.Last < 0 || q.Last > admin.MaxLast:
				return usageError{fmt.Errorf("--lines %d: it must be from 0 to %d; `postern journal find` looks at all", q.Last, admin.MaxLast)}
			case q.Last == 0:
				q.Last = -1 // none: in a query, 0 means all
			}
			_, err := a.printFacts(cmd.Context(), q, true)
			return err
		}}
	c.Flags().IntVarP(&q.Last, "lines", "n", 20, "`number` of facts")
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with what happens from now, until interrupted")
	return c
}

func (a *app) journalShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Tell the story of one message, and of reports about it, in local time", Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.printFacts(cmd.Context(), admin.JournalQuery{Message: mail.ID(args[0])}, false)
			if err == nil && n == 0 {
				err = fmt.Errorf("the journal knows no message %s", args[0])
			}
			return err
		}}
}

// readJournal reads the files of a server that does not run.
func (a *app) readJournal(ctx context.Context, q admin.JournalQuery, each func(mail.Fact) error) error {
	files, err := a.maintenance()
	if err != nil {
		return err
	}
	fmt.Fprintln(a.err, "the server is not running; this is what the files of its journal have")
	if err = files.ReadJournal(ctx, q, each); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no journal yet: no server has run with this data_dir (%w)", err)
	}
	return err
}

// printFacts prints the facts that a query selects, and returns their number.
// Lines of several messages begin with the id of theirs.
func (a *app) printFacts(ctx context.Context, q admin.JournalQuery, ids bool) (int, error) {
	client, err := a.client()
	if err != nil {
		return 0, err
	}
	n := 0
	teller := newTeller(a.out)
	teller.ids = ids
	each := func(f mail.Fact) error {
		n++
		if a.json {
			return a.printJSON(f)
		}
		teller.tell(&f)
		return a.out.err
	}
	err = client.Journal(ctx, q, each)
	if errors.Is(err, admin.ErrNotRunning) && a.socket == "" && !q.Follow {
		err = a.readJournal(ctx, q, each)
	}
	if q.Follow && errors.Is(err, context.Canceled) {
		err = nil // interrupted, as it was meant to be
	}
	return n, err
}
