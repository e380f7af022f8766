package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/mail"
)

// Times are local; dateTime is for those that stand alone. A story has its
// date, with the zone, in a line above the facts of that day.
const (
	dateTime  = "2006-01-02 15:04:05 -0700"
	dayHead   = "2006-01-02 -0700"
	timeOfDay = "15:04:05.000"
)

// teller writes facts as lines of a story.
type teller struct {
	out io.Writer
	ids bool   // each line begins with the message's id
	day string // that of the last line
}

func newTeller(out io.Writer) *teller { return &teller{out: out} }

func (t *teller) tell(f *mail.Fact) {
	at := f.Time.Local()
	if day := at.Format(dayHead); day != t.day {
		t.day = day
		fmt.Fprintf(t.out, "%s\n", day)
	}
	if t.ids {
		fmt.Fprintf(t.out, "%-16s  ", f.Message)
	}
	parts := told(f)
	if !t.ids && f.About != "" { // it is another than that of which the story is
		parts = append([]string{string(f.Message)}, parts...)
	}
	fmt.Fprintf(t.out, "%s  %-9s  %s\n", at.Format(timeOfDay), f.Reason, printable(strings.Join(parts, ", ")))
	for _, step := range f.Trail {
		fmt.Fprintf(t.out, "%*s    because of %s\n", len(timeOfDay), "", printable(step.String()))
	}
}

// told returns what is to be said of a fact, beside its time and reason.
func told(f *mail.Fact) []string {
	var parts []string
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch f.Reason {
	case mail.ReasonAccepted:
		say("%s from %s to %s", size(f.Size), f.From, strings.Join(f.To, " "))
		if f.Company != "" {
			say("company %s", f.Company)
		}
	case mail.ReasonRouted:
		say("attempt %d goes by %s", f.Attempt, f.Text)
	case mail.ReasonLoginFailed:
		say("%s", several(int(f.Count), "wrong password", "wrong passwords"))
	case mail.ReasonTargetUp, mail.ReasonTargetDown, mail.ReasonTargetChanged:
		say("pool %s", f.Route)
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
	if o := f.Origin; o != nil && o.User != nil {
		say("by user %s (uid %d) of this host at %s", o.User, o.User.UID, o.Listener)
	} else if o != nil && o.Session != "" {
		say("session %s of %s (%s) with %s at %s", o.Session, o.Client, o.Hello, o.Protocol, o.Listener)
		if a := o.Account; a != nil {
			say("account %s (%s, by %s)", a.Name, a.Source, a.Mechanism)
		}
	}
	if f.Reply != nil {
		say("%s", answer(speaker{f.Host, f.Remote}, f.Command, *f.Reply))
	} else if f.Host != "" && f.Address.IsValid() {
		say("%s[%s]", f.Host, f.Address)
	} else if f.Host != "" { // over a Unix socket, or nobody was asked
		say("%s", f.Host)
	}
	return append(parts, toldRest(f)...)
}

// toldRest adds what only some facts have.
func toldRest(f *mail.Fact) []string {
	var parts []string
	switch {
	case f.TLS != nil:
		parts = append(parts, f.TLS.Version)
	case f.TLSPolicy != nil && f.TLSPolicy.Met:
		parts = append(parts, "in clear")
	}
	if f.TLSPolicy != nil {
		parts = append(parts, "TLS "+f.TLSPolicy.String())
	}
	if f.Class != "" {
		parts = append(parts, "class "+f.Class)
	}
	if f.Hold != "" {
		parts = append(parts, string(f.Hold))
	}
	if !f.Next.IsZero() {
		what := "next attempt at "
		if f.Reason == mail.ReasonBanned {
			what = "until "
		}
		parts = append(parts, what+nextTime(f))
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

// nextTime is the time of the next attempt, with its date on another day.
func nextTime(f *mail.Fact) string {
	next := f.Next.Local()
	if next.Format(dayHead) == f.Time.Local().Format(dayHead) {
		return next.Format(time.TimeOnly)
	}
	return next.Format(dateTime)
}
