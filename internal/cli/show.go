package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
)

func (a *app) queueShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show one message in the queue: why it waits, and what you can do", Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.Message, error) {
				return c.Message(ctx, mail.ID(args[0]))
			}, a.showMessage)
		}}
}

func (a *app) queueCatCommand() *cobra.Command {
	return &cobra.Command{Use: "cat ID", Short: "Print the content of one message in the queue, octet by octet as it is stored", Args: oneID,
		Long: "Print the content of one message in the queue, octet by octet as it is stored. On\na terminal what cannot be printed is masked; redirect it to get all of it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			content, err := client.Content(cmd.Context(), mail.ID(args[0]))
			if err != nil {
				return err
			}
			defer content.Close()
			if a.json {
				octets, err := io.ReadAll(content)
				if err != nil {
					return fmt.Errorf("the content of %s cannot be read whole: %w", args[0], err)
				}
				return a.printJSON(map[string]any{"id": args[0], "content": octets}) // base64
			}
			if _, err := io.Copy(contentFor(a.out), content); err != nil && a.out.err == nil {
				return fmt.Errorf("the content of %s cannot be read whole: %w", args[0], err)
			}
			return nil
		}}
}

// contentFor returns where the content of a message is printed to: to a
// terminal masked, elsewhere as it is.
func contentFor(out *output) io.Writer {
	if isTerminal(out.Writer) {
		return masked{out}
	}
	return out
}

// masked writes text to a terminal. Each write is masked by itself: of a
// character that is cut in two, two marks are shown.
type masked struct{ out io.Writer }

// Write implements io.Writer.
func (m masked) Write(text []byte) (int, error) {
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = printable(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	if _, err := io.WriteString(m.out, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(text), nil
}

// showOrigin says what a message is, and whence it came.
func (a *app) showOrigin(e *queue.Entry) {
	fmt.Fprintf(a.out, "message   %s\n", e.ID)
	fmt.Fprintf(a.out, "accepted  %s (%s ago) by %s\n", e.Accepted.Local().Format(dateTime), age(e.Accepted), cameFrom(&e.Origin))
	if e.Message != e.ID {
		fmt.Fprintf(a.out, "copy of   %s\n", e.Message)
	}
	fmt.Fprintf(a.out, "from      %s\n", printable(e.Envelope.From.Path()))
	if e.Envelope.EnvelopeID != "" {
		fmt.Fprintf(a.out, "envid     %s\n", printable(e.Envelope.EnvelopeID))
	}
	fmt.Fprintf(a.out, "size      %s\n", size(e.Size))
	if e.Class != mail.Normal {
		fmt.Fprintf(a.out, "class     %s\n", e.Class)
	}
	if len(e.Tags) > 0 {
		fmt.Fprintf(a.out, "tags      %s\n", printable(strings.Join(e.Tags, ", ")))
	}
	if e.Envelope.RequireTLS {
		fmt.Fprintf(a.out, "demands   TLS with verified servers on its whole way (REQUIRETLS): it goes back rather than on without\n")
	} else if say := tlsDemands[e.TLS]; say != "" {
		fmt.Fprintf(a.out, "demands   %s\n", say)
	}
}

func (a *app) showMessage(m *admin.Message) {
	e := &m.Entry
	a.showOrigin(e)
	for i := range m.Suspensions {
		fmt.Fprintf(a.out, "WAITS     %s\n", suspended(&m.Suspensions[i]))
	}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		fmt.Fprintf(a.out, "\n%s: %s, next %s\n", printable(destination(d.Destination)), several(d.Attempts, "attempt", "attempts"), nextAttempt(d))
		if slices.Contains(m.Attempting, d.Destination) {
			fmt.Fprintf(a.out, "  an attempt is under way\n")
		}
		for j := range d.Recipients {
			a.showRecipient(&d.Recipients[j])
		}
	}
	a.showChoices(e)
}

// tlsDemands say what a message demands of its connections.
var tlsDemands = map[mail.TLSDemand]string{
	mail.TLSRequired: "TLS: it waits rather than go in clear",
	mail.TLSVerified: "TLS with a good certificate: it waits rather than go without",
}

// destination tells where a delivery goes, and the route that was chosen for it.
func destination(d mail.Destination) string {
	if route := d.Route(); route != "" {
		return d.Domain() + " by " + string(route)
	}
	return string(d)
}

// cameFrom says who brought a message.
func cameFrom(o *mail.Origin) string {
	if o.User != nil {
		return printable(fmt.Sprintf("%s from user %s (uid %d) of this host", o.Listener, o.User, o.User.UID))
	}
	parts := []string{o.Listener}
	if o.Client.IsValid() {
		parts = append(parts, "from "+o.Client.String())
	}
	if o.Hello != "" {
		parts = append(parts, "("+o.Hello+")")
	}
	if o.Protocol != "" {
		parts = append(parts, "with "+o.Protocol)
	}
	return printable(strings.Join(parts, " "))
}

func (a *app) showRecipient(r *queue.Recipient) {
	state := string(r.State)
	if r.Hold != "" {
		state += " (" + string(r.Hold) + ")"
	}
	fmt.Fprintf(a.out, "  %s  %s\n", printable(r.Address.Path()), state)
	if r.Why != "" {
		fmt.Fprintf(a.out, "    held because %s\n", printable(r.Why))
	} else if why := holdReasons[r.Hold]; why != "" {
		fmt.Fprintf(a.out, "    held because %s\n", why)
	}
	if r.Original != "" {
		fmt.Fprintf(a.out, "    the sender wrote to %s\n", printable(r.Original))
	}
	if o := r.Last; o != nil {
		said := answer(speaker{o.Host, o.Remote}, o.Command, o.Reply)
		if o.Cause != "" {
			said += ", " + o.Cause
		}
		fmt.Fprintf(a.out, "    attempt %d at %s: %s\n", o.Attempt, o.At.Local().Format(dateTime), printable(said))
	}
	if !r.Warned.IsZero() {
		fmt.Fprintf(a.out, "    the sender was told of the delay at %s\n", r.Warned.Local().Format(dateTime))
	}
}

// holdReasons say why a recipient is held.
var holdReasons = map[mail.Hold]string{
	mail.HoldPolicy:     "a rule of the policy says so",
	mail.HoldOperator:   "an operator said so; the journal has who and when",
	mail.HoldQuarantine: "it is suspicious",
	mail.HoldRoute:      "its route says so",
	mail.HoldDeadLetter: "the message failed, and there was nobody to tell",
	mail.HoldDamage:     "the store was damaged, and it may have been delivered before",
}

// showChoices says what can be done with a message.
func (a *app) showChoices(e *queue.Entry) {
	waiting, held := false, false
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			r := &e.Deliveries[i].Recipients[j]
			held, waiting = held || r.State == mail.Held && r.Hold != mail.HoldQuarantine, waiting || r.State != mail.Held
		}
	}
	var commands []command
	for _, choice := range []struct {
		possible bool
		command
	}{
		{waiting, command{"queue retry " + string(e.ID), "try it now"}},
		{waiting, command{"queue hold " + string(e.ID), "keep it here until you release it"}},
		{held, command{"queue release " + string(e.ID), "send it after all"}},
		{inQuarantine(e), command{"quarantine show " + string(e.ID), "judge it: what it is, and why it is there"}},
		{true, command{"queue remove " + string(e.ID), "drop it; nobody is told"}},
		{true, command{"queue reroute --to DOMAIN " + string(e.ID), "send it to the servers of another domain"}},
		{true, command{"queue set-recipient --to ADDRESS " + string(e.ID), "send it to another address"}},
		{true, command{"queue cat " + string(e.ID), "read it"}},
		{true, command{"journal show " + string(e.ID), "see what happened so far"}},
	} {
		if choice.possible {
			commands = append(commands, choice.command)
		}
	}
	a.showCommands(commands)
}

// command is something that can be done, and what it does.
type command struct{ line, does string }

func (a *app) showCommands(list []command) {
	table := newTable(a.out)
	fmt.Fprintln(table, "\nwhat you can do:")
	for _, c := range list {
		fmt.Fprintf(table, "  postern %s\t%s\n", c.line, c.does)
	}
	table.Flush() // its error is that of a.out, which remembers it
}
