package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/config"
	"postern/internal/daemon"
	"postern/internal/doctor"
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
	var askDNS bool
	command := &cobra.Command{Use: "check", Short: "Check the configuration and the certificates it names, without starting anything", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := finding{Problems: []string{}, Warnings: []doctor.Finding{}}
			err := a.check(cmd.Context(), askDNS, &f)
			if a.json {
				return errors.Join(a.printJSON(f), err)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, a.config, "is good")
			for _, w := range f.Warnings {
				fmt.Fprintln(a.out, "warning:", w)
			}
			return nil
		}}
	command.Flags().BoolVar(&askDNS, "dns", false, "also ask DNS whether others will find this host as they expect; what they will not is a warning")
	return command
}

// finding is what `check --json` says of a configuration.
type finding struct {
	Good     bool             `json:"good"`
	Problems []string         `json:"problems"`
	Warnings []doctor.Finding `json:"warnings"`
}

// check fills f. It fails when the configuration is not good.
func (a *app) check(ctx context.Context, askDNS bool, f *finding) error {
	c, err := a.load()
	if err == nil {
		var d *daemon.Daemon
		if d, err = daemon.New(c, daemon.Options{Version: version}); err == nil && askDNS {
			f.Warnings = append(f.Warnings, d.CheckDNS(ctx)...)
		}
	}
	if err != nil {
		f.Problems = strings.Split(err.Error(), "\n")
		return err
	}
	f.Good = true
	return nil
}

// newLogger returns the logger that the configuration asks for.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level, ReplaceAttr: textOfError}
	if c.Format == config.LogJSON {
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
