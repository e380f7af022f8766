package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/daemon"
	"postern/internal/queue"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{Use: "backup DIR", Short: "Write a backup of queue, directory and journal; the server may run meanwhile", Args: oneDirectory,
		Long: `Write a backup of queue, directory and journal to a directory that does not exist yet, as
they are at this moment, and verify it. On the file system of data_dir it takes
little room, because files that do not change any more are linked; that protects
from mistakes, and not from the loss of the disk.

The configuration is not in it. docs/operations.md says what a backup of a queue
is good for, and what it is not.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			bar := newBar(a.err)
			b, err := a.backup(cmd.Context(), args[0], bar.show)
			bar.end()
			if err != nil {
				return err
			}
			err = present(a, &b, func(b *daemon.Backup) {
				fmt.Fprintf(a.out, "backup in %s: %s, %s; verified\n", printable(args[0]), several(len(b.Files), "file", "files"), size(b.Octets))
				a.showFlaws(&b.Damage)
			})
			if n := b.Damage.Count; n > 0 {
				err = errors.Join(err, fmt.Errorf("the backup is complete, but the store is damaged in %s, and so is the backup; docs/operations.md says what to do", several(n, "place", "places")))
			}
			return err
		}}
}

// backup asks the server that runs for what is to be copied, or else takes
// what the one that would run with the configuration has.
func (a *app) backup(ctx context.Context, dir string, progress func(queue.Progress)) (b daemon.Backup, err error) {
	client, err := a.client()
	if err != nil {
		return b, err
	}
	_, err = client.Status(ctx)
	if errors.Is(err, admin.ErrNotRunning) && a.socket == "" {
		m, err := a.maintenance()
		if err != nil {
			return b, err
		}
		return m.Backup(ctx, dir, version, progress)
	}
	if err != nil {
		return b, err
	}
	m := daemon.Maintenance{Logger: slog.New(slog.DiscardHandler)} // what it finds is in its result
	err = client.Backup(ctx, func(ctx context.Context, of admin.SnapshotReady, files []admin.SnapshotFile) (err error) {
		b, err = m.WriteBackup(ctx, dir, of, files, progress)
		return err
	})
	return b, err
}

func (a *app) restoreCommand() *cobra.Command {
	var damaged bool
	c := &cobra.Command{Use: "restore DIR", Short: "Restore a backup into an empty data_dir; the server must not run", Args: oneDirectory,
		Long: `Copy a backup to data_dir, where there must be neither queue, directory nor
journal, and verify it. If it is interrupted, run it again.

The queue is old then: mail that was delivered since the backup is still in it.
So delivery is suspended in what was restored; "postern status" says so, and
"postern resume delivery" ends that.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.maintenance()
			if err != nil {
				return err
			}
			bar := newBar(a.err)
			b, err := store.Restore(cmd.Context(), args[0], damaged, bar.show)
			bar.end()
			if flawed, ok := errors.AsType[*daemon.DamagedError](err); ok {
				a.showFlaws(&flawed.Flaws)
				return errors.Join(err, errors.New("nothing was restored; --damaged restores it although contents or entries are damaged: the server sets these messages aside"))
			}
			if err != nil {
				return err
			}
			return present(a, &b, func(b *daemon.Backup) {
				fmt.Fprintf(a.out, "restored to %s: %s, as %s was at %s; verified\n", printable(store.Config.DataDir), size(b.Octets), printable(b.Host), b.Made.Local().Format(dateTime))
				a.showFlaws(&b.Damage)
				fmt.Fprintln(a.out, "delivery is suspended: mail delivered since then would be sent again; `postern resume delivery` ends that")
			})
		}}
	c.Flags().BoolVar(&damaged, "damaged", false, "restore although contents or entries are damaged")
	return c
}
