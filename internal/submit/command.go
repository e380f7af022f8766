package submit

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail"
)

// Mode is what the command is to do.
type Mode int

// The modes. Post is the default.
const (
	Post    Mode = iota // -bm: send the message on standard input
	Session             // -bs: speak SMTP on standard input and output
	List                // -bp, mailq: list the queue
	Nothing             // what needs no work here: newaliases, -bh, -bH, -q1h
)

// Command is a command line of sendmail.
type Command struct {
	Mode Mode
	// Where is -C or --config: a configuration file, or the directory itself.
	Where string
	// FromHeader is -t: recipients are in the header too.
	FromHeader bool
	// Dots is -i or -oi: a line with a single dot does not end the message.
	Dots bool
	// Sender is -f or -r, nil when it was not given.
	Sender     *string
	FullName   string // -F
	Recipients []string
	Notify     mail.Notify // -N
	Return     mail.Return // -R
	EnvelopeID string      // -V
	// Warnings are about options that were ignored because they are malformed.
	Warnings []string
}

// takesValue are the options that have a value, in the same word or the next;
// flags are those without. The list is that of Postfix.
const (
	takesValue = "ABCFLNORVXbefhopqr"
	flags      = "GIUcimntvx"
)

// ParseCommand reads the arguments of sendmail. Options end at "--", or at the
// first recipient: whatever begins with a hyphen behind it is refused, so that
// no recipient can become an option.
//
// It fails with an *Error, Usage.
func ParseCommand(args []string) (*Command, error) {
	c := &Command{}
	for len(args) > 0 {
		word := args[0]
		if word == "--" {
			args = args[1:]
			break
		}
		if !strings.HasPrefix(word, "-") || word == "-" {
			break
		}
		used, err := c.word(args)
		if err != nil {
			return nil, err
		}
		args = args[used:]
	}
	c.Recipients = args
	return c, c.check()
}

// word takes the options in the first word of args, and returns how many words
// they are with their value.
func (c *Command) word(args []string) (int, error) {
	word := args[0]
	if long, is := strings.CutPrefix(word, "--config"); is {
		return c.config(long, args)
	}
	if word == "-q" { // alone it has no value
		return 1, errQueueRun
	}
	for i := 1; i < len(word); i++ {
		option := word[i]
		switch {
		case strings.IndexByte(flags, option) >= 0:
			if err := c.flag(option); err != nil {
				return 0, err
			}
		case strings.IndexByte(takesValue, option) < 0:
			return 0, failf(Usage, "-%c is not an option of sendmail", printable(option))
		case i+1 < len(word):
			return 1, c.option(option, word[i+1:])
		case len(args) < 2:
			return 0, failf(Usage, "-%c needs a value", option)
		default:
			return 2, c.option(option, args[1])
		}
	}
	return 1, nil
}

func printable(c byte) rune {
	if c > ' ' && c <= '~' {
		return rune(c)
	}
	return unicode.ReplacementChar
}

// config takes --config as all other commands of the program have it.
func (c *Command) config(rest string, args []string) (int, error) {
	value, is := strings.CutPrefix(rest, "=")
	switch {
	case is:
		c.Where = value
		return 1, nil
	case rest != "" || len(args) < 2:
		return 0, failf(Usage, "--config needs a file: --config FILE")
	}
	c.Where = args[1]
	return 2, nil
}

// flag takes an option without a value. What is not listed is ignored.
func (c *Command) flag(option byte) error {
	switch option {
	case 'i':
		c.Dots = true
	case 't':
		c.FromHeader = true
	case 'I':
		c.Mode = Nothing
	}
	return nil
}

var errQueueRun = failf(Usage, "sendmail -q does not exist here: mail in the queue is tried again by itself; `postern queue retry` does it at once")

// option takes an option with a value. What is not listed is ignored.
func (c *Command) option(option byte, value string) error {
	switch option {
	case 'b', 'q':
		if value == "" {
			return failf(Usage, "-%c needs a value", option)
		}
	}
	switch option {
	case 'b':
		return c.mode(value)
	case 'f', 'r':
		c.Sender = &value
	case 'F':
		c.FullName = value
	case 'C':
		c.Where = value
	case 'B':
		if value != "8BITMIME" && value != "7BIT" {
			return failf(Usage, "-B takes 8BITMIME or 7BIT")
		}
	case 'N':
		if n, ok := mail.ParseNotify(strings.ReplaceAll(value, " ", "")); ok {
			c.Notify = n
		} else {
			c.warn("-N %q is ignored: it takes never, or some of success, failure, delay with commas between them", value)
		}
	case 'R':
		c.limit(value)
	case 'V':
		c.envelopeID(value)
	case 'X':
		return failf(Usage, "-X is not supported: no log is written for a user; the journal tells of every message")
	case 'o':
		c.Dots = c.Dots || value == "i"
	case 'q':
		return c.queueRun(value)
	}
	return nil
}

func (c *Command) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// limit takes -R: with Sendmail the part of the message that a report brings
// back, with Postfix, which ignores it, a number.
func (c *Command) limit(value string) {
	switch strings.ToLower(value) {
	case "full":
		c.Return = mail.ReturnFull
	case "hdrs":
		c.Return = mail.ReturnHeaders
	}
}

// maxEnvelopeID is the length of the longest envelope id, in octets (RFC 3461
// 4.4).
const maxEnvelopeID = 100

func (c *Command) envelopeID(value string) {
	unprintable := func(r rune) bool { return r < ' ' || r > '~' }
	switch {
	case len(value) > maxEnvelopeID:
		c.warn("-V is ignored: it has more than %d octets", maxEnvelopeID)
	case strings.ContainsFunc(value, unprintable):
		c.warn("-V is ignored: it takes printable ASCII")
	default:
		c.EnvelopeID = value
	}
}

// mode takes -b.
func (c *Command) mode(value string) error {
	switch value[0] {
	case 'm':
		c.Mode = Post
	case 's':
		c.Mode = Session
	case 'p':
		c.Mode = List
	case 'i', 'h', 'H':
		c.Mode = Nothing
	case 'd', 'D':
		return failf(Usage, "sendmail does not start the server: `postern serve` does")
	default:
		return failf(Usage, "-b%s is not supported", string(printable(value[0])))
	}
	return nil
}

// queueRun takes -q with a value: an interval means nothing without -bd.
func (c *Command) queueRun(value string) error {
	if value[0] >= '0' && value[0] <= '9' {
		c.Mode = Nothing
		return nil
	}
	return errQueueRun
}

// check refuses what contradicts itself, and what could break out of its place
// in an envelope or a header.
func (c *Command) check() error {
	switch {
	case c.FromHeader && c.Mode != Post:
		return failf(Usage, "-t is for sending a message only")
	case len(c.Recipients) > 0 && c.Mode != Post:
		return failf(Usage, "recipients are for sending a message only")
	}
	if err := plain("the name of the sender (-F)", c.FullName); err != nil {
		return err
	}
	if c.Sender != nil {
		if err := plain("the sender (-f)", *c.Sender); err != nil {
			return err
		}
	}
	for _, r := range c.Recipients {
		if err := plain("a recipient", r); err != nil {
			return err
		}
		if strings.HasPrefix(r, "-") {
			return failf(Usage, "%q: options stand before recipients, and no recipient begins with a hyphen", r)
		}
	}
	return nil
}

// plain refuses a text with control characters, line ends among them.
func plain(what, text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return failf(Usage, "%s has a control character in it, or is not UTF-8: %.80q", what, text)
	}
	return nil
}
