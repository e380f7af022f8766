package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/deliver"
	"postern/internal/queue"
)

func (a *app) siteCommand() *cobra.Command {
	return group("site", "Look at the sites, the lists of hosts that destinations lead to",
		a.siteListCommand(), a.siteShowCommand(), a.siteRetryCommand())
}

func (a *app) siteListCommand() *cobra.Command {
	var down bool
	var limit int
	c := &cobra.Command{Use: "list", Short: "List the sites: those that are down first, then those for which most waits", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > admin.MaxPage {
				return usageError{fmt.Errorf("--limit %d: 1 to %d are allowed", limit, admin.MaxPage)}
			}
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.SiteList, error) {
				return c.ListSites(ctx, down, limit)
			}, func(list *admin.SiteList) { a.showSites(list, down) })
		}}
	c.Flags().BoolVar(&down, "down", false, "only those that are down")
	c.Flags().IntVarP(&limit, "limit", "n", 100, "at most so many `sites`")
	return c
}

func (a *app) showSites(list *admin.SiteList, onlyDown bool) {
	if len(list.Sites) > 0 {
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "STATE\tDUE\tLATER\tDESTINATIONS\tIN HAND\tCONNECTIONS\tTAKES\tSITE")
		for i := range list.Sites {
			s := &list.Sites[i]
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d of %d\t%d + %d idle\t%s\t%s\n", siteState(s), s.Due, s.Later, s.Destinations,
				s.InHand, s.Window, s.Connections, s.Idle, takes(&s.Site), printable(s.Name))
		}
		_ = w.Flush() // a.out remembers a failure
	}
	of := list.Known
	if onlyDown {
		of = list.Down
	}
	if more := of - len(list.Sites); more > 0 {
		fmt.Fprintf(a.out, "and %d more; -n lists them\n", more)
	}
	fmt.Fprintln(a.out, siteCounts(&list.SiteCounts))
	fmt.Fprintln(a.out, transactions(&list.Transactions))
}

// siteState is how a site stands, in a word or two.
func siteState(s *admin.Site) string {
	switch {
	case s.Suspension != nil && s.Down != nil:
		return "suspended, down"
	case s.Suspension != nil:
		return "suspended"
	case s.Down != nil:
		return "down " + age(s.Down.Since)
	case s.Failures > 0:
		return "failing"
	}
	return "up"
}

// takes is the time that a transaction takes.
func takes(s *deliver.Site) string {
	if s.TransactionMS == 0 {
		return "-"
	}
	return duration(time.Duration(s.TransactionMS) * time.Millisecond)
}

func siteCounts(c *deliver.SiteCounts) string {
	text := fmt.Sprintf("sites: %d known, %d down, %d suspended", c.Known, c.Down, c.Suspended)
	if c.Unknown > 0 {
		text += fmt.Sprintf("; of %s it is not yet known where they lead", several(c.Unknown, "destination with mail that is due", "destinations with mail that is due"))
	}
	return text
}

// bounds say why mail that is due waits.
var bounds = map[deliver.Bound]string{
	deliver.BoundStart:  "there are few so soon after the start",
	deliver.BoundSlots:  "all slots are in use (max_connections)",
	deliver.BoundLeases: fmt.Sprintf("%d deliveries are under way, as many as may be", queue.ActiveWindow),
	deliver.BoundSlow:   "all slots for sites that are slow, or not yet known, are in use",
	deliver.BoundSites:  "each site with mail has as many as it may, or is suspended",
}

func transactions(t *deliver.Transactions) string {
	text := fmt.Sprintf("transactions: %d of %d", t.InHand, t.Most)
	if t.Limit < t.Most {
		text = fmt.Sprintf("transactions: %d of %d at present, %d later", t.InHand, t.Limit, t.Most)
	}
	if t.Bound != "" {
		text += "; mail that is due waits: " + bounds[t.Bound]
	}
	return text
}

// siteDown says since when a site is down, when it is tried again, and why.
func siteDown(s *deliver.Site) string {
	until := "is tried again with the next mail that is due"
	switch wait := time.Until(s.Down.Until); {
	case s.Down.Probing:
		until = "is being tried"
	case wait > 0:
		until = "is tried again in " + duration(wait)
	}
	return printable(fmt.Sprintf("for %s (since %s), after %d failures in a row, and %s; the last: %s",
		age(s.Down.Since), s.Down.Since.Local().Format(dateTime), s.Failures, until, s.Failure))
}

// oneSite checks that there is a name.
func oneSite(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("%s takes the name of a site, its beginning, or a destination; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

const siteHelp = `. A site goes by its name as "postern site list" has it,
by the beginning of that if there is no other, or by a destination that leads there.`

func (a *app) siteShowCommand() *cobra.Command {
	const short = "Show one site: how it stands, what waits for it, and why"
	return &cobra.Command{Use: "show NAME", Short: short, Long: short + siteHelp, Args: oneSite,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.SiteDetail, error) {
				return c.Site(ctx, args[0])
			}, a.showSite)
		}}
}

func (a *app) showSite(s *admin.SiteDetail) {
	fmt.Fprintf(a.out, "site         %s\n", printable(s.Name))
	if s.Suspension != nil {
		fmt.Fprintf(a.out, "SUSPENDED    %s\n", suspended(s.Suspension))
	}
	switch {
	case s.Down != nil:
		fmt.Fprintf(a.out, "DOWN         %s\n", siteDown(&s.Site.Site))
	case s.Failures > 0:
		fmt.Fprintf(a.out, "failing      %d times in a row, the last: %s\n", s.Failures, printable(s.Failure))
	}
	later := ""
	if s.Later > 0 {
		later = ", the next " + dueIn(s.Next)
	}
	fmt.Fprintf(a.out, "waits        %d deliveries due, %d later%s\n", s.Due, s.Later, later)
	if s.ForRoom > 0 {
		fmt.Fprintf(a.out, "for room     %d of these wait for a connection to the target servers that can take them\n", s.ForRoom)
	}
	fmt.Fprintf(a.out, "in hand      %d of %d transactions; one takes %s\n", s.InHand, s.Window, takes(&s.Site.Site))
	fmt.Fprintf(a.out, "connections  %d in use, %d idle\n", s.Connections, s.Idle)
	fmt.Fprintf(a.out, "leads here   %s\n", several(s.Destinations, "destination", "destinations"))
	for _, d := range s.Leads {
		fmt.Fprintf(a.out, "  %s\n", printable(string(d)))
	}
	if more := s.Destinations - len(s.Leads); more > 0 {
		fmt.Fprintf(a.out, "  and %d more\n", more)
	}
	fmt.Fprintf(a.out, "you can      %s\n", strings.Join(siteHandles(s), "\n             "))
}

// siteHandles are the commands for a site as it stands.
func siteHandles(s *admin.SiteDetail) []string {
	name := "'" + printable(s.Name) + "'"
	handles := []string{"postern suspend site " + name}
	if s.Suspension != nil {
		handles = []string{"postern resume site " + name}
	}
	if s.Due+s.Later > 0 || s.Down != nil {
		handles = append(handles, "postern site retry "+name)
	}
	return handles
}

func (a *app) siteRetryCommand() *cobra.Command {
	const short = "Try all mail for a site now, and the site itself if it is down"
	return &cobra.Command{Use: "retry NAME", Short: short, Long: short + siteHelp + `
A site that is down is tried with one message; the others wait for what that
finds.`, Args: oneSite,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (queue.Edited, error) {
				return c.RetrySite(ctx, args[0], func(queue.Edited) {})
			}, func(done *queue.Edited) {
				fmt.Fprintf(a.out, "%s due now%s\n", several(done.Changed, "recipient", "recipients"), pending(done))
			})
		}}
}

// pending says of what an attempt is under way.
func pending(done *queue.Edited) string {
	if done.Pending == 0 {
		return ""
	}
	return fmt.Sprintf(", %d more when the attempt that is under way ends, unless delivered by then", done.Pending)
}
