package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"postern/internal/config"
	"postern/internal/daemon"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{Use: "serve", Short: "Run the server until it is told to stop", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			d, err := daemon.New(c, daemon.Options{Version: version, Logger: newLogger(a.err, c.Log)})
			if err != nil {
				return err
			}
			return d.Run(cmd.Context())
		}}
}

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{Use: "check", Short: "Check the configuration, without starting anything", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			if _, err := daemon.New(c, daemon.Options{Version: version, Logger: slog.New(slog.DiscardHandler)}); err != nil {
				return err
			}
			fmt.Fprintln(a.out, a.config, "is good")
			return nil
		}}
}

// newLogger returns the logger that the configuration asks for.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// interrupted reports whether err only says that the user ended the command.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
