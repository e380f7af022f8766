package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
)

func (a *app) sendersCommand() *cobra.Command {
	return group("senders", "Who sends mail by this server, whose that is, and what will break for it",
		a.sendersListCommand(), a.sendersShowCommand(), a.sendersAssignCommand(), a.sendersForgetCommand())
}

func (a *app) sendersListCommand() *cobra.Command {
	var q admin.SenderQuery
	var since, first string
	c := &cobra.Command{Use: "list [TEXT]", Short: "List who sends mail, those who send most first; with a text, those in whose name, addresses or notes it is",
		Example: "  postern senders list --unassigned --since 7d\n  postern senders list --at-risk --sort last\n  postern senders list --new 1d",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				q.Match = args[0]
			}
			now := time.Now()
			if q.Since, err = parseSince(since, now); err != nil {
				return usageError{err}
			}
			if q.New, err = parseMoment("new", first, now); err != nil {
				return usageError{err}
			}
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error { return a.listSenders(cmd.Context(), client, q) })
		}}
	c.Flags().BoolVar(&q.Unassigned, "unassigned", false, "only hosts and certificates of which nobody knows whose they are")
	c.Flags().BoolVar(&q.AtRisk, "at-risk", false, "only those for which something will break")
	c.Flags().StringVar(&since, "since", "", "only those that were seen since a `time`, or how long ago")
	c.Flags().StringVar(&first, "new", "", "only those that were seen for the first time since a `time`, or how long ago")
	c.Flags().StringVar(&q.Order, "sort", "messages", "the most or the latest first: the `order` messages, recipients, octets, last, first, or source by name")
	c.Flags().IntVarP(&q.Limit, "limit", "n", 0, "at most so `many`; 0 for all")
	return c
}

func (a *app) listSenders(ctx context.Context, client *admin.Client, q admin.SenderQuery) error {
	list := newListing(a, "SOURCE\tWHOSE\tMESSAGES\tRECIPIENTS\tSIZE\tLAST SEEN\tFROM\tHELLO\tTLS\tWILL BREAK")
	err := list.end(client.Senders(ctx, q, func(s *admin.Source) error {
		return list.add(s, func(w io.Writer) {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", column(s.Source), orDash(column(whose(s))), s.Messages, s.Recipients,
				size(s.Octets), s.Last.Local().Format(dateTime), firstOf(s.From), orDash(column(s.Hello)), orDash(s.TLS), orDash(risks(s)))
		})
	}))
	if err == nil && list.count == 0 && !a.json {
		fmt.Fprintln(a.out, "there are no such senders")
	}
	return err
}

// whose says to whom a source belongs: the user, and then who answers for it.
func whose(s *admin.Source) string {
	return strings.Trim(s.User+", "+s.Owner, ", ")
}

func risks(s *admin.Source) string {
	var names []string
	for _, r := range s.Risks {
		names = append(names, string(r.Habit))
	}
	return strings.Join(names, " ")
}

func (a *app) sendersShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show SOURCE", Short: "Show one that sends mail", Args: oneSender,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error {
				s, err := client.Sender(cmd.Context(), sourceOf(args[0]))
				if err != nil {
					return err
				}
				return present(a, &s, a.showSender)
			})
		}}
}

func (a *app) showSender(s *admin.Source) {
	from := strings.Join(s.From, ", ")
	if s.MoreFrom > 0 {
		from += fmt.Sprintf(", and others, %d times", s.MoreFrom)
	}
	certificate := ""
	if c := s.Certificate; c != nil {
		certificate = strings.Trim(c.Subject+", sha256:"+c.Fingerprint, ", ")
		if !c.Expires.IsZero() {
			certificate += ", until " + c.Expires.Local().Format(dateTime)
		}
	}
	hello := s.Hello
	if s.Protocol != "" {
		hello += " (" + s.Protocol + ")"
	}
	a.showFields([]shownField{
		{"sender", s.Source}, {"user", s.User}, {"owner", s.Owner}, {"note", s.Note},
		{"first seen", s.First.Local().Format(dateTime)}, {"last seen", s.Last.Local().Format(dateTime)},
		{"messages", strconv.FormatInt(s.Messages, 10)}, {"recipients", strconv.FormatInt(s.Recipients, 10)}, {"size", size(s.Octets)},
		{"from", from}, {"listener", s.Listener}, {"client", strings.TrimSpace(s.Client + " " + s.Name)}, {"hello", hello},
		{"login", strings.TrimSpace(s.Mechanism + " " + s.Account)}, {"tls", strings.TrimSpace(s.TLS + " " + s.Cipher)}, {"certificate", certificate},
	})
	for _, r := range s.Risks {
		text := string(r.Habit) + ": " + r.Text
		if r.Messages > 0 {
			text += fmt.Sprintf(" (%s, the last at %s)", several(int(r.Messages), "message", "messages"), r.Last.Local().Format(dateTime))
		}
		a.showFields([]shownField{{"will break", text}})
	}
}

func (a *app) sendersAssignCommand() *cobra.Command {
	var user, owner, note string
	c := &cobra.Command{Use: "assign SOURCE", Short: "Say whose one is that sends mail",
		Long: `Say whose one is that sends mail. With --user its address or certificate becomes one of
that user: mail from it is then that user's, who needs no password there, wherever a
listener knows accounts. --owner and --note are for people, and change nothing else.`,
		Example: "  postern senders assign 192.0.2.7 --user scanner\n  postern senders assign 192.0.2.8 --owner 'the web team' --note 'ticket 4711'",
		Args:    oneSender,
		RunE: func(cmd *cobra.Command, args []string) error {
			var say admin.Ownership
			for name, to := range map[string]struct {
				text *string
				at   **string
			}{"user": {&user, &say.User}, "owner": {&owner, &say.Owner}, "note": {&note, &say.Note}} {
				if cmd.Flags().Changed(name) {
					*to.at = to.text
				}
			}
			if say == (admin.Ownership{}) {
				return usageError{fmt.Errorf("say what? Name --user, --owner or --note; see '%s --help'", cmd.CommandPath())}
			}
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error {
				done, err := client.AssignSender(cmd.Context(), sourceOf(args[0]), say)
				if err != nil {
					return err
				}
				return a.say(done, "%s", assignedText(&done))
			})
		}}
	c.Flags().StringVar(&user, "user", "", "it belongs to the user with this `login`")
	c.Flags().StringVar(&owner, "owner", "", "who answers for it; a `text`, empty for nobody")
	c.Flags().StringVar(&note, "note", "", "what else is to be known; a `text`, empty for nothing")
	return c
}

func assignedText(s *admin.Source) string {
	text := s.Source + " belongs to " + s.User
	switch {
	case s.User != "" && s.Owner != "":
		return text + ", and " + s.Owner + " answers for it"
	case s.User != "":
		return text
	case s.Owner != "":
		return s.Owner + " answers for " + s.Source
	}
	return "nobody answers for " + s.Source
}

func (a *app) sendersForgetCommand() *cobra.Command {
	return &cobra.Command{Use: "forget SOURCE", Short: "Forget all that is kept of one that sends mail, until it sends again", Args: oneSender,
		RunE: func(cmd *cobra.Command, args []string) error {
			source := sourceOf(args[0])
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error {
				if err := client.ForgetSender(cmd.Context(), source); err != nil {
					return err
				}
				return a.say(struct {
					Source string `json:"source"`
				}{source}, "%s is forgotten", source)
			})
		}}
}

func oneSender(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("%s takes one source, such as 192.0.2.1 or account:joe; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

// sourceOf takes an address for what it looks like, and a fingerprint as users have it.
func sourceOf(text string) string {
	if fingerprint, is := strings.CutPrefix(text, "sha256:"); is {
		return "certificate:" + fingerprint
	}
	if ip, err := netip.ParseAddr(text); err == nil {
		return "address:" + ip.String()
	}
	return text
}
