package policytest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/mail"
	"postern/internal/message"
)

// expectation is what is to become of a recipient, or of all.
type expectation struct {
	about string // empty: all recipients
	text  string // as it was written, without the recipient
	place mail.Place
	form  *form
	value string
}

// form is one of the ways to say what is expected.
type form struct {
	word  string // with which it begins
	value string // what follows, for people; empty for nothing
	// met reports whether it is so; to is in the report.
	met func(r *explain.Report, to *explain.Recipient, value string) bool
	// happened says what is instead; nil: what became of the recipient.
	happened func(to *explain.Recipient, value string) string
	// check reads the value; nil: anything will do.
	check func(value string) error
}

// forms are all of them; a longer word stands before one that it begins with.
var forms = []form{
	{word: "accept", met: func(_ *explain.Report, to *explain.Recipient, _ string) bool { return to.Outcome != explain.Refused }},
	{word: "reject", value: "a reply", met: refused('5'), check: checkReply('5')},
	{word: "defer", value: "a reply", met: refused('4'), check: checkReply('4')},
	{word: "queued", met: outcome(explain.Queued)},
	{word: "held", met: outcome(explain.Held)},
	{word: "quarantined", met: func(_ *explain.Report, to *explain.Recipient, _ string) bool {
		return to.Outcome == explain.Held && to.Hold == mail.HoldQuarantine
	}},
	{word: "discarded", met: outcome(explain.Discarded)},
	{word: "redirected to", value: "an address", check: checkAddress, met: func(_ *explain.Report, to *explain.Recipient, v string) bool {
		return to.To == v && to.To != to.Address
	}, happened: func(to *explain.Recipient, _ string) string { return "for " + or(to.To, "nobody") }},
	{word: "expanded to", value: "an address", check: checkAddress, met: func(_ *explain.Report, to *explain.Recipient, v string) bool { return slices.Contains(to.Members, v) },
		happened: func(to *explain.Recipient, _ string) string { return "for " + list(to.Members) }},
	{word: "route", value: "a server", met: func(_ *explain.Report, to *explain.Recipient, v string) bool {
		return string(to.Destination.Route()) == v
	},
		happened: func(to *explain.Recipient, _ string) string {
			return "by " + or(string(to.Destination.Route()), "no route of its own")
		}},
	{word: "tls", value: "required or verify", met: func(_ *explain.Report, to *explain.Recipient, v string) bool { return string(to.TLS) == v },
		happened: func(to *explain.Recipient, _ string) string { return or(string(to.TLS), "no demand") }, check: checkTLS},
	{word: "sender", value: "an address", met: func(r *explain.Report, to *explain.Recipient, v string) bool {
		return to.Outcome != explain.Refused && or(to.Sender, r.Mail.From) == path(v)
	},
		happened: func(to *explain.Recipient, _ string) string { return or(to.Sender, "the sender of the client") }},
	{word: "tag", value: "a word", met: func(_ *explain.Report, to *explain.Recipient, v string) bool { return slices.Contains(to.Tags, v) },
		happened: func(to *explain.Recipient, _ string) string { return "tagged " + list(to.Tags) }},
	{word: "copy to", value: "an address", check: checkAddress, met: func(_ *explain.Report, to *explain.Recipient, v string) bool { return slices.Contains(to.Copies, v) },
		happened: func(to *explain.Recipient, _ string) string { return "copied to " + list(to.Copies) }},
	{word: "no header", value: "a name", met: func(_ *explain.Report, to *explain.Recipient, v string) bool {
		return to.Outcome != explain.Refused && len(fields(to, v)) == 0
	}, happened: headers},
	{word: "header", value: "Name = text", check: checkHeader, met: func(_ *explain.Report, to *explain.Recipient, v string) bool {
		name, text := cutHeader(v)
		return slices.Contains(fields(to, name), text)
	}, happened: headers},
	{word: "by", value: "a handler", met: func(_ *explain.Report, to *explain.Recipient, v string) bool { return by(to, v) },
		happened: func(to *explain.Recipient, _ string) string { return "by " + deciders(to) }},
}

// aboutForm is an expectation that names its recipient.
var aboutForm = regexp.MustCompile(`^(\S+@\S+|<\S+>|postmaster): +(.*)$`)

// parseExpectation reads an expectation. An error comes with a hint.
func parseExpectation(text string) (e expectation, hint string, err error) {
	rest := strings.TrimSpace(text)
	if m := aboutForm.FindStringSubmatch(rest); m != nil {
		a, err := explain.ParseTo(m[1])
		if err != nil {
			return e, "", err
		}
		e.about, rest = a.String(), m[2]
	}
	e.text = rest
	if regexp.MustCompile(`^[45][0-9][0-9]\b`).MatchString(rest) { // the reply alone
		rest = map[byte]string{'4': "defer ", '5': "reject "}[rest[0]] + rest
	}
	for i := range forms {
		f := &forms[i]
		value, is := strings.CutPrefix(rest, f.word)
		if !is || value != "" && value[0] != ' ' {
			continue
		}
		e.form, e.value = f, strings.TrimSpace(value)
		return e, "write: " + f.word + " " + f.value, f.read(e.value)
	}
	var words []string
	for _, f := range forms {
		words = append(words, f.word)
	}
	first, _, _ := strings.Cut(rest, " ")
	hint = config.DidYouMean(first, words)
	if hint == "" {
		hint = "write a reply such as 550 5.7.1, or one of: " + strings.Join(words, ", ")
	}
	return e, hint, fmt.Errorf("%q is nothing that can be expected", e.text)
}

// read checks a value.
func (f *form) read(value string) error {
	switch {
	case f.value == "" && value != "":
		return fmt.Errorf("%q stands behind %s", value, f.word)
	case f.value != "" && f.value != "a reply" && value == "":
		return fmt.Errorf("%s needs %s", f.word, f.value)
	case f.check != nil:
		return f.check(value)
	}
	return nil
}

func (e *expectation) met(r *explain.Report, to *explain.Recipient) bool {
	return e.form.met(r, to, e.value)
}

func (e *expectation) happened(to *explain.Recipient) string {
	if e.form.happened == nil || to.Outcome == explain.Refused {
		return to.Summary()
	}
	return e.form.happened(to, e.value)
}

func outcome(o explain.Outcome) func(*explain.Report, *explain.Recipient, string) bool {
	return func(_ *explain.Report, to *explain.Recipient, _ string) bool { return to.Outcome == o }
}

// refused is met by a reply of a class that begins as the value does.
func refused(class byte) func(*explain.Report, *explain.Recipient, string) bool {
	return func(_ *explain.Report, to *explain.Recipient, value string) bool {
		if to.Outcome != explain.Refused {
			return false
		}
		reply := to.Refusal.Reply.String()
		return reply[0] == class && strings.HasPrefix(reply, value)
	}
}

var replyForm = regexp.MustCompile(`^[45][0-9]{2}( [45]\.[0-9]{1,3}\.[0-9]{1,3}( .*)?| [^0-9].*)?$`)

func checkReply(class byte) func(string) error {
	return func(value string) error {
		switch {
		case value == "":
			return nil
		case !replyForm.MatchString(value):
			return fmt.Errorf("%q is no reply: a code, then perhaps a status of RFC 3463 and a text", value)
		case value[0] != class:
			return fmt.Errorf("a reply with %c00 is expected, %q is none", class, value)
		}
		return nil
	}
}

func checkAddress(value string) error {
	_, err := explain.ParseTo(value)
	return err
}

func checkTLS(value string) error {
	if d := mail.TLSDemand(value); value == "" || !d.Valid() {
		return errors.New("it is required or verify")
	}
	return nil
}

func checkHeader(value string) error {
	if name, _ := cutHeader(value); name == "" || !strings.Contains(value, "=") {
		return errors.New("it is Name = text")
	}
	return nil
}

func cutHeader(value string) (name, text string) {
	name, text, _ = strings.Cut(value, "=")
	return strings.TrimSpace(name), strings.TrimSpace(text)
}

// fields are the values of the fields of a name, decoded, in what a recipient gets.
func fields(to *explain.Recipient, name string) []string {
	h, err := to.Header()
	if err != nil {
		return nil
	}
	var values []string
	for v := range h.Values(name) {
		text, _ := message.DecodeText(strings.TrimSpace(v))
		values = append(values, text)
	}
	return values
}

func headers(to *explain.Recipient, value string) string {
	name, _ := cutHeader(value)
	values := fields(to, name)
	if len(values) == 0 {
		return "without " + name
	}
	return name + " = " + strings.Join(values, "; ")
}

// by reports whether a handler had a part in what became of a recipient.
func by(to *explain.Recipient, rule string) bool {
	if to.Outcome == explain.Refused {
		return to.Refusal.By != nil && to.Refusal.By.Rule == rule
	}
	return slices.ContainsFunc(to.By, func(h explain.Handler) bool { return h.Rule == rule })
}

func deciders(to *explain.Recipient) string {
	var names []string
	for _, h := range to.By {
		names = append(names, h.Rule)
	}
	return list(names)
}

func list(items []string) string { return or(strings.Join(items, ", "), "nothing") }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// path writes an address as replies and facts have it.
func path(s string) string {
	if strings.HasPrefix(s, "<") {
		return s
	}
	return "<" + s + ">"
}
