package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/daemon"
	"postern/internal/queue"
)

func (a *app) backupCommand() *cobra.Command {
	var o admin.SnapshotOrder
	c := &cobra.Command{Use: "backup DIR", Short: "Write a backup of queue, directory, journal and keys; the server may run meanwhile", Args: oneDirectory,
		Long: `Write a backup of queue, directory and journal, of the keys for signatures (DKIM), and of
the certificates that commands and authorities have made, to a directory that does not
exist yet, as they are at this moment, and verify it. On the file system of data_dir it
takes little room, because files of the queue that do not change any more are linked;
that protects from mistakes, and not from the loss of the disk.

It has private keys: keep it as safe as the server. The key file, under which
credentials in the directory are sealed, is not in it, unless --with-key-file says so:
who has both has the passwords. Keep a copy of it apart.

The configuration is not in it. docs/operations.md says what a backup of a queue
is good for, and what it is not.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			bar := newBar(a.err)
			b, err := a.backup(cmd.Context(), args[0], o, bar.show)
			bar.end()
			if err != nil {
				return err
			}
			err = present(a, &b, func(b *daemon.Backup) {
				fmt.Fprintf(a.out, "backup in %s: %s, %s; verified\n", printable(args[0]), several(len(b.Files), "file", "files"), size(b.Octets))
				a.showPrivate(b)
				a.showFlaws(&b.Damage)
			})
			if n := b.Damage.Count; n > 0 {
				err = errors.Join(err, fmt.Errorf("the backup is complete, but what is in it is damaged in %s, as it is here; docs/operations.md says what to do", several(n, "place", "places")))
			}
			return err
		}}
	c.Flags().BoolVar(&o.KeyFile, "with-key-file", false, "with the key file of credentials: who has the backup has the passwords then")
	return c
}

// showPrivate says what is secret in a backup, and what is not in it.
func (a *app) showPrivate(b *daemon.Backup) {
	if len(b.Keys) > 0 {
		fmt.Fprintf(a.out, "it has private keys (%s): keep it as safe as the server\n", strings.Join(b.Keys, ", "))
	}
	if b.KeyFile != "" {
		fmt.Fprintf(a.out, "it is without %s, under which its credentials are sealed: keep a copy of that apart\n", printable(b.KeyFile))
	}
}

// backup asks the server that runs for what is to be copied, or else takes
// what the one that would run with the configuration has.
func (a *app) backup(ctx context.Context, dir string, o admin.SnapshotOrder, progress func(queue.Progress)) (b daemon.Backup, err error) {
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
		return m.Backup(ctx, dir, version, o, progress)
	}
	if err != nil {
		return b, err
	}
	if o.To, err = filepath.Abs(dir); err != nil {
		return b, err
	}
	m := daemon.Maintenance{Logger: slog.New(slog.DiscardHandler)} // what it finds is in its result
	err = client.Backup(ctx, o, func(ctx context.Context, of admin.SnapshotReady, files []admin.SnapshotFile) (err error) {
		b, err = m.WriteBackup(ctx, dir, of, files, progress)
		return err
	})
	return b, err
}

func (a *app) restoreCommand() *cobra.Command {
	var damaged bool
	c := &cobra.Command{Use: "restore DIR", Short: "Restore a backup into an empty data_dir; the server must not run", Args: oneDirectory,
		Long: `Copy a backup to data_dir, where there must be neither queue, directory nor
journal, and nothing else that is in the backup, and verify it. If it is interrupted, run
it again.

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
				return errors.Join(err, errors.New("nothing was restored; --damaged restores it although contents, entries or keys are damaged: the server sets such messages aside, and does without such keys"))
			}
			if err != nil {
				return err
			}
			return present(a, &b, func(b *daemon.Backup) {
				fmt.Fprintf(a.out, "restored to %s: %s, as %s was at %s; verified\n", printable(store.Config.DataDir), size(b.Octets), printable(b.Host), b.Made.Local().Format(dateTime))
				a.showFlaws(&b.Damage)
				if b.Sealed != "" {
					fmt.Fprintf(a.out, "credentials cannot be used: %s\n", printable(b.Sealed))
				}
				fmt.Fprintln(a.out, "delivery is suspended: mail delivered since then would be sent again; `postern resume delivery` ends that")
			})
		}}
	c.Flags().BoolVar(&damaged, "damaged", false, "restore although contents, entries or keys are damaged")
	return c
}
