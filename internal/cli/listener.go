package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/admin"
)

// doorWords say in a few words how a listener takes its clients in, where that is not
// the usual.
func doorWords(l *admin.Listener) string {
	var words []string
	switch {
	case l.TLS == "implicit":
		words = append(words, "implicit TLS")
	case l.TLSRequired:
		words = append(words, "STARTTLS required")
	case l.TLS == "starttls":
		words = append(words, "STARTTLS")
	}
	if l.ClientCertificates == "require" {
		words = append(words, "client certificates required")
	}
	if l.Auth != "" && l.Auth != "off" {
		words = append(words, "auth "+l.Auth)
	}
	if len(l.ProxyFrom) > 0 {
		words = append(words, "behind a proxy")
	}
	if len(l.Unsafe) > 0 {
		words = append(words, "UNSAFE")
	}
	if len(words) == 0 {
		return ""
	}
	return "; " + strings.Join(words, ", ")
}

// showUnsafe says of which listeners old clients get more than they should.
func (a *app) showUnsafe(list []admin.Listener) {
	for i := range list {
		for _, why := range list[i].Unsafe {
			fmt.Fprintf(a.out, "UNSAFE: listener %s %s\n", list[i].Name, printable(why))
		}
	}
}

func (a *app) listenerShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "Show how a listener takes its clients in", Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.Listener, error) {
				status, err := c.Status(ctx)
				if err != nil {
					return admin.Listener{}, err
				}
				at := slices.IndexFunc(status.Listeners, func(l admin.Listener) bool { return l.Name == args[0] })
				if at < 0 {
					return admin.Listener{}, fmt.Errorf("there is no listener %s; `postern listener list` lists them", printable(args[0]))
				}
				return status.Listeners[at], nil
			}, a.showListener)
		}}
}

func (a *app) showListener(l *admin.Listener) {
	required := ""
	if l.TLSRequired {
		required = ", required"
	}
	for _, row := range [][2]string{
		{"listener", l.Name},
		{"address", l.Address},
		{"state", string(l.State)},
		{"connections", fmt.Sprintf("%d of %d", l.Connections, l.MaxConnections)},
		{"TLS", cmp.Or(l.TLS, "none") + required},
		{"client certificates", cmp.Or(l.ClientCertificates, "ignore")},
		{"auth", cmp.Or(l.Auth, "off")},
		{"proxies", cmp.Or(strings.Join(l.ProxyFrom, " "), "none")},
		{"extensions", strings.Join(l.Extensions, ", ")},
	} {
		fmt.Fprintf(a.out, "%-20s %s\n", row[0]+":", printable(row[1]))
	}
	a.showUnsafe([]admin.Listener{*l})
}
