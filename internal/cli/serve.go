package cli

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"postern/internal/config"
	"postern/internal/daemon"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{Use: "serve", Short: "Run the server until it is told to stop", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// From here on the signal does not end the process.
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			c, err := a.load()
			if err != nil {
				return err
			}
			level := new(slog.LevelVar)
			level.Set(c.Log.Level)
			d, err := daemon.New(c, daemon.Options{
				Version: version, Logger: newLogger(a.err, c.Log.Format, level), Level: level, Load: a.load, Hangup: hangup,
			})
			if err != nil {
				return err
			}
			return d.Run(cmd.Context())
		}}
}

// newLogger returns a logger of lines in a format.
func newLogger(w io.Writer, format config.LogFormat, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: textOfError}
	if format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// textOfError logs the text of an error alone: some libraries' errors would
// add the stack.
func textOfError(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		a.Value = slog.StringValue(err.Error())
	}
	return a
}
