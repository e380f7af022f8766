package policy

import (
	"cmp"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail"
)

// pattern is what addresses must be like. One with an "@" is compared part by part,
// local part and domain, so that a quoted local part cannot pass for a domain; one
// without is compared with the address as a whole.
type pattern struct {
	text    string // as it was written
	hasAt   bool
	local   mail.Pattern // the whole pattern when there is no "@"
	domain  mail.Pattern
	literal int    // characters that are not stars
	whole   string // in the form in which patterns are compared
}

// anyAddress is the pattern of what has no other.
const anyAddress = "*"

// nullSender is the null sender in patterns.
const nullSender = "<>"

// readPattern reads a pattern, or says what is wrong with it.
func readPattern(text string) (pattern, *mistake) {
	fail := func(hint, message string) (pattern, *mistake) {
		return pattern{}, &mistake{message: message, hint: hint}
	}
	switch {
	case text == "":
		return fail(`write "*" for all, "<>" for the null sender`, "is empty")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r == ' ' || unicode.IsControl(r) }) && !strings.Contains(text, `"`):
		return fail(`write it as "*@example.com"`, "has a space or a control character")
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		p := pattern{text: text, local: mail.NewPattern(text)}
		if p.exact() && text != nullSender && !strings.EqualFold(text, "postmaster") {
			return fail(`write "*@`+text+`" for all at a domain`, "matches no address: it has neither @ nor *")
		}
		p.whole = p.local.String()
		p.literal = utf8.RuneCountInString(p.whole) - p.local.Stars()
		return p, nil
	}
	local, domain := text[:at], text[at+1:]
	if local == "" || domain == "" {
		return fail(`write "*" for any local part or domain`, "has nothing on one side of the @")
	}
	domain, wrong := asciiPattern(domain)
	if wrong != nil {
		return pattern{}, wrong
	}
	p := pattern{text: text, hasAt: true, local: mail.NewPattern(canonicalLocal(local)), domain: mail.NewPattern(domain)}
	if p.exact() {
		if _, err := mail.ParseAddress(text); err != nil {
			return fail("", "matches no address: "+err.Error())
		}
	}
	p.whole = p.local.String() + "@" + p.domain.String()
	p.literal = utf8.RuneCountInString(p.whole) - p.stars()
	return p, nil
}

// asciiPattern returns the pattern of a domain with its labels as DNS has them.
func asciiPattern(domain string) (string, *mistake) {
	if strings.HasPrefix(domain, "[") {
		return domain, nil
	}
	labels := strings.Split(domain, ".")
	for i, label := range labels {
		if strings.Contains(label, "*") {
			continue
		}
		ascii, err := mail.ASCIIDomain(label)
		if err != nil {
			return "", &mistake{message: "matches no address: " + err.Error()}
		}
		labels[i] = ascii
	}
	return strings.Join(labels, "."), nil
}

// canonicalLocal takes needless quotes from a local part without stars.
func canonicalLocal(local string) string {
	if a, err := mail.ParseAddress(local + "@x"); err == nil {
		return strings.TrimSuffix(a.String(), "@x")
	}
	return local
}

func (p *pattern) exact() bool { return p.local.Exact() && (!p.hasAt || p.domain.Exact()) }

func (p *pattern) stars() int {
	if !p.hasAt {
		return p.local.Stars()
	}
	return p.local.Stars() + p.domain.Stars()
}

// isAny reports whether every address matches.
func (p *pattern) isAny() bool { return !p.hasAt && p.local.String() == anyAddress }

// compare says which of two patterns is more specific: negative when p is. An exact
// one is, then the one with more characters, then the one with fewer stars.
func (p *pattern) compare(q *pattern) int {
	if p.exact() != q.exact() {
		if p.exact() {
			return -1
		}
		return 1
	}
	if p.exact() {
		return 0
	}
	return cmp.Or(cmp.Compare(q.literal, p.literal), cmp.Compare(p.stars(), q.stars()))
}

// meets reports whether one address may match both.
func (p *pattern) meets(q *pattern) bool {
	switch {
	case p.exact() && q.exact():
		return p.whole == q.whole
	case p.hasAt && q.hasAt:
		return p.local.Meets(q.local) && p.domain.Meets(q.domain)
	}
	return mail.NewPattern(p.whole).Meets(mail.NewPattern(q.whole))
}

// subject is an address in the form in which it is compared with patterns.
type subject struct {
	whole string
	at    int // of the "@" in whole; negative when there is none
}

func subjectOf(a mail.Address) subject {
	if a.IsNull() {
		return subject{whole: nullSender, at: -1}
	}
	if a.Domain == "" {
		return subject{whole: strings.ToLower(a.Local), at: -1}
	}
	local := strings.TrimSuffix(a.String(), "@"+a.Domain)
	domain := a.Domain
	if !strings.HasPrefix(domain, "[") {
		domain = asciiDomain(domain)
	}
	local = strings.ToLower(local)
	return subject{whole: local + "@" + strings.ToLower(domain), at: len(local)}
}

func (p *pattern) match(s *subject) bool {
	switch {
	case p.isAny():
		return true
	case !p.hasAt:
		return p.local.Match(s.whole)
	case s.at < 0:
		return false
	}
	return p.local.Match(s.whole[:s.at]) && p.domain.Match(s.whole[s.at+1:])
}
