package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"postern/internal/admin"
)

// subjects are what can be suspended.
var subjects = []struct {
	what   admin.What
	name   string // what its argument is; "" when there is none
	short  string
	effect string
}{
	{admin.Intake, "", "Take no mail in; clients are told to come again later", "clients get 421 4.3.2 and come again later; what is in the queue goes out"},
	{admin.Delivery, "", "Send no mail out; it waits in the queue", "mail is taken in and waits"},
	{admin.OneSite, "NAME", "Send no mail to a site: its name as site list has it, or a destination that leads there", "its mail waits in the queue"},
	{admin.Destination, "DOMAIN", "Send no mail to a destination", "its mail waits in the queue"},
	{admin.Class, "CLASS", "Send no mail of a priority class: bulk, normal or urgent", "its mail waits in the queue"},
	{admin.Sender, "ADDRESS", "Send no mail of a sender: an address, @ and a domain, or <>", "its mail waits in the queue"},
}

func (a *app) suspendCommand() *cobra.Command {
	var reason string
	noun := group("suspend", "Suspend the intake, all delivery, a site, a destination, a priority class or a sender, until it is resumed")
	for _, s := range subjects {
		c := &cobra.Command{Use: string(s.what), Short: s.short, Args: subjectArgs(s.name),
			RunE: func(cmd *cobra.Command, args []string) error {
				client, err := a.client()
				if err != nil {
					return err
				}
				suspend := admin.Suspend{Subject: subject(s.what, args), Reason: reason}
				if suspend.Reason == "" {
					suspend.Reason = "no reason was given"
				}
				if suspend.Subject, err = client.Suspend(cmd.Context(), suspend); err != nil {
					return err
				}
				return a.say(suspend, "%s is suspended: %s", suspend.Subject, s.effect)
			}}
		if s.name != "" {
			c.Use += " " + s.name
		}
		noun.AddCommand(c)
	}
	noun.PersistentFlags().StringVarP(&reason, "reason", "r", "", "why, for whoever finds it; a `text`")
	return noun
}

func (a *app) resumeCommand() *cobra.Command {
	noun := group("resume", "End a suspension")
	for _, s := range subjects {
		c := &cobra.Command{Use: string(s.what), Short: "End the suspension of " + article(s.name) + string(s.what), Args: subjectArgs(s.name),
			RunE: func(cmd *cobra.Command, args []string) error {
				client, err := a.client()
				if err != nil {
					return err
				}
				resumed, err := client.Resume(cmd.Context(), subject(s.what, args))
				if err != nil {
					return err
				}
				return a.say(resumed, "%s is resumed", resumed)
			}}
		if s.name != "" {
			c.Use += " " + s.name
		}
		noun.AddCommand(c)
	}
	return noun
}

// article goes before what is suspended, of which there are several if it has a
// name.
func article(name string) string {
	if name == "" {
		return ""
	}
	return "a "
}

// say prints what was done: a value as JSON, or a text.
func (a *app) say(value any, format string, args ...any) error {
	if a.json {
		return a.printJSON(value)
	}
	fmt.Fprintln(a.out, printable(fmt.Sprintf(format, args...)))
	return nil
}

func subject(what admin.What, args []string) admin.Subject {
	s := admin.Subject{What: what}
	if len(args) > 0 {
		s.Name = args[0]
	}
	return s
}

// subjectArgs checks that there is a name where one is needed.
func subjectArgs(name string) cobra.PositionalArgs {
	if name == "" {
		return noArguments
	}
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("%s takes one %s; see '%[1]s --help'", cmd.CommandPath(), name)}
		}
		return nil
	}
}

// suspended says what is suspended, since when and why, and how that ends.
func suspended(s *admin.Suspension) string {
	by := ""
	if s.Actor != "" {
		by = " by " + s.Actor
	}
	return printable(fmt.Sprintf("%s is suspended for %s (since %s)%s: %s; `postern resume %s` ends that",
		s.Subject, age(s.Since), s.Since.Local().Format(dateTime), by, s.Reason, s.Subject))
}
