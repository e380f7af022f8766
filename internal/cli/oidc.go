package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/daemon"
)

const oidcTestHelp = `Show a token to the [[oidc]] of that name in the configuration file, as a mail
program would, and tell which claims were looked at, who it is, and if it is
refused, why. The token is read from standard input, so that it stands neither
in the list of processes nor in the history of the shell; it is not printed.

It asks the issuer for its keys, and needs no server. The directory is not
asked: with must_exist the account must be there as well.

Ends with
  0  the token is good
  1  it is refused, or the issuer does not answer
  2  the command line is wrong`

// maxToken bounds what is read as a token; one that is longer is refused in any case.
const maxToken = 64 << 10

func (a *app) oidcCommand() *cobra.Command {
	var user string
	test := &cobra.Command{Use: "test NAME", Short: "Try a token: which claims count, who it is, or why it is refused", Long: oidcTestHelp, Args: oneSource,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			text, err := io.ReadAll(io.LimitReader(os.Stdin, maxToken))
			if err != nil {
				return err
			}
			report, err := daemon.TryToken(cmd.Context(), c, args[0], user, strings.TrimSpace(string(text)))
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(report); err != nil {
					return err
				}
			} else {
				a.showToken(&report)
			}
			if report.Why != "" {
				return errors.New("refused: " + report.Why)
			}
			return nil
		}}
	test.Flags().StringVar(&user, "user", "", "`name` that the mail program gives (default: none, so that the token alone says who it is)")
	return group("oidc", "Look after issuers of tokens", test)
}

func oneSource(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return usageError{fmt.Errorf("name one [[oidc]] of the configuration; see '%s --help'", cmd.CommandPath())}
}

// showToken prints what was found out about a token.
func (a *app) showToken(r *daemon.TokenReport) {
	table := newTable(a.out)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, column(value))
		}
	}
	row("issuer", fmt.Sprintf("%s, which has %s", r.Issuer, several(r.Keys, "key", "keys")))
	row("algorithm", r.Header.Algorithm)
	row("key", r.Header.Key)
	row("type", r.Header.Type)
	for _, c := range r.Claims {
		value := c.Value
		if value == "" {
			value = "is not there"
		}
		row("claim "+c.Name, value)
	}
	if r.Account != nil {
		row("account", r.Account.Name)
		row("services", strings.Join(r.Account.Services, " "))
		row("groups", strings.Join(r.Account.Groups, " "))
		row("addresses", strings.Join(r.Account.Addresses, " "))
	}
	_ = table.Flush() // a.out remembers a failure
	if r.Account != nil && r.Directory {
		fmt.Fprintln(a.out, "the directory must have that account (must_exist), and says what it may do")
	}
}
