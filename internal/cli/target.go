package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/pool"
)

func (a *app) targetCommand() *cobra.Command {
	return group("target", "Look at the target servers of pools, and act on them",
		a.targetListCommand(), a.targetShowCommand(), a.targetRefreshCommand(), a.targetReconnectCommand(), a.targetDrainCommand())
}

func (a *app) targetListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the target servers of all pools, and what became of mail", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.TargetList, error) {
				return c.ListTargets(ctx)
			}, a.showTargets)
		}}
}

func (a *app) showTargets(list *admin.TargetList) {
	if len(list.Pools) == 0 {
		fmt.Fprintln(a.out, "no transport is a pool")
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for i := range list.Pools {
		p := &list.Pools[i]
		if i == 0 {
			fmt.Fprintln(w, "STATE\tSINCE\tCONNECTIONS\tATTEMPTS\tSENT\tCONNECT FAIL\tOFFERS\tTARGET")
		}
		for j := range p.Servers {
			v := &p.Servers[j]
			fmt.Fprintf(w, "%s\t%s\t%d of %d\t%d\t%d\t%d\t%s\t%s\n", targetState(v), age(v.Since), v.Connections, v.MaxConnections,
				v.Attempts, v.Sent, v.ConnectFailures, offers(v), printable(targetName(v)))
		}
	}
	_ = w.Flush() // a.out remembers a failure
	for i := range list.Pools {
		p := &list.Pools[i]
		fmt.Fprintf(a.out, "pool %s: %d of %s usable, with room for %s\n", p.Name, p.Usable, several(len(p.Servers), "server", "servers"), several(p.Room, "connection", "connections"))
		for _, warning := range p.Warnings {
			fmt.Fprintf(a.out, "  %s\n", printable(warning))
		}
	}
	g := &list.Global
	fmt.Fprintf(a.out, "all mail, in recipients since the start: %d sent, %d undeliverable (%d of them dead letters), %d retried (%d of them extended)\n",
		g.Sent, g.Undeliverable, g.DeadLetters, g.Retried, g.Tally.Extended)
	fmt.Fprintf(a.out, "at present: %d wait for a retry, %d of them for an extended one\n", g.Retry, g.Extended)
}

// targetState is how a server stands, in a word or two.
func targetState(v *pool.Server) string {
	state := string(v.State)
	switch {
	case v.Drained != "":
		return "drained, " + state
	case v.OnTrial:
		return state + ", on trial"
	case len(v.Faults) > 0:
		return state + ", TLS faulty"
	}
	return state
}

// targetName is a server as the commands take it.
func targetName(v *pool.Server) string {
	name := v.Pool + "/" + v.Address.String()
	if v.Host != v.Address.Addr().String() {
		name += " " + v.Host
	}
	return name
}

// offers is what a server has said of itself.
func offers(v *pool.Server) string {
	l := v.Learned
	if l == nil {
		return "-"
	}
	words := []string{"SMTP"}
	if l.ESMTP {
		words[0] = "ESMTP"
	}
	if l.StartTLS {
		words = append(words, "STARTTLS")
	}
	if l.Size > 0 {
		words = append(words, size(l.Size))
	}
	return strings.Join(words, " ")
}

const targetHelp = `. A target server goes by its address or name, with
the port or without, or by that behind the name of its pool and a slash:
"hubs/192.0.2.25:25". The name of a pool is all its servers.`

// oneTarget checks that there is a name.
func oneTarget(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("%s takes the name or address of a target server, or a pool; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

func (a *app) targetShowCommand() *cobra.Command {
	const short = "Show target servers: how each stands, why, and what it offers"
	return &cobra.Command{Use: "show TARGET", Short: short, Long: short + targetHelp, Args: oneTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.TargetServers, error) {
				return c.Target(ctx, args[0])
			}, a.showServers)
		}}
}

func (a *app) showServers(found *admin.TargetServers) {
	for i := range found.Servers {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		a.showServer(&found.Servers[i])
	}
}

func (a *app) showServer(v *admin.TargetDetail) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(a.out, "%-12s %s\n", what, printable(fmt.Sprintf(format, args...)))
	}
	line("target", "%s, by its %s %s", targetName(&v.Server), v.Source, v.From)
	line("state", "%s for %s", v.State, age(v.Since))
	if v.Reason != "" {
		line("why", "%s (%s in a row)", v.Reason, several(v.Failures, "failure", "failures"))
	}
	if v.OnTrial {
		line("on trial", "it answers again; one message is tried")
	}
	if v.Drained != "" {
		line("DRAINED", "by %s: no mail goes there", v.Drained)
	}
	for _, f := range v.Faults {
		line("TLS", "no mail that demands %s goes there, for %s: %s", f.TLS, age(f.Since), f.Reason)
	}
	if !v.Probe.IsZero() {
		line("probe", "%s", dueIn(v.Probe))
	}
	line("offers", "%s", offers(&v.Server))
	if v.Learned != nil && len(v.Learned.Auth) > 0 {
		line("AUTH", "%s", strings.Join(v.Learned.Auth, " "))
	}
	if v.Secure {
		line("secure", "nothing goes there in clear")
	}
	if v.Charset != "" {
		line("charset", "texts are converted to %s", v.Charset)
	}
	line("order", "preference %d, weight %d", v.Preference, v.Weight)
	line("connections", "%d of %d", v.Connections, v.MaxConnections)
	if v.ForRoom > 0 {
		line("for room", "%s", several(v.ForRoom, "delivery waits for a connection there", "deliveries wait for a connection there"))
	}
	line("mail", "%d attempts, %d sent, %d connections failed", v.Attempts, v.Sent, v.ConnectFailures)
	line("you can", "%s", strings.Join(targetHandles(&v.Server), ", "))
}

// targetHandles are the commands for a server as it stands.
func targetHandles(v *pool.Server) []string {
	name := v.Pool + "/" + v.Address.String()
	if v.Drained != "" {
		return []string{"postern target drain --undo " + name}
	}
	return []string{"postern target reconnect " + name, "postern target drain " + name}
}

func (a *app) targetRefreshCommand() *cobra.Command {
	return &cobra.Command{Use: "refresh [POOL]", Short: "Look the names of target servers up again, of one pool or of all",
		Long: `Look the names of target servers up again, of one pool or of all. DNS is asked, whatever is
remembered here of an earlier answer; a name server may still give an old one until its TTL is over.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.TargetList, error) {
				return c.RefreshTargets(ctx, strings.Join(args, ""))
			}, a.showTargets)
		}}
}

func (a *app) targetReconnectCommand() *cobra.Command {
	const short = "End the connections to target servers, and learn anew what they offer"
	return &cobra.Command{Use: "reconnect TARGET", Short: short, Long: short + targetHelp + `
A message that is being sent may end, for as long as drain_timeout says; else it
is sent by another.`, Args: oneTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.TargetServers, error) {
				return c.ReconnectTarget(ctx, args[0])
			}, a.showServers)
		}}
}

func (a *app) targetDrainCommand() *cobra.Command {
	var undo bool
	const short = "Let no more mail go to target servers, until that is undone or the server is started again"
	c := &cobra.Command{Use: "drain TARGET", Short: short, Long: short + targetHelp + `
A message that is being sent may end, for as long as drain_timeout says; else it
is sent by another.`, Args: oneTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.TargetServers, error) {
				return c.DrainTarget(ctx, args[0], undo)
			}, a.showServers)
		}}
	c.Flags().BoolVar(&undo, "undo", false, "let mail go there again")
	return c
}
