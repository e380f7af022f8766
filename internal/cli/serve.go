package cli

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"postern/internal/daemon"
)

// serveHelp says who the server is.
const serveHelp = `Run the server until it is told to stop.

The server does not run as root. Started by root, it binds its listeners and
makes data_dir for the user that --user names, and becomes that user before it
reads keys and secrets or takes mail. Started by another user, it needs a port
above 1023, or the capability CAP_NET_BIND_SERVICE, or sockets from systemd.

Started by systemd, it says when it is ready, feeds the watchdog as long as it
makes progress, and takes the sockets that have the names of its listeners.`

func (a *app) serveCommand() *cobra.Command {
	var user string
	command := &cobra.Command{Use: "serve", Short: "Run the server until it is told to stop", Long: serveHelp, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// From here on the signal does not end the process.
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			c, err := a.load()
			if err != nil {
				return err
			}
			sockets, err := daemon.InheritSockets()
			if err != nil {
				return err
			}
			if err := sockets.BecomeUser(c, user); err != nil {
				return err
			}
			level := new(slog.LevelVar)
			level.Set(c.Log.Level)
			d, err := daemon.New(c, daemon.Options{
				Version: version, Logger: newLogger(a.err, c.Log.Format, level), Level: level, Load: a.load, Hangup: hangup, Sockets: sockets,
			})
			if err != nil {
				return err
			}
			return d.Run(cmd.Context())
		}}
	command.Flags().StringVar(&user, "user", "", "the `user` to become when root starts it; root to stay root")
	return command
}
