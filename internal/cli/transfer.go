package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"postern/internal/mail"
	"postern/internal/transfer"
)

func (a *app) queueExportCommand() *cobra.Command {
	var hold, move bool
	c := &cobra.Command{Use: "export DIR [FILTER | ID...]", Short: "Write messages, with their states, to a directory that another queue can import", Args: directoryFirst,
		Long: `Export the messages of which a recipient is selected, or all: each whole, with
all its recipients. DIR must not exist. It has two files for each message: ID.eml
is the content, octet by octet, and ID.json all else. docs/operations.md has more.

With --hold they are held here before they are exported, so that this server
sends nothing of them any more; with --move they are removed as soon as the
export has them on the disk. In the export they have the states they had before.
With neither this server goes on to deliver them.

An export that was cut short goes on when it is repeated.

` + filterHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := filterOf(args[1:])
			if err != nil {
				return err
			}
			o := transfer.Options{Dir: args[0], Filter: filter, Source: transfer.Kept}
			switch {
			case hold && move:
				return usageError{errors.New("--hold and --move exclude each other")}
			case hold:
				o.Source = transfer.Held
			case move:
				o.Source = transfer.Removed
			}
			return a.export(cmd.Context(), o)
		}}
	c.Flags().BoolVar(&hold, "hold", false, "hold the messages here")
	c.Flags().BoolVar(&move, "move", false, "remove the messages here, each when the export has it")
	return c
}

// directoryFirst wants the directory of an export.
func directoryFirst(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("%s takes a directory, and then perhaps a filter or ids; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

func (a *app) export(ctx context.Context, o transfer.Options) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	bar := newCounter(a.err, "messages looked at")
	failed := 0
	o.Progress = bar.show
	o.Waiting = func(attempts int) {
		bar.end()
		fmt.Fprintf(a.err, "waiting for the attempts to deliver %s to end\n", several(attempts, "message", "messages"))
	}
	o.Failed = func(id mail.ID, err error) {
		bar.end()
		failed++
		fmt.Fprintf(a.err, "message %s is left out: %s\n", id, printable(err.Error()))
	}
	m, err := transfer.Export(ctx, client, &a.ids, o)
	bar.end()
	if err != nil {
		if o.Source != transfer.Kept {
			err = fmt.Errorf("%w\nwhat was held for the export stays held; repeat the export to complete it, or release it", err)
		}
		return err
	}
	err = present(a, &m, func(m *transfer.Manifest) {
		fmt.Fprintf(a.out, "exported %s with %s, %s, to %s%s\n", several(m.Messages, "message", "messages"),
			several(m.Recipients, "recipient", "recipients"), size(m.Octets), printable(o.Dir), leftBehind[o.Source])
	})
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%s could not be read and stayed in the queue", several(failed, "message", "messages")))
	}
	return err
}

// leftBehind says what the queue still has.
var leftBehind = map[transfer.Source]string{
	transfer.Kept:    "; this server still has them and delivers them",
	transfer.Held:    "; this server still has them, held",
	transfer.Removed: "; they are removed here",
}

func (a *app) queueImportCommand() *cobra.Command {
	var o transfer.ImportOptions
	c := &cobra.Command{Use: "import DIR", Short: "Take in the messages of an export, with their states", Args: oneDirectory,
		Long: `Import the messages of an export. They keep their content, octet by octet, and
the states, attempts and times of their recipients; they get new ids, and the
journal has both. An export that was imported is not imported again, also when
that was cut short: a repeated import goes on, and tries again what failed.

A message whose files are damaged is left out and reported, and the others go on.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Dir = args[0]
			return a.importExport(cmd.Context(), o)
		}}
	c.Flags().BoolVar(&o.Hold, "held", false, "hold all recipients, whatever state they had")
	c.Flags().BoolVar(&o.Twice, "twice", false, "import although the other server still delivers the messages")
	c.Flags().BoolVar(&o.Incomplete, "incomplete", false, "import what there is of an export that was cut short")
	return c
}

func oneDirectory(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s takes one directory; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

// renamed is what an import says of a message as JSON.
type renamed struct {
	Was mail.ID `json:"was"`
	Now mail.ID `json:"now"`
}

func (a *app) importExport(ctx context.Context, o transfer.ImportOptions) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	bar := newCounter(a.err, "messages")
	o.Progress = bar.show
	o.Imported = func(was, now mail.ID) {
		if a.json {
			_ = a.printJSON(renamed{was, now}) // the output remembers that it failed
		}
	}
	o.Failed = func(id mail.ID, err error) {
		bar.end()
		fmt.Fprintf(a.err, "message %s is left out: %s\n", id, printable(err.Error()))
	}
	r, err := transfer.Import(ctx, client, o)
	bar.end()
	if err == nil || r.Imported > 0 {
		before := ""
		if r.Before > 0 {
			before = fmt.Sprintf("; %d were imported before", r.Before)
		}
		if !a.json {
			fmt.Fprintf(a.out, "imported %s%s\n", several(r.Imported, "message", "messages"), before)
		}
	}
	if err != nil && r.Imported > 0 {
		err = fmt.Errorf("%w\nwhat was imported stays; repeat the import to go on", err)
	}
	if r.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%s could not be imported; mend the files and repeat the import", several(r.Failed, "message", "messages")))
	}
	return err
}
