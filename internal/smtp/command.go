package smtp

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/internal/mail"
)

// MaxCommandLine is the length of the longest command line, CRLF included,
// in octets. RFC 5321 4.5.3.1.4 asks for 512; the parameters of SIZE,
// 8BITMIME, SMTPUTF8 and DSN may add some 650 (RFC 1870 3, RFC 3461 5,
// RFC 6152 2, RFC 6531 3.1), and 2048 leaves room for those still to come.
const MaxCommandLine = 2048

// Command is one command line.
type Command struct {
	// Verb is the first word in upper case; "" when the line is no command.
	Verb string
	// Args is the text after the verb and one space, otherwise as given:
	// UTF-8 without control characters, but for EHLO and HELO, whose name may
	// be any octets until ParseHello has read it.
	Args string
}

// ParseCommand reads a command line without its CRLF.
//
// It fails with a *mail.Error of code 500: when the line does not begin with
// a word of letters, or holds a control character or octets that are no
// UTF-8 elsewhere than in the name of EHLO and HELO. The verb is returned with
// the error where there is one.
func ParseCommand(line []byte) (Command, error) {
	var c Command
	n := 0
	for n < len(line) && isLetter(line[n]) {
		n++
	}
	if n > 0 && (n == len(line) || line[n] == ' ' || line[n] == '\t') {
		c.Verb = upper(line[:n])
	}
	if c.Verb == "EHLO" || c.Verb == "HELO" {
		c.Args = string(line[min(n+1, len(line)):])
		return c, nil
	}
	// QUIRK: tabs and spaces at the end are harmless and common.
	if slices.ContainsFunc(bytes.TrimRight(line, " \t"), isControl) {
		return c, mail.Refuse(500, "5.5.2", "Control character in the command")
	}
	if !utf8.Valid(line) {
		return c, mail.Refuse(500, "5.5.2", "The command is not valid UTF-8")
	}
	if c.Verb == "" {
		return c, mail.Refuse(500, "5.5.2", "Not a command: a verb of letters is expected")
	}
	if n < len(line) {
		c.Args = string(line[n+1:])
	}
	return c, nil
}

// verbs are those of SMTP, the most frequent first; upper makes no copy of them.
var verbs = [...]string{"MAIL", "RCPT", "DATA", "EHLO", "RSET", "QUIT", "NOOP", "HELO", "STARTTLS", "BDAT", "AUTH", "VRFY", "HELP", "EXPN",
	"TURN", "SEND", "SOML", "SAML"}

// IsVerb reports whether a verb, in upper case, is one of SMTP.
func IsVerb(verb string) bool { return slices.Contains(verbs[:], verb) }

func upper(word []byte) string {
	for _, v := range verbs {
		if string(word) == v {
			return v
		}
	}
	return strings.ToUpper(string(word))
}

// maxHello is how much of the name in EHLO and HELO is kept, in octets: the
// length of the longest domain.
const maxHello = mail.MaxDomain

// Hello is an EHLO or HELO command.
type Hello struct {
	Verb string // "EHLO" or "HELO"
	// Domain is the client's name for itself, unverified, and no domain in
	// every case: 1 to 255 octets of visible ASCII without parentheses,
	// quotes, angle brackets, backslash and semicolon.
	Domain string
}

// ParseHello reads an EHLO or HELO command. All that stands behind the verb is
// the name. Where it holds what cannot stand in a Received field or a log, "?"
// stands instead; it is cut where it is too long.
//
// QUIRK: a name that is no domain is taken. Devices and desktops send their
// display names, and a name proves nothing, so that nothing is gained by
// refusing their mail; RFC 5321 4.1.4 forbids that even for a wrong domain.
//
// It fails with 501 5.5.4 when there is no name.
func ParseHello(c Command) (Hello, *mail.Error) {
	name := strings.Trim(c.Args, " \t")
	if name == "" {
		return Hello{}, mail.Refuse(501, "5.5.4", "Syntax: %s domain", c.Verb)
	}
	return Hello{Verb: c.Verb, Domain: maskHello(name[:min(len(name), maxHello)])}, nil
}

// maskHello puts "?" for each octet that Hello does not allow in a name.
func maskHello(name string) string {
	var masked []byte
	for i := range len(name) {
		if b := name[i]; b > ' ' && b <= '~' && strings.IndexByte(`()<>"\;`, b) < 0 {
			continue
		}
		if masked == nil {
			masked = []byte(name)
		}
		masked[i] = '?'
	}
	if masked == nil {
		return name
	}
	return string(masked)
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

func isControl(b byte) bool { return b < ' ' || b == 0x7f }
