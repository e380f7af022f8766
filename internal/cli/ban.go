package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
)

func (a *app) banCommand() *cobra.Command {
	return group("ban", "Who is kept out because of wrong passwords, or because you say so", a.banListCommand(), a.banAddCommand(), a.banLiftCommand())
}

func (a *app) banListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the bans that hold now", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error {
				list := newListing(a, "SUBJECT\tSINCE\tUNTIL\tTIMES\tREASON")
				err := list.end(client.Bans(cmd.Context(), func(b *admin.Ban) error {
					return list.add(b, func(w io.Writer) {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", column(b.Subject), b.Since.Local().Format(dateTime), untilWhen(b.Until), orDash(times(b.Count)), orDash(printable(b.Reason)))
					})
				}))
				if err == nil && list.count == 0 && !a.json {
					fmt.Fprintln(a.out, "nobody is banned")
				}
				return err
			})
		}}
}

func untilWhen(t time.Time) string {
	if t.IsZero() {
		return "it is lifted"
	}
	return t.Local().Format(dateTime)
}

func times(n int) string {
	if n == 0 {
		return "" // an operator does not count
	}
	return fmt.Sprint(n)
}

func (a *app) banAddCommand() *cobra.Command {
	var lasts string
	var ban admin.NewBan
	c := &cobra.Command{Use: "add SUBJECT", Short: "Keep an address, a network or an account out",
		Long: `Keep an address, a network or an account out: address:192.0.2.1,
address:203.0.113.0/24 or account:joe. An address is refused as it connects to a
listener that offers AUTH; an account cannot log in with a password from where it is
not known. To keep a user out altogether, use user disable.`,
		Args: oneSubject,
		RunE: func(cmd *cobra.Command, args []string) error {
			ban.Subject = subjectOf(args[0])
			if lasts != "" {
				d, err := mail.ParseWait(lasts)
				if err != nil {
					return usageError{fmt.Errorf("--for %q: write a whole number and one of the units s, m, h, d", lasts)}
				}
				ban.Until = time.Now().Add(d)
			}
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error {
				done, err := client.AddBan(cmd.Context(), ban)
				if err != nil {
					return err
				}
				return a.say(done, "%s is banned until %s", done.Subject, untilWhen(done.Until))
			})
		}}
	c.Flags().StringVar(&lasts, "for", "", "for this `duration`, such as 1h or 30d; without it until it is lifted")
	c.Flags().StringVarP(&ban.Reason, "reason", "r", "", "a `text` that says why, for whoever finds it")
	return c
}

func (a *app) banLiftCommand() *cobra.Command {
	return &cobra.Command{Use: "lift SUBJECT", Short: "Lift a ban, and forget what led to it", Args: oneSubject,
		RunE: func(cmd *cobra.Command, args []string) error {
			subject := subjectOf(args[0])
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error {
				if err := client.LiftBan(cmd.Context(), subject); err != nil {
					return err
				}
				return a.say(admin.NewBan{Subject: subject}, "%s is no longer banned", subject)
			})
		}}
}

func oneSubject(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("%s takes one subject, such as address:192.0.2.1 or account:joe; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

// subjectOf takes an address or network for what it looks like.
func subjectOf(text string) string {
	if strings.HasPrefix(text, "address:") || strings.HasPrefix(text, "account:") || strings.Trim(text, "0123456789abcdefABCDEF.:/") != "" {
		return text
	}
	return "address:" + text
}
