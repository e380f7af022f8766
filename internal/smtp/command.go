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
	// Args is the text after the verb and one space, otherwise as given.
	Args string
}

// ParseCommand reads a command line without its CRLF.
//
// It fails with a *mail.Error of code 500: when the line does not begin with
// a word of letters, or holds a control character or octets that are no
// UTF-8. The verb is returned with the error where there is one.
func ParseCommand(line []byte) (Command, error) {
	var c Command
	n := 0
	for n < len(line) && isLetter(line[n]) {
		n++
	}
	if n > 0 && (n == len(line) || line[n] == ' ' || line[n] == '\t') {
		c.Verb = upper(line[:n])
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

// verbs are those that a client sends all day; upper makes no copy of them.
var verbs = [...]string{"MAIL", "RCPT", "DATA", "EHLO", "RSET", "QUIT", "NOOP", "HELO", "STARTTLS"}

func upper(word []byte) string {
	for _, v := range verbs {
		if string(word) == v {
			return v
		}
	}
	return strings.ToUpper(string(word))
}

// maxHello is the length of the longest name in EHLO and HELO, in octets:
// that of a domain.
const maxHello = mail.MaxDomain

// Hello is an EHLO or HELO command.
type Hello struct {
	Verb   string // "EHLO" or "HELO"
	Domain string // the client's name for itself, unverified
}

// ParseHello reads an EHLO or HELO command. A name that is no domain is
// accepted (RFC 5321 4.1.4 forbids to refuse mail for what a client calls
// itself), as long as it can stand in a Received field: one word of visible
// ASCII without parentheses, quotes, angle brackets, backslash or semicolon.
//
// It fails with 501 5.5.4.
func ParseHello(c Command) (Hello, *mail.Error) {
	domain := strings.Trim(c.Args, " \t")
	switch {
	case domain == "":
		return Hello{}, mail.Refuse(501, "5.5.4", "Syntax: %s domain", c.Verb)
	case len(domain) > maxHello:
		return Hello{}, mail.Refuse(501, "5.5.4", "The domain is longer than %d octets", maxHello)
	}
	for i := range len(domain) {
		if b := domain[i]; b <= ' ' || b > '~' || strings.IndexByte(`()<>"\;`, b) >= 0 {
			return Hello{}, mail.Refuse(501, "5.5.4", "Not a domain or address literal")
		}
	}
	return Hello{Verb: c.Verb, Domain: domain}, nil
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

func isControl(b byte) bool { return b < ' ' || b == 0x7f }
