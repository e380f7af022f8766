package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/filter"
	"postern/internal/mail"
)

const findHelp = `Find facts by sender, recipient, what happened and when; of those that are named
all must hold. It reads the whole journal, or all since a time, oldest first.

  postern journal find --from app@example.com --to joe@example.net
  postern journal find --to '*@example.net' --reason delivered --since today
  postern journal find --reason bounced,expired --since 1d

In an address "*" stands for anything; <> is the sender of reports. A time is how
long ago (90s, 2h, 1d12h), "today", a date, or a date and a time of day, in local
time. docs/reasons.md has all reasons. "postern journal show ID" tells the rest of
a message's story.`

func (a *app) journalFindCommand() *cobra.Command {
	var q admin.JournalQuery
	var reasons []string
	var since string
	c := &cobra.Command{Use: "find", Short: "Find facts by sender, recipient, reason and time", Long: findHelp, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.From == "" && q.To == "" && len(reasons) == 0 && since == "" {
				return usageError{fmt.Errorf("find what? Name --from, --to, --reason or --since; see '%s --help'", cmd.CommandPath())}
			}
			if q.Reasons, err = parseReasons(reasons); err != nil {
				return usageError{err}
			}
			if q.Since, err = parseSince(since, time.Now()); err != nil {
				return usageError{err}
			}
			n, err := a.printFacts(cmd.Context(), q, true)
			if err == nil && n == 0 && !a.json {
				fmt.Fprintln(a.out, "the journal has nothing of the kind")
			}
			return err
		}}
	c.Flags().StringVar(&q.From, "from", "", "sender: an `address`, in which * stands for anything")
	c.Flags().StringVar(&q.To, "to", "", "recipient: an `address`, in which * stands for anything")
	c.Flags().StringSliceVar(&reasons, "reason", nil, "what happened: one of `reasons`, separated by commas")
	c.Flags().StringVar(&since, "since", "", "a `time`, or how long ago")
	return c
}

func parseReasons(names []string) ([]mail.Reason, error) {
	var reasons []mail.Reason
	for _, name := range names {
		r := mail.Reason(name)
		if !slices.Contains(mail.Reasons, r) {
			return nil, fmt.Errorf("--reason %s: there is no such reason; docs/reasons.md has all", name)
		}
		reasons = append(reasons, r)
	}
	return reasons, nil
}

var errSince = errors.New(`not a time: write how long ago (2h, 1d12h), today, 2026-01-31, or "2026-01-31 15:04"`)

// parseSince reads the time of the flag --since; "" is the zero time.
func parseSince(text string, now time.Time) (time.Time, error) {
	return parseMoment("since", text, now)
}

// parseMoment reads the time of a flag; "" is the zero time.
func parseMoment(flag, text string, now time.Time) (time.Time, error) {
	switch text {
	case "":
		return time.Time{}, nil
	case "today":
		y, m, d := now.Date()
		return time.Date(y, m, d, 0, 0, 0, 0, now.Location()), nil
	}
	if ago, err := filter.ParseAge(text); err == nil {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--%s %s: %w", flag, text, errSince)
}
