package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"postern/internal/config"
	"postern/internal/trial"
)

func (a *app) tryCommand() *cobra.Command {
	o := trial.Options{Version: version}
	c := &cobra.Command{Use: "try", Short: "Run a server for a trial: no configuration, on loopback, with a receiver behind it", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Logger = defaultLogger(a.err)
			o.Ready = a.printGuide
			err := trial.Run(cmd.Context(), o)
			if errors.Is(err, syscall.EADDRINUSE) {
				err = fmt.Errorf("%w (is another trial running? --listen and --sink take other addresses, such as 127.0.0.1:0 for any free port)", err)
			}
			return err
		}}
	flags := c.Flags()
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:2525", "`address` of the server")
	flags.StringVar(&o.Sink, "sink", "127.0.0.1:2526", "`address` of the receiver")
	flags.StringVar(&o.Dir, "dir", "", "`directory` for the data (default: a temporary one, removed at the end)")
	return c
}

// defaultLogger returns the logger of a server without a configuration.
func defaultLogger(w io.Writer) *slog.Logger {
	c := config.Default().Log
	return newLogger(w, c.Format, c.Level)
}

// printGuide says where everything is and what to type next.
func (a *app) printGuide(p trial.Places) {
	host, port, err := net.SplitHostPort(p.SMTP)
	if err != nil {
		host, port = p.SMTP, "25"
	}
	program := programName()
	fmt.Fprintf(a.out, `
Postern listens at %[1]s. All mail goes to a receiver that keeps it in
  %[2]s
and fails on request: bounce-550@, defer-451@, defer-421@, slow@ and drop@%[3]s.

Send something from another terminal:
  swaks --server %[1]s --from me@%[3]s --to ok@%[3]s
  python3 -c 'import smtplib; smtplib.SMTP("%[4]s", %[5]s).sendmail("me@%[3]s", ["ok@%[3]s", "bounce-550@%[3]s"], "Subject: hello\r\n\r\nhello\r\n")'

See what became of it:
  %[6]s journal tail --follow --socket %[7]s
  %[6]s journal find --to 'ok@*' --socket %[7]s
  %[6]s journal show ID --socket %[7]s
  %[6]s queue list --socket %[7]s
  %[6]s status --socket %[7]s

Control-C ends it.

`, p.SMTP, p.Inbox, trial.Domain, host, port, program, p.Socket)
}

// programName is what starts this program from any directory.
func programName() string {
	path, err := os.Executable()
	if err != nil {
		return "postern"
	}
	return path
}

// runTrial runs a quiet trial for as long as use needs it.
func (a *app) runTrial(ctx context.Context, log io.Writer, use func(context.Context, trial.Places) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	used := make(chan error, 1)
	ended := make(chan struct{})
	err := trial.Run(ctx, trial.Options{
		Version: version,
		Logger:  defaultLogger(log),
		Ready: func(p trial.Places) {
			go func() {
				defer close(ended)
				used <- use(ctx, p)
				cancel()
			}()
		},
	})
	if err != nil {
		return err
	}
	<-ended
	return <-used
}
