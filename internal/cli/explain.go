package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"postern/internal/daemon"
	"postern/internal/explain"
)

const explainHelp = `Tell what would become of a message that was never sent: what the client would
be told at each command, which handlers are asked and why each is chosen or not,
and where the mail of each recipient would go. First comes what was decisive.

It goes by the configuration file, and needs no server. Nothing is sent, stored,
logged or counted: of limits it is not told whether they are used up. Block lists
are asked only with --dns. Whether the server is suspended, or has too many
clients, it does not know; a server that has not been reloaded may go by another
configuration.

Without --file an empty message is made up. Without --client the message comes
from this host, 127.0.0.1. With --tls the client says EHLO twice, in clear and
with TLS. --listener sendmail is what programs of this host send, as --user.`

// question are the options of explain.
type question struct {
	from, client, helo, user, listener, tls, file string
	to                                            []string
	askDNS, requireTLS                            bool
}

func (a *app) explainCommand() *cobra.Command {
	var q question
	c := &cobra.Command{Use: "explain --from ADDRESS --to ADDRESS", Short: "Tell what would become of a message, and why", Long: explainHelp, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := q.mail()
			if err != nil {
				return err
			}
			configuration, err := a.load()
			if err != nil {
				return err
			}
			server, err := daemon.Explainer(configuration, q.askDNS)
			if err != nil {
				return err
			}
			server.Outgoing.Refused = a.refusals(cmd.Context())
			report, err := server.Walk(cmd.Context(), m)
			if err != nil {
				return usageError{err}
			}
			if a.json {
				return a.printJSON(report)
			}
			return report.Write(a.out)
		}}
	c.AddCommand(a.explainRouteCommand())
	flags := c.Flags()
	flags.StringVar(&q.from, "from", "", "`address` of the sender, \"<>\" for none")
	flags.StringArrayVar(&q.to, "to", nil, "`address` of a recipient; may be given several times")
	flags.StringVar(&q.client, "client", "", "IP `address` of the client, with a port or without (default 127.0.0.1)")
	flags.StringVar(&q.helo, "helo", "", "`name` in EHLO (default: the address of the client)")
	flags.StringVar(&q.user, "user", "", "`name` of the user who authenticates")
	flags.StringVar(&q.listener, "listener", "", "`name` of the listener (default: the first)")
	flags.StringVar(&q.tls, "tls", "", "`version` of TLS, 1.2 or 1.3 (default: in clear)")
	flags.BoolVar(&q.requireTLS, "requiretls", false, "demand TLS on the whole way (REQUIRETLS); needs --tls")
	flags.StringVar(&q.file, "file", "", "`file` with the message, \"-\" for standard input")
	flags.BoolVar(&q.askDNS, "dns", false, "ask block lists about the client, and for the servers to which the mail goes")
	return c
}

// mail is the message that is asked about.
func (q *question) mail() (*explain.Mail, error) {
	m := &explain.Mail{Listener: q.listener, Hello: q.helo, User: q.user, RequireTLS: q.requireTLS}
	var errs []error
	note := func(option string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", option, err))
		}
	}
	var err error
	if q.from == "" {
		note("from", errors.New("name the sender, \"<>\" for none"))
	}
	m.From, err = explain.ParseFrom(q.from)
	note("from", err)
	if len(q.to) == 0 {
		note("to", errors.New("name at least one recipient"))
	}
	for _, s := range q.to {
		to, err := explain.ParseTo(s)
		note("to", err)
		m.To = append(m.To, to)
	}
	m.Client, err = q.address()
	note("client", err)
	if q.tls != "" {
		m.TLS, err = explain.ParseTLS(q.tls)
		note("tls", err)
	}
	if q.requireTLS && q.tls == "" {
		note("requiretls", errors.New("it can be said under TLS alone: name the version with --tls"))
	}
	if len(errs) > 0 {
		return nil, usageError{errors.Join(errs...)}
	}
	m.Content, err = q.content()
	return m, err
}

// address is that of the client; the zero one where there is none.
func (q *question) address() (netip.AddrPort, error) {
	switch {
	case q.client == "" && q.listener == explain.SendmailListener:
		return netip.AddrPort{}, nil
	case q.client == "":
		return netip.MustParseAddrPort("127.0.0.1:0"), nil
	}
	if ip, err := netip.ParseAddr(q.client); err == nil {
		return netip.AddrPortFrom(ip, 0), nil
	}
	at, err := netip.ParseAddrPort(q.client)
	if err != nil {
		return at, fmt.Errorf("%q is no IP address", q.client)
	}
	return at, nil
}

// content reads the message, if there is one.
func (q *question) content() ([]byte, error) {
	switch q.file {
	case "":
		return nil, nil
	case "-":
		return explain.ReadContent(os.Stdin)
	}
	f, err := os.Open(q.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return explain.ReadContent(f)
}
