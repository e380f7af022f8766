package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"postern/internal/mail"
)

// printable makes a text safe for a terminal: what came from outside may hold
// control characters and escape sequences.
func printable(s string) string { return mail.Printable(s) }

// printJSON prints a value on one line, with "<" as it is: addresses are
// easier to search for that way. It is safe for a terminal, too.
func (a *app) printJSON(value any) error {
	encoder := json.NewEncoder(mail.PlainJSONWriter(a.out))
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// several writes how many there are of something.
func several(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// size writes a number of octets in the unit that suits it.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// age says how long ago something was, in whole seconds.
func age(t time.Time) string { return duration(time.Since(t).Truncate(time.Second)) }

// duration writes a duration in its two largest units at most.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d >= time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	if d < time.Millisecond {
		return "0s"
	}
	return fmt.Sprintf("%dms", d/time.Millisecond)
}

// speaker is who gave a reply: the peer, or Postern about the peer.
type speaker struct {
	host   string // the peer; "" when there was none
	remote bool
}

// answer says who said what to which command.
func answer(by speaker, command string, reply mail.Reply) string {
	text := reply.String()
	switch {
	case by.remote:
		text = by.host + " said " + text
	case by.host != "" && !strings.Contains(text, by.host):
		text += ", " + by.host
	}
	if command != "" {
		text += " (" + command + ")"
	}
	return text
}
