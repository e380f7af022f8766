package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/daemon"
	"postern/internal/queue"
)

func (a *app) storeCommand() *cobra.Command {
	return group("store", "How the messages are kept on the disk",
		a.storeStatCommand(), a.storeVerifyCommand(), a.storeSalvageCommand())
}

// maintainer is the store of the server that runs, or else of the one that
// would run with the configuration.
func (a *app) maintainer(ctx context.Context) (admin.Maintainer, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	if _, err = client.Status(ctx); !errors.Is(err, admin.ErrNotRunning) || a.socket != "" {
		return client, err
	}
	return a.maintenance()
}

func (a *app) maintenance() (daemon.Maintenance, error) {
	c, err := a.load()
	if err != nil {
		return daemon.Maintenance{}, err
	}
	return daemon.Maintenance{Config: c, Logger: newLogger(a.err, c.Log.Format, c.Log.Level)}, nil
}

func (a *app) storeStatCommand() *cobra.Command {
	return &cobra.Command{Use: "stat", Short: "Tell what the store takes on the disk, and what is in it", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.maintainer(cmd.Context())
			if err != nil {
				return err
			}
			st, err := store.Stat(cmd.Context())
			if err != nil {
				return err
			}
			return present(a, &st, a.showStat)
		}}
}

func (a *app) showStat(st *queue.Stat) {
	var live, taken int64
	for _, g := range st.Segments {
		live, taken = live+g.Live, taken+g.Size
	}
	fmt.Fprintf(a.out, "store     %s, format %d\n", printable(st.Directory), st.Format)
	fmt.Fprintf(a.out, "entries   %d with %s and %s; %d set aside as damaged\n", st.Entries,
		several(st.Deliveries, "delivery", "deliveries"), several(st.Bodies, "content", "contents"), st.Aside)
	if st.Oldest != "" {
		fmt.Fprintf(a.out, "oldest    %s, accepted %s (%s ago)\n", st.Oldest, st.Accepted.Local().Format(dateTime), age(st.Accepted))
	}
	fmt.Fprintf(a.out, "database  %s\n", size(int64(st.Database)))
	fmt.Fprintf(a.out, "segments  %d of %s in all, of which %s are needed and %s are garbage; %s moved\n",
		len(st.Segments), size(taken), size(live), size(max(0, taken-live)), several(int(st.Moved), "content", "contents"))
	if st.Spare {
		fmt.Fprintln(a.out, "spare     1 file of an old segment, kept to become the next")
	}
	fmt.Fprintf(a.out, "files     %d of %s in all, each a large content\n", st.Files, size(st.FileSize))
	fmt.Fprintf(a.out, "memory    %s\n", size(st.Memory))
	if len(st.Segments) == 0 {
		return
	}
	table := newTable(a.out)
	fmt.Fprintln(table, "\nSEGMENT\tSIZE\tNEEDED\tCONTENTS\tAGE\t")
	for _, g := range st.Segments {
		state := ""
		if g.Active {
			state = "being written"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%d\t%s\t%s\n", g.Number, size(g.Size), size(g.Live), g.Bodies, age(g.Created), state)
	}
	_ = table.Flush() // a.out remembers a failure
}

func (a *app) storeVerifyCommand() *cobra.Command {
	return &cobra.Command{Use: "verify", Short: "Read everything in the store and check it; the server may run meanwhile", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.maintainer(cmd.Context())
			if err != nil {
				return err
			}
			bar := newBar(a.err)
			v, err := store.Verify(cmd.Context(), bar.show)
			bar.end()
			if err != nil {
				return err
			}
			err = present(a, &v, a.showVerified)
			if n := v.Flaws.Count; n > 0 {
				return errors.Join(err, fmt.Errorf("damaged in %s; docs/operations.md says what to do", several(n, "place", "places")))
			}
			return err
		}}
}

func (a *app) showVerified(v *queue.Verified) {
	entries := ", " + several(v.Entries, "entry", "entries")
	if v.Entries == 0 && v.Flaws.Count > 0 {
		entries = "; entries are not looked at while the database is damaged"
	}
	if v.Flaws.Count == 0 {
		entries += "; nothing is damaged"
	}
	fmt.Fprintf(a.out, "read %s: %s%s\n", size(v.Octets), several(v.Bodies, "content", "contents"), entries)
	a.showFlaws(&v.Flaws)
}

func (a *app) showFlaws(f *queue.Flaws) {
	for _, flaw := range f.List {
		fmt.Fprintln(a.out, flawLine(&flaw))
	}
	if more := f.Count - len(f.List); more > 0 {
		fmt.Fprintf(a.out, "and %d more\n", more)
	}
}

// flawLine says where a flaw is, and what it is.
func flawLine(f *queue.Flaw) string {
	var parts []string
	switch {
	case f.Entry != "":
		parts = append(parts, "message "+string(f.Entry))
	case f.Body != "":
		parts = append(parts, "content "+string(f.Body))
	}
	if f.File != "" {
		parts = append(parts, fmt.Sprintf("%s, offset %d", f.File, f.Offset))
	}
	return printable(strings.Join(append(parts, f.Cause), ": "))
}

func (a *app) storeSalvageCommand() *cobra.Command {
	return &cobra.Command{Use: "salvage", Short: "Rebuild what can be read of a damaged store; the server must not run", Args: noArguments,
		Long: `Salvage reads every file of a damaged store and builds a new database from
what can be read. Messages of which nothing was lost stay as they are. Those
whose state is not certain are held, so that nothing is sent twice, and those
that cannot be put together are listed by "postern queue damaged". The damaged
database stays where it is told at the end, until you remove it.

After damage to a log or to the manifest, that may be all messages. "postern
queue release" releases them when you know that they were not delivered.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.maintenance()
			if err != nil {
				return err
			}
			bar := newBar(a.err)
			s, err := store.Salvage(cmd.Context(), bar.show)
			bar.end()
			if err != nil {
				return err
			}
			return present(a, &s, a.showSalvaged)
		}}
}

func (a *app) showSalvaged(s *queue.Salvaged) {
	if s.Old == "" {
		fmt.Fprintln(a.out, "the database is whole; nothing was changed")
		fmt.Fprintln(a.out, "a message whose content is damaged cannot be mended: the server sets it aside at its next attempt")
		return
	}
	fmt.Fprintf(a.out, "the database was damaged in %s:\n", several(s.Found.Count, "place", "places"))
	a.showFlaws(&s.Found)
	fmt.Fprintf(a.out, "\nin the store now: %s\n", several(s.Entries, "message", "messages"))
	if s.Held > 0 {
		fmt.Fprintf(a.out, "held, because what became of them before is not certain: %d (postern queue list 'state = held')\n", s.Held)
	}
	if s.Lost.Count > 0 {
		fmt.Fprintf(a.out, "not brought back: %s (postern queue damaged):\n", several(s.Lost.Count, "message", "messages"))
		a.showFlaws(&s.Lost)
	}
	if s.Facts > 0 {
		fmt.Fprintf(a.out, "lost on the way to the journal: %s\n", several(s.Facts, "fact", "facts"))
	}
	fmt.Fprintf(a.out, "the damaged database is in %s; remove it when you do not need it any more\n", printable(s.Old))
}

func (a *app) queueDamagedCommand() *cobra.Command {
	return &cobra.Command{Use: "damaged", Short: "List the messages that were set aside because they cannot be read", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			n := 0
			for page := (queue.Page{Limit: admin.MaxPage}); ; {
				list, err := client.Damaged(cmd.Context(), page)
				if err != nil {
					return err
				}
				for i := range list {
					if err := a.printDamaged(&list[i]); err != nil {
						return err
					}
				}
				if n += len(list); len(list) < admin.MaxPage {
					break
				}
				page.After = list[len(list)-1].ID
			}
			if n == 0 && !a.json {
				fmt.Fprintln(a.out, "no message is damaged")
			}
			return nil
		}}
}

func (a *app) printDamaged(d *queue.Damaged) error {
	if a.json {
		return a.printJSON(d)
	}
	fmt.Fprintf(a.out, "%s  found %s  %s\n", d.ID, d.At.Local().Format(dateTime), printable(d.Cause))
	return nil
}
