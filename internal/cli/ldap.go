package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/daemon"
	"postern/internal/mail"
)

const ldapTestHelp = `Ask each server of a directory of the configuration whether it can be used, and
show what the directory has for a login, or for a mail address. The running server
is not asked, and needs not run. No password is tried, unless one is given on
standard input with --password-stdin.

Ends with
  0  every server can be used, and there is such a user or address
  1  a server cannot be used, nobody was found, or the user would not be let in
  2  the command line is wrong`

func (a *app) ldapCommand() *cobra.Command {
	return group("ldap", "Directories that are asked by LDAP", a.ldapTestCommand())
}

func (a *app) ldapTestCommand() *cobra.Command {
	var readPassword bool
	c := &cobra.Command{Use: "test NAME [LOGIN|ADDRESS]", Short: "Try the servers of a directory, and show what it has for a user", Long: ldapTestHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{fmt.Errorf("%s takes the name of an [[ldap]], and perhaps a login or an address; see '%[1]s --help'", cmd.CommandPath())}
			}
			if readPassword && len(args) == 1 {
				return usageError{errors.New("--password-stdin needs a login")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			trial := daemon.LDAPTrial{Directory: args[0]}
			if len(args) == 2 {
				trial.Who = args[1]
			}
			if readPassword {
				if trial.Password, err = firstLine(os.Stdin); err != nil {
					return err
				}
			}
			r, err := daemon.TryLDAP(cmd.Context(), c, trial)
			if err != nil {
				return err
			}
			if err := present(a, &r, a.showLDAP); err != nil {
				return err
			}
			if r.Failed() {
				return fmt.Errorf("ldap %s is not as it should be", r.Name)
			}
			return nil
		}}
	c.Flags().BoolVar(&readPassword, "password-stdin", false, "also try a password, the first line of standard input")
	return c
}

// maxPasswordLine bounds a line with a password, in octets.
const maxPasswordLine = 4096

// firstLine reads a line with a password.
func firstLine(r io.Reader) (mail.Secret, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordLine)).ReadString('\n')
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("no password on standard input: %w", err)
	}
	return mail.Secret(line), nil
}

func (a *app) showLDAP(r *daemon.LDAPReport) {
	for _, s := range r.Servers {
		switch {
		case s.Error != "":
			fmt.Fprintf(a.out, "server     %s: FAILS: %s\n", printable(s.Server), printable(s.Error))
		case s.TLS != "":
			fmt.Fprintf(a.out, "server     %s: good, %s\n", printable(s.Server), s.TLS)
		default:
			fmt.Fprintf(a.out, "server     %s: good, in clear\n", printable(s.Server))
		}
	}
	if u := r.User; u != nil {
		a.showLDAPUser(u)
	}
	if x := r.Address; x != nil {
		a.showLDAPAddress(x)
	}
}

// row prints what there is of something.
func (a *app) row(name, text string) {
	if text != "" {
		fmt.Fprintf(a.out, "%-10s %s\n", name, printable(text))
	}
}

func (a *app) showLDAPUser(u *daemon.LDAPUser) {
	if u.Entry == "" {
		a.row("login", u.Login+": "+u.Error)
		return
	}
	a.row("login", u.Login)
	a.row("entry", u.Entry)
	a.row("name", u.Name)
	a.row("addresses", strings.Join(u.Addresses, ", "))
	a.row("groups", strings.Join(u.Groups, ", "))
	var may []string
	if u.Services.Submit {
		may = append(may, "send to this host")
	}
	if u.Services.Relay {
		may = append(may, "send to anywhere")
	}
	if may == nil {
		may = []string{"NOTHING: in none of submit_groups and relay_groups"}
	}
	a.row("may", strings.Join(may, ", "))
	a.row("language", u.Language)
	if !u.Expires.IsZero() {
		a.row("expires", u.Expires.Local().Format(dateTime))
	}
	for _, c := range u.Certificates {
		a.row("certificate", "SHA-256 "+c)
	}
	switch {
	case u.Error != "":
		a.row("LET IN", "NO: "+u.Error)
	case u.Admitted:
		a.row("password", "right")
	}
}

func (a *app) showLDAPAddress(x *daemon.LDAPAddress) {
	if x.Error != "" {
		a.row("address", x.Address+": "+x.Error)
		return
	}
	what := "is that of the user " + x.Login
	switch {
	case x.Group:
		what = "is a list of " + several(len(x.Targets), "member", "members")
	case len(x.Targets) > 0:
		what = "is forwarded"
	case x.Login == "":
		what = "is that of no user, and forwarded to nobody"
	}
	a.row("address", x.Address+" "+what)
	a.row("entry", x.Entry)
	for _, t := range x.Targets {
		a.row("goes to", t)
	}
}
