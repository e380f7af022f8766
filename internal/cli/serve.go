package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

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
	return &cobra.Command{Use: "check", Short: "Check the configuration and the certificates it names, without starting anything", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			c, err := a.load()
			if err == nil {
				_, err = daemon.New(c, daemon.Options{Version: version})
			}
			if a.json {
				return errors.Join(a.printJSON(checked(err)), err)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, a.config, "is good")
			return nil
		}}
}

// finding is what `check --json` says of a configuration.
type finding struct {
	Good     bool     `json:"good"`
	Problems []string `json:"problems"`
}

func checked(err error) finding {
	if err == nil {
		return finding{Good: true, Problems: []string{}}
	}
	return finding{Problems: strings.Split(err.Error(), "\n")}
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
