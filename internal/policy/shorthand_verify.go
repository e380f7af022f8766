package policy

import (
	"fmt"
	"strconv"
	"strings"

	"postern/internal/config"
)

// verified are the handlers that verify_sender and verify_from of a listener stand
// for: one at mail, and one or two at data.
func (c *compiler) verified(l *config.Listener) []draft {
	drafts := c.ownSenders(l)
	if !byList(l.VerifySender) && !byList(l.VerifyFrom) {
		return drafts
	}
	known := func(address string) string { return c.knownSender(l, address) }
	if byList(l.VerifySender) {
		stranger := ofClients(l.VerifySender) + `smtp.mail.from != "" && !` + known("smtp.mail.from")
		refusal := rejecting(l, "verify_sender", "550 5.7.1 The sender ${smtp.mail.from} may not be used here")
		drafts = append(drafts, c.verifying(l, "verify_sender", stranger, refusal))
	}
	if byList(l.VerifyFrom) {
		stranger := ofClients(l.VerifyFrom) + `(message.author == "" || !` + known("message.author") + ")"
		refusal := rejecting(l, "verify_from", `554 5.7.1 ${message.author == "" ? "There must be one From field with one address, that is certain" : "The author " + message.author + " may not be used here"}`)
		drafts = append(drafts, c.verifying(l, "verify_from", stranger, refusal))
		if l.VerifyAction == config.VerifyRewrite {
			drafts = append(drafts, unreadable(l, stranger, refusal))
		}
	}
	return drafts
}

// byList reports whether sender_addresses has those who may send.
func byList(v config.Verify) bool { return v == config.VerifyUnlisted || v == config.VerifyAll }

// unreadable refuses the stranger's message of which it is not known which author a
// reader would see in the end, whatever is put in its place.
func unreadable(l *config.Listener, stranger string, refusal []config.Step) draft {
	d := settingDraft(l, "verify_from", senders, stranger+" && !message.readable_header", "")
	d.At, d.Priority, d.Steps = config.AtData, 1, refusal
	d.Name = fmt.Sprintf("verify_from of %s (cannot be read)", l.Name)
	return d
}

// ofClients is the begin of a condition, for the clients that are asked about.
func ofClients(v config.Verify) string {
	if v == config.VerifyUnlisted {
		return "!client.trusted && "
	}
	return ""
}

// rejecting is the step that refuses for a setting.
func rejecting(l *config.Listener, setting, reply string) []config.Step {
	step := madeStep("reject", l.PlaceOf("listener."+setting))
	step.Argument = &config.Argument{Text: madeText(reply, step.Name.Place)}
	return []config.Step{step}
}

// verifying is the handler of a setting: it refuses strangers, or gives their mail
// another sender.
func (c *compiler) verifying(l *config.Listener, setting, stranger string, refusal []config.Step) draft {
	d := settingDraft(l, setting, senders, stranger, "")
	d.At, d.Steps = config.AtMail, refusal
	name := "rewrite_sender"
	if setting == "verify_from" {
		d.At, name = config.AtData, "rewrite_from"
	}
	if l.VerifyAction == config.VerifyRewrite {
		step := madeStep(name, d.Place)
		step.Argument = &config.Argument{Text: madeText(l.VerifyRewrite.String(), d.Place)}
		d.Steps = []config.Step{step}
	}
	return d
}

// knownSender is the condition that an address, which an expression has, is one of
// sender_addresses.
func (c *compiler) knownSender(l *config.Listener, address string) string {
	const key = "listener.sender_addresses"
	var patterns, is []string
	for _, t := range l.SenderAddresses {
		if name, isList := strings.CutPrefix(t.Text, listPrefix); isList {
			if of := c.listing(key, t, name, address); of != "" {
				is = append(is, of)
			}
			continue
		}
		p, wrong := readPattern(t.Text)
		switch {
		case wrong != nil:
			c.mistake(key, t, *wrong)
		case p.isAny():
			c.mistake(key, t, mistakef(0, "name those that are known, or leave verify_sender and verify_from off", "every sender would be known"))
		default:
			patterns = append(patterns, strconv.Quote(t.Text))
		}
	}
	if len(l.SenderAddresses) == 0 {
		c.problems = append(c.problems, l.Problem(key, "is empty: nobody is known", `name the senders that are known, such as ["*@example.com"]`))
	}
	if len(patterns) > 0 {
		is = append(is, addressCall+"("+address+", ["+strings.Join(patterns, ", ")+"])")
	}
	if len(is) == 0 {
		return "false"
	}
	return "(" + strings.Join(is, " || ") + ")"
}
