package explain

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/policy"
)

// Write writes the report for a person: first what was decisive, then what becomes of
// each recipient and what the report cannot know, then every handler at every command. No character of it can do
// anything to a terminal. It fails as w does.
func (r *Report) Write(w io.Writer) error {
	p := &printer{}
	p.line("%s", r.Summary())
	if r.Refused == nil {
		p.recipients(r.Recipients)
	}
	p.question(&r.Mail)
	for _, n := range r.Notes {
		p.line("note: %s", n)
	}
	for i := range r.Commands {
		p.command(&r.Commands[i])
	}
	if len(r.Unreached) > 0 {
		p.line("")
		p.line("NOT REACHED")
		p.handlers(r.Unreached)
	}
	p.ways(r.Recipients)
	_, err := io.WriteString(w, p.String())
	return err
}

// Summary is the decisive line: how all ended, or how many recipients were accepted.
func (r *Report) Summary() string {
	if r.Refused != nil {
		return r.Refused.String()
	}
	if len(r.Recipients) == 1 {
		return r.Recipients[0].Summary()
	}
	accepted := 0
	for i := range r.Recipients {
		if r.Recipients[i].Outcome != Refused {
			accepted++
		}
	}
	switch accepted {
	case 0:
		return "refused at RCPT for all recipients"
	case len(r.Recipients):
		return fmt.Sprintf("accepted for all %d recipients", accepted) + r.variants()
	}
	return fmt.Sprintf("accepted for %d of %d recipients", accepted, len(r.Recipients)) + r.variants()
}

// variants says that not all get the same.
func (r *Report) variants() string {
	if n := r.Variants(); n > 1 {
		return fmt.Sprintf(", as %d messages", n)
	}
	return ""
}

// Summary is what becomes of the recipient, in one line.
func (r *Recipient) Summary() string {
	switch r.Outcome {
	case Refused:
		return r.Refusal.String()
	case Discarded:
		return "accepted and discarded" + r.by()
	case Expanded:
		return "accepted, for " + r.members()
	case Held:
		return "accepted and held (" + strings.TrimSpace(string(r.Hold)+") "+r.Note) + r.by()
	}
	s := "accepted, to go " + r.Route
	if r.To != r.as.String() {
		s = "accepted, for <" + r.To + "> instead, to go " + r.Route
	}
	if !r.NotBefore.IsZero() {
		s += ", not before " + r.NotBefore.Format(time.RFC3339)
	}
	return s
}

// maxMembersTold is how many members are told of in the text.
const maxMembersTold = 10

// members are those for whom it stands.
func (r *Recipient) members() string {
	text := fmt.Sprintf("%d addresses", len(r.Members))
	if len(r.Members) == 1 {
		text = "1 address"
	}
	if r.List != "" {
		text += " of the list " + r.List
	}
	text += ": <" + strings.Join(r.Members[:min(len(r.Members), maxMembersTold)], ">, <") + ">"
	if more := len(r.Members) - maxMembersTold; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// by names the handlers that hold or discard it.
func (r *Recipient) by() string {
	if len(r.because) == 0 {
		return ""
	}
	names := make([]string, len(r.because))
	for i, h := range r.because {
		names[i] = h.Title()
	}
	return ", by " + strings.Join(names, ", ")
}

// details are what else is to be said of the recipient.
func (r *Recipient) details() []string {
	var list []string
	say := func(format, text string) {
		if text != "" {
			list = append(list, fmt.Sprintf(format, text))
		}
	}
	say("stands for <%s>, by percent_routing", r.Routed)
	if r.Outcome == Held && len(r.Members) > 0 {
		say("for %s", r.members())
	} else if r.Outcome == Held {
		say("to go %s when it is released", r.Route)
		if r.To != r.as.String() {
			say("for <%s> instead", r.To)
		}
	}
	say("nobody here is at %s", strings.Join(r.Unknown, ", "))
	say("leaves by TLS only: %s", string(r.TLS))
	say("the sender is %s", r.Sender)
	say("of the company %s", r.Company)
	say("of the class %s", r.Class)
	list = append(list, r.Edits...)
	say("tagged %s", strings.Join(r.Tags, ", "))
	say("a copy goes to %s", strings.Join(r.Copies, ", "))
	say("goes to %s as well", strings.Join(r.Added, ", "))
	return list
}

// printer makes the text.
type printer struct{ strings.Builder }

// line adds a line, in which nothing that came from outside breaks it.
func (p *printer) line(format string, args ...any) {
	p.WriteString(strings.TrimRight(mail.Printable(fmt.Sprintf(format, args...)), " ") + "\n")
}

// recipients says what becomes of each; of a single one the first line has said it.
func (p *printer) recipients(list []Recipient) {
	if len(list) == 1 {
		for _, d := range list[0].details() {
			p.line("  %s", d)
		}
		return
	}
	width := 0
	for i := range list {
		width = max(width, runes(list[i].Address)+2)
	}
	width = min(width, 40)
	p.line("")
	for i := range list {
		r := &list[i]
		variant := ""
		if r.Variant > 1 {
			variant = fmt.Sprintf(" [message %d]", r.Variant)
		}
		p.line("%s  %s%s", pad("<"+r.Address+">", width), r.Summary(), variant)
		for _, d := range r.details() {
			p.line("%s  %s", pad("", width), d)
		}
	}
}

func (p *printer) question(q *Question) {
	client, secure := "", "in clear"
	if q.Client != "" {
		client = " from " + q.Client
	}
	if q.TLS != "" {
		secure = q.TLS
	}
	if q.RequireTLS {
		secure += ", REQUIRETLS"
	}
	if q.Listener == SendmailListener {
		client, secure = " by "+q.User, "on this host"
	} else if q.User != "" {
		client += " as " + q.User
	}
	p.line("")
	p.line("asked: %s at listener %s%s, %s, %d octets", q.From, q.Listener, client, secure, q.Size)
}

func (p *printer) command(c *Command) {
	reply := "accepted"
	if !c.Reply.IsZero() {
		reply = c.Reply.String()
	}
	p.line("")
	p.line("%s: %s", strings.TrimSpace(c.Name+" "+c.Argument), reply)
	if c.Greeting != "" {
		p.line("  greeting: %s", c.Greeting)
	}
	if len(c.Considered) == 0 {
		p.line("  no handlers")
	}
	p.handlers(c.Considered)
}

// handlers tells of handlers in a column for their names, one for why. Of those that
// settings of other listeners stand for, of which each listener has some, there is only
// the number.
func (p *printer) handlers(list []policy.Considered) {
	whole := len(list)
	list = slices.DeleteFunc(slices.Clone(list), func(c policy.Considered) bool { return c.Elsewhere && c.Handler != "" })
	width := 0
	for i := range list {
		width = max(width, runes(name(&list[i])))
	}
	width = min(width, 40)
	for i := range list {
		p.handler(&list[i], width)
	}
	switch n := whole - len(list); n {
	case 0:
	case 1:
		p.line("  - 1 handler is for another listener")
	default:
		p.line("  - %d handlers are for other listeners", n)
	}
}

// layerWidth is the length of the longest name of a layer.
const layerWidth = len("connections")

func name(c *policy.Considered) string { return handlerOf(c).String() }

func (p *printer) handler(c *policy.Considered, width int) {
	mark, to := "-", ""
	if c.Chosen {
		mark = "*"
	}
	if c.Recipient != "" && c.At == "data" {
		to = "<" + c.Recipient + ">: "
	}
	p.line("  %s %s  %s  %s%s", mark, pad(c.Layer, layerWidth), pad(name(c), width), to, c.Why)
	const indent = "      "
	if c.Handler != "" && (c.Chosen || c.Condition != "") {
		p.line("%sstands for: %s", indent, c.Handler)
	} else if c.Condition != "" {
		p.line("%swhen %s", indent, c.Condition)
	}
	for _, v := range c.Values {
		p.line("%s  %s = %s", indent, v.Name, v.Value)
	}
	for _, s := range c.Steps {
		effect := s.Step + ": " + s.Effect
		if s.Step == s.Effect {
			effect = s.Effect
		}
		p.line("%s> %s", indent, effect)
	}
}

func runes(s string) int { return len([]rune(s)) }

// pad fills a text with blanks up to a width.
func pad(s string, width int) string { return s + strings.Repeat(" ", max(width-runes(s), 0)) }
