package quarantine

import (
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode"

	"postern/internal/mail"
	"postern/internal/message"
)

// Most characters of what strangers wrote that a digest repeats.
const (
	maxSubject = 100
	maxAddress = 100
	maxTo      = 3 // recipients of a message
)

// dateTime is how a digest writes times.
const dateTime = "2006-01-02 15:04:05 -0700"

// write writes the digest as a message: plain text, and nothing of the
// messages that it lists but their senders, recipients and subjects, inert. It
// says that no program may answer it (RFC 3834 5).
func (d *digest) write(content *bytes.Buffer) {
	host := d.settings.Hostname
	for _, field := range []string{
		"From: Postern <postmaster@" + host + ">",
		"To: " + d.settings.DigestTo.Path(),
		fmt.Sprintf("Subject: [%s] %s came into quarantine", host, messages(d.came)),
		"Date: " + message.FormatDate(d.made.Local()),
		"Auto-Submitted: auto-generated",
		"MIME-Version: 1.0",
		"Content-Type: text/plain; charset=utf-8",
		"Content-Transfer-Encoding: quoted-printable",
		"",
	} {
		content.WriteString(field + "\r\n")
	}
	text := quotedprintable.NewWriter(content) // writes to memory, and cannot fail
	d.writeText(text)
	_ = text.Close()
	content.WriteString("\r\n")
}

func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return grouped(n) + " messages"
}

// grouped writes a number with its thousands apart.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

func (d *digest) writeText(w io.Writer) {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\r\n", args...) }
	begin := ""
	if !d.from.IsZero() {
		begin = " since " + d.from.Local().Format(dateTime)
	}
	line("%s came into quarantine at %s%s.", messages(d.came), d.settings.Hostname, begin)
	line("In all, %s %s there.%s", messages(d.there), isOrAre(d.there), d.kept())
	line("")
	line("On that host, with the id of a message:")
	line("")
	line("  postern quarantine show ID        what it is, and why it is there")
	line("  postern quarantine parts ID       what is in it")
	line("  postern quarantine release ID     send it to its recipients")
	line("  postern quarantine delete ID      remove it; nobody is told")
	for i := range d.items {
		line("")
		d.items[i].writeText(line)
	}
	if more := d.came - len(d.items); more > 0 {
		line("")
		line("and %s more; `postern quarantine list` has all.", grouped(more))
	}
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// kept says how long messages are kept.
func (d *digest) kept() string {
	if d.settings.Keep == 0 {
		return ""
	}
	return " What nobody has judged after " + mail.FormatWait(d.settings.Keep) + " is removed."
}

func (i *Item) writeText(line func(string, ...any)) {
	line("%s", i.ID)
	line("  came      %s, %s octets", i.Since.Local().Format(dateTime), grouped(int(i.Size)))
	line("  from      %s", inert(i.From, maxAddress))
	for _, to := range i.To[:min(len(i.To), maxTo)] {
		line("  to        %s", inert(to, maxAddress))
	}
	if more := len(i.To) - maxTo; more > 0 {
		line("            and %s more", grouped(more))
	}
	switch {
	case i.Unreadable != "":
		line("  subject   cannot be read: %s", inert(i.Unreadable, maxSubject))
	case i.Subject != "":
		line("  subject   %s", inert(i.Subject, maxSubject))
	}
	if i.Why != "" {
		line("  why       %s", inert(i.Why, maxSubject))
	}
	line("  release   postern quarantine release %s", i.ID)
}

// inert makes a text fit to be repeated in a message: one line of so many
// characters that can be printed, in which no program finds anything to follow.
func inert(s string, width int) string {
	runes := []rune(mail.Printable(s))
	if len(runes) > width {
		runes = append(runes[:width-1], '…')
	}
	var b strings.Builder
	for i, r := range runes {
		next := func(j int) rune {
			if i+j < len(runes) {
				return runes[i+j]
			}
			return ' '
		}
		switch {
		case r == ':' && next(1) == '/', r == '.' && (unicode.IsLetter(next(1)) || unicode.IsDigit(next(1))):
			b.WriteString("[" + string(r) + "]")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
