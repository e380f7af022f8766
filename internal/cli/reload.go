package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/admin"
)

const reloadHelp = `Have the running server read its configuration again, with all files that it
names (certificates, secrets), and put it in force as a whole. Prints what has
changed, and what will change only when the server is started again. A SIGHUP to
the server does the same.

When anything is wrong, nothing changes, and all that is wrong is told.

Ends with
  0  it is in force; or nothing had changed
  1  something is wrong, and the old configuration stays in force; or there is
     no server
  2  the command line is wrong`

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{Use: "reload", Short: "Have the server read its configuration again", Long: reloadHelp, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), a, (*admin.Client).Reload, a.showReloaded)
		}}
}

func (a *app) showReloaded(done *admin.Reloaded) {
	for _, c := range done.Changes {
		fmt.Fprintln(a.out, printable(c.String()))
	}
	for _, c := range done.Pending {
		fmt.Fprintf(a.out, "at the next start only: %s\n", printable(c.String()))
	}
	for _, w := range done.Warnings {
		fmt.Fprintln(a.out, "warning:", printable(w.String()))
	}
	if len(done.Changes) == 0 {
		fmt.Fprintf(a.out, "nothing has changed; configuration %d stays in force\n", done.Generation)
		return
	}
	fmt.Fprintf(a.out, "configuration %d is in force, with %s\n", done.Generation, several(len(done.Changes), "change", "changes"))
}

func (a *app) listenerCommand() *cobra.Command {
	return group("listener", "Listeners, and whether they take clients",
		a.listenerListCommand(), a.listenerShowCommand(),
		a.listenerVerb("stop", "Close a listener until it is started again, or the server is; its sessions end after their message", "takes no clients until it is started", (*admin.Client).StopListener),
		a.listenerVerb("start", "Open a listener that was stopped", "takes clients", (*admin.Client).StartListener),
	)
}

func (a *app) listenerListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the listeners and their connections", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) ([]admin.Listener, error) {
				status, err := c.Status(ctx)
				return status.Listeners, err
			}, func(list *[]admin.Listener) {
				a.showListeners(*list)
				a.showUnsafe(*list)
			})
		}}
}

// listenerAction is what a Client does with a listener.
type listenerAction func(c *admin.Client, ctx context.Context, name string) error

func (a *app) listenerVerb(verb, short, effect string, do listenerAction) *cobra.Command {
	return &cobra.Command{Use: verb + " NAME", Short: short, Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := do(client, cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.say(map[string]string{"listener": args[0]}, "listener %s %s", args[0], effect)
		}}
}

func oneName(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && args[0] != "" {
		return nil
	}
	return usageError{fmt.Errorf("%s takes the name of one listener; see '%[1]s --help'", cmd.CommandPath())}
}

// levels are the levels of the log, by the names that the configuration has.
var levels = []string{"debug", "info", "warn", "error"}

func levelName(l slog.Level) string { return strings.ToLower(l.String()) }

const logLevelHelp = `Print the level of the server's log, or set it. A level that is set holds until
the server ends, or until a reload finds that log.level has changed.`

func (a *app) logLevelCommand() *cobra.Command {
	return &cobra.Command{Use: "log-level [" + strings.Join(levels, "|") + "]", Short: "Print or set the level of the server's log", Long: logLevelHelp, Args: oneLevel,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.setLogLevel(cmd.Context(), args[0])
			}
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.LogLevel, error) {
				status, err := c.Status(ctx)
				return status.LogLevel, err
			}, func(l *admin.LogLevel) { fmt.Fprintln(a.out, levelName(l.Level)) })
		}}
}

func (a *app) setLogLevel(ctx context.Context, name string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return usageError{err}
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	if err := client.SetLogLevel(ctx, level); err != nil {
		return err
	}
	return a.say(map[string]string{"level": name}, "the log level is %s until the server ends, or log.level changes", name)
}

func oneLevel(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || len(args) == 1 && slices.Contains(levels, args[0]) {
		return nil
	}
	return usageError{fmt.Errorf("%s takes one of %s; see '%[1]s --help'", cmd.CommandPath(), strings.Join(levels, ", "))}
}
