package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"postern/internal/daemon"
	"postern/internal/explain"
)

const explainRouteHelp = `Tell where the mail for an address goes: which route is taken and where it is
written, why those before it are not, by which transport, to which servers, with
what addresses, TLS and limits. DNS is asked for the servers, as an attempt would
ask it; nothing is connected to.

It goes by the configuration file, and needs no server; one that runs is asked only
whether the credentials are refused at present. An address of this host
is followed to all for whom it stands. What policy says is not asked: that is told
by postern explain, which says at its end what this command says.`

// explainRouteCommand is beneath explain.
func (a *app) explainRouteCommand() *cobra.Command {
	var q explain.RouteQuestion
	var from string
	c := &cobra.Command{Use: "route ADDRESS", Short: "Tell where the mail for an address goes, and why", Long: explainRouteHelp, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.To, err = explain.ParseTo(args[0]); err != nil {
				return usageError{fmt.Errorf("%q: %w", args[0], err)}
			}
			if q.From, err = explain.ParseFrom(from); err != nil {
				return usageError{fmt.Errorf("--from: %w", err)}
			}
			configuration, err := a.load()
			if err != nil {
				return err
			}
			server, err := daemon.Explainer(configuration, true)
			if err != nil {
				return err
			}
			server.Outgoing.Refused = a.refusals(cmd.Context())
			report, err := server.Whither(cmd.Context(), q)
			if err != nil {
				return usageError{err}
			}
			if a.json {
				return a.printJSON(report)
			}
			return report.Write(a.out)
		}}
	flags := c.Flags()
	flags.StringVar(&from, "from", "", "`address` of the sender (default: the null sender)")
	flags.StringVar(&q.User, "user", "", "`name` of the account that sends")
	flags.StringVar(&q.Listener, "listener", "", "`name` of the listener (default: the first)")
	flags.StringArrayVar(&q.Tags, "tag", nil, "`word` that policy has given the mail; may be given several times")
	return c
}
