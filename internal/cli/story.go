package cli

import (
	"fmt"
	"io"
	"strings"

	"postern/internal/mail"
)

// timeOfDay is how the time of a fact is shown: a story rarely lasts longer
// than a day, and the date stands in the heading.
const timeOfDay = "15:04:05.000"

// tellFact writes one fact as a line of a message's story.
func tellFact(w io.Writer, f *mail.Fact) {
	fmt.Fprintf(w, "%s  %-9s  %s\n", f.Time.Local().Format(timeOfDay), f.Reason, printable(strings.Join(tell(f), ", ")))
}

// tell returns what is to be said of a fact, beside its time and reason.
func tell(f *mail.Fact) []string {
	var parts []string
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch f.Reason {
	case mail.ReasonAccepted:
		say("%s from %s to %s", size(f.Size), f.From, strings.Join(f.To, " "))
	case mail.ReasonRouted:
		say("attempt %d goes by %s", f.Attempt, f.Text)
	case mail.ReasonAttempted:
		say("attempt %d ended", f.Attempt)
	default:
		if len(f.To) > 0 {
			say("%s", strings.Join(f.To, " "))
		}
	}
	if f.About != "" {
		say("about %s", f.About)
	}
	if o := f.Origin; o != nil && o.Session != "" {
		say("session %s of %s (%s) with %s at %s", o.Session, o.Client, o.Hello, o.Protocol, o.Listener)
	}
	if f.Reply != nil {
		say("%s", answer(speaker{f.Host, f.Remote}, f.Command, *f.Reply))
	} else if f.Host != "" {
		say("%s[%s]", f.Host, f.Address)
	}
	return append(parts, tellRest(f)...)
}

// tellRest adds what only some facts have.
func tellRest(f *mail.Fact) []string {
	var parts []string
	if f.TLS != nil {
		parts = append(parts, f.TLS.Version)
	}
	if f.Hold != "" {
		parts = append(parts, string(f.Hold))
	}
	if !f.Next.IsZero() {
		parts = append(parts, "next attempt at "+f.Next.Local().Format(timeOfDay))
	}
	if f.MessageID != "" {
		parts = append(parts, "Message-ID "+f.MessageID)
	}
	if f.Actor != "" {
		parts = append(parts, "by "+f.Actor)
	}
	if f.Text != "" && f.Reason != mail.ReasonRouted {
		parts = append(parts, f.Text)
	}
	return parts
}
