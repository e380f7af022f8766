package policy

import (
	"fmt"
	"regexp"
	"strings"

	"postern/internal/mail"
)

// replyForm is the reply of a step, with a text that is filled in.
type replyForm struct {
	reply mail.Reply // what is used when text makes nothing
	text  *template
}

// replyCodes is the begin of a reply: code, status code of RFC 3463, text.
var replyCodes = regexp.MustCompile(`^([0-9]{3})(?: ([0-9]\.[0-9]{1,3}\.[0-9]{1,3}))?(?: |$)`)

// maxReply bounds the text of a reply (RFC 5321 4.5.3.1.5: 512 octets for a line).
const maxReply = 400

// reply reads the value as a reply with which a command is refused.
func (c *stepCompiler) reply(v Verdict) *replyForm {
	f := &replyForm{reply: defaultReply(c.draft.At, v), text: &template{}}
	if c.value() == nil {
		return f
	}
	text, ok := c.text(c.value(), c.kind.name)
	if !ok {
		return f
	}
	found := replyCodes.FindStringSubmatch(text)
	start := 0
	if found != nil {
		start = len(found[0])
		c.checkCodes(f, v, found[1], found[2])
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return (r < ' ' || r > '~') && r != '\n' }); i >= 0 {
		// RFC 5321 4.2: the text of a reply is US-ASCII.
		c.mistaken(c.value(), c.kind.name, mistakef(i, "write US-ASCII", "has a character that cannot stand in a reply"))
		return f
	}
	f.text = c.templateOf(c.value(), c.kind.name, start)
	return f
}

// checkCodes takes code and status over if they are those of the verdict.
func (c *stepCompiler) checkCodes(f *replyForm, v Verdict, code, status string) {
	class := byte('5')
	if v == Defer {
		class = '4'
	}
	switch {
	case v == Reject && code[0] == '4':
		c.wrong(c.value(), c.kind.name, `write { defer = "`+code+` …" }`, "%s asks the client to come back later, which is the step defer", code)
	case code[0] != class || code[1] > '5':
		c.wrong(c.value(), c.kind.name, fmt.Sprintf("write a code of %c00 to %c59, or the text alone", class, class), "%s is not a code with which to %s", code, v)
	case status != "" && status[0] != class:
		c.wrong(c.value(), c.kind.name, fmt.Sprintf("write %c%s", class, status[1:]), "the status %s is not of the class of the code %s", status, code)
	default:
		fmt.Sscan(code, &f.reply.Code)
		if status != "" {
			f.reply.Enhanced = status
		}
	}
}

// fill returns the reply. What a client has sent stands in it as US-ASCII.
func (f *replyForm) fill(s *Session) (mail.Reply, error) {
	text, err := f.text.render(s)
	if err != nil {
		return mail.Reply{}, err
	}
	text = strings.Map(func(r rune) rune {
		if r > '~' || r < ' ' && r != '\n' {
			return '?'
		}
		return r
	}, text)
	r := f.reply
	if text = clip(strings.TrimSpace(text), maxReply); text != "" {
		r.Text = text
	}
	return r, nil
}
