package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/daemon"
	"postern/internal/filter"
)

// askKeeper asks the server for certificates, or if none runs one that works on its files.
func askKeeper[T any](ctx context.Context, a *app, question func(*admin.Client, context.Context) (T, error)) (T, error) {
	return askEither(ctx, a, daemon.Maintenance.Certificates, question)
}

// certFiles are the certificates of the configuration, as they lie on the disk.
func (a *app) certFiles() (*certs.Keeper, error) {
	c, err := a.load()
	if err != nil {
		return nil, err
	}
	return daemon.KeeperWithoutServer(c)
}

// keeperDoes asks for something whose answer says nothing but that it was done.
func (a *app) keeperDoes(ctx context.Context, do func(*admin.Client, context.Context) error) error {
	_, err := askKeeper(ctx, a, func(c *admin.Client, ctx context.Context) (struct{}, error) { return struct{}{}, do(c, ctx) })
	return err
}

func (a *app) certCommand() *cobra.Command {
	return group("cert", "Look after certificates: of files, by ACME, and those of the store, which these commands make",
		a.certListCommand(), a.certShowCommand(), a.certExpiringCommand(), a.certImportCommand(), a.certExportCommand(),
		a.certCreateCommand(), a.certRequestCommand(), a.certAssignCommand(), a.certDeleteCommand(), a.certAuthorityCommand(), a.certFetchCommand())
}

func (a *app) certListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List all certificates, with where they are from, who uses them, and when they end", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := askKeeper(cmd.Context(), a, (*admin.Client).Certificates)
			if err != nil {
				return err
			}
			return present(a, &list, a.showCertificates)
		}}
}

func (a *app) showCertificates(list *[]certs.Info) {
	w := newTable(a.out)
	fmt.Fprintln(w, "NAME\tFROM\tFOR\tENDS\tUSED BY")
	for i := range *list {
		c := &(*list)[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(c.Name), c.From, column(orNone(purposes(c))), ends(c), column(orNone(c.Listeners)))
	}
	_ = w.Flush() // a.out remembers a failure
	for i := range *list {
		if c := &(*list)[i]; c.Problem != "" {
			fmt.Fprintf(a.out, "%s: %s\n", printable(c.Name), printable(c.Problem))
		}
	}
}

// purposes are what a certificate is valid for.
func purposes(c *certs.Info) []string {
	all := append(append(append([]string{}, c.Names...), c.Addresses...), c.Emails...)
	if c.Authority {
		all = append(all, "authority "+c.Subject)
	}
	return all
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}

// ends says when a certificate ends, and what else there is.
func ends(c *certs.Info) string {
	var text string
	switch left := time.Until(c.NotAfter); {
	case c.NotAfter.IsZero():
		text = "-"
	case left <= 0:
		text = "ENDED " + c.NotAfter.Local().Format(time.DateOnly)
	default:
		text = fmt.Sprintf("%s, in %s", c.NotAfter.Local().Format(time.DateOnly), duration(left))
	}
	if c.Pending {
		text += "; a request is open"
	}
	return text
}

// oneCertificate checks that there is a name.
func oneCertificate(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("%s takes the name of one certificate; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

func (a *app) certShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "Show one certificate", Args: oneCertificate,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := askKeeper(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (certs.Made, error) { return c.Certificate(ctx, args[0]) })
			if err != nil {
				return err
			}
			return present(a, &m, func(m *certs.Made) { a.showCertificate(&m.Info) })
		}}
}

func (a *app) showCertificate(c *certs.Info) {
	for _, line := range [][2]string{
		{"name", c.Name}, {"from", string(c.From)}, {"file", c.File}, {"problem", c.Problem}, {"used by", strings.Join(c.Listeners, ", ")},
		{"subject", c.Subject}, {"issuer", c.Issuer}, {"for", strings.Join(purposes(c), ", ")}, {"use", strings.Join(c.Uses, ", ")},
		{"valid from", moment(c.NotBefore)}, {"valid until", moment(c.NotAfter)}, {"key", c.Key}, {"serial", c.Serial}, {"SHA-256", c.Fingerprint},
	} {
		if line[1] != "" {
			fmt.Fprintf(a.out, "%-12s %s\n", line[0], printable(line[1]))
		}
	}
	if c.Chain > 0 {
		fmt.Fprintf(a.out, "%-12s %s\n", "sent", several(c.Chain, "certificate", "certificates"))
	}
	if c.Pending {
		fmt.Fprintf(a.out, "%-12s a request waits for its certificate; `postern cert import %s` takes it\n", "pending", printable(c.Name))
	}
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(dateTime)
}

func (a *app) certDeleteCommand() *cobra.Command {
	return &cobra.Command{Use: "delete NAME", Short: "Delete a certificate of the store, with its key", Args: oneCertificate,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.keeperDoes(cmd.Context(), func(c *admin.Client, ctx context.Context) error { return c.RemoveCertificate(ctx, args[0]) })
			if err != nil {
				return err
			}
			return a.say(certs.Info{Name: args[0]}, "certificate %s is deleted", args[0])
		}}
}

// assigned is what is said of the certificates of a listener.
type assigned struct {
	Listener     string   `json:"listener"`
	Certificates []string `json:"certificates"`
}

func (a *app) certAssignCommand() *cobra.Command {
	var none bool
	c := &cobra.Command{Use: "assign LISTENER NAME...", Short: "Give a listener certificates of the store, in the place of those that it has",
		Long: `Give a listener certificates of the store, in the place of those that it has. The
first is for clients that ask for no name, or for one that none of them is for.

It is for listeners whose settings name no certificate: what a person wrote in the
configuration goes before what a command says.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if none != (len(args) == 1) || len(args) == 0 {
				return usageError{errors.New("name a listener and its certificates, or a listener and --none")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.keeperDoes(cmd.Context(), func(c *admin.Client, ctx context.Context) error {
				return c.AssignCertificates(ctx, args[0], append([]string{}, args[1:]...))
			})
			if err != nil {
				return err
			}
			return a.say(assigned{args[0], args[1:]}, "listener %s has the certificates: %s", args[0], orNone(args[1:]))
		}}
	c.Flags().BoolVar(&none, "none", false, "take all away")
	return c
}

func (a *app) certExpiringCommand() *cobra.Command {
	var within string
	c := &cobra.Command{Use: "expiring", Short: "List the certificates that end soon; the exit code is 1 if there are any", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			limit, err := filter.ParseAge(within)
			if err != nil {
				return usageError{fmt.Errorf("--within %w", err)}
			}
			list, err := askKeeper(cmd.Context(), a, (*admin.Client).Certificates)
			if err != nil {
				return err
			}
			soon := []certs.Info{}
			for _, c := range list {
				if !c.NotAfter.IsZero() && time.Until(c.NotAfter) <= limit {
					soon = append(soon, c)
				}
			}
			if err := present(a, &soon, a.showExpiring); err != nil || len(soon) == 0 {
				return err
			}
			return fmt.Errorf("%s within %s", several(len(soon), "certificate ends", "certificates end"), within)
		}}
	c.Flags().StringVar(&within, "within", "30d", "how soon, such as 14d or 12h")
	return c
}

func (a *app) showExpiring(list *[]certs.Info) {
	if len(*list) == 0 {
		fmt.Fprintln(a.out, "no certificate ends so soon")
		return
	}
	a.showCertificates(list)
}

// readLimited reads a file, or standard input for "-", of a size that a certificate can
// have.
func readLimited(path string) ([]byte, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s is larger than 1 MiB, which no certificate is", path)
	}
	return data, err
}
