package smtp

import (
	"math"
	"strconv"
	"strings"

	"postern/internal/mail"
)

// Mail is a MAIL command.
type Mail struct {
	Envelope mail.Envelope
	// Size is what the client says the message will be, in octets
	// (RFC 1870 6.1); 0 when it says nothing.
	Size int64
}

// Rcpt is a RCPT command.
type Rcpt struct {
	mail.Recipient
}

// maxEnvelopeID and maxOriginal are the lengths of the longest ENVID and
// ORCPT values as they stand on the line, in characters (RFC 3461 4.4, 4.2).
const (
	maxEnvelopeID = 100
	maxOriginal   = 500
)

// ParseMail reads the arguments of MAIL (RFC 5321 4.1.1.2). ext are the
// extensions in force: a parameter of any other is unknown.
//
// It fails with 501 5.5.4 (syntax), 501 5.1.7 (the sender's address),
// 553 5.6.7 (an address in UTF-8 without SMTPUTF8) or 555 5.5.4 (a parameter,
// or a value of BODY, that is not known here).
func ParseMail(args string, ext Extensions) (Mail, *mail.Error) {
	path, params, err := cutPath(args, "FROM:", "MAIL FROM:<address> [parameters]")
	if err != nil {
		return Mail{}, err
	}
	var m Mail
	if err := eachParam(params, func(p param) *mail.Error { return m.set(p, ext) }); err != nil {
		return Mail{}, err
	}
	m.Envelope.From, err = parsePath(path, m.Envelope.UTF8, "5.1.7")
	if err != nil {
		return Mail{}, err
	}
	if from := m.Envelope.From; from.Domain == "" && !from.IsNull() {
		return Mail{}, mail.Refuse(501, "5.1.7", "The sender's address needs a domain")
	}
	return m, nil
}

// ParseRcpt reads the arguments of RCPT (RFC 5321 4.1.1.3). ext are the
// extensions in force, with SMTPUTF8 only when MAIL asked for it.
//
// It fails as ParseMail does, with 501 5.1.3 for the recipient's address.
func ParseRcpt(args string, ext Extensions) (Rcpt, *mail.Error) {
	path, params, err := cutPath(args, "TO:", "RCPT TO:<address> [parameters]")
	if err != nil {
		return Rcpt{}, err
	}
	var r Rcpt
	if err := eachParam(params, func(p param) *mail.Error { return r.set(p, ext) }); err != nil {
		return Rcpt{}, err
	}
	r.Address, err = parsePath(path, ext.SMTPUTF8, "5.1.3")
	if err != nil {
		return Rcpt{}, err
	}
	if r.Address.IsNull() {
		return Rcpt{}, mail.Refuse(501, "5.1.3", "A recipient cannot be null")
	}
	return r, nil
}

// cutPath splits "FROM:<path> params" and returns the path without its
// brackets, if it has any.
func cutPath(args, keyword, syntax string) (path, params string, err *mail.Error) {
	args = strings.Trim(args, " \t")
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return "", "", mail.Refuse(501, "5.5.4", "Syntax: %s", syntax)
	}
	// QUIRK: RFC 5321 3.3 has no space after the colon, many clients do.
	rest := strings.TrimLeft(args[len(keyword):], " ")
	if !strings.HasPrefix(rest, "<") {
		return cutBarePath(rest, syntax)
	}
	end := closingBracket(rest)
	if end < 0 {
		return "", "", mail.Refuse(501, "5.5.4", "The address has no closing bracket")
	}
	path, params = rest[1:end], rest[end+1:]
	if params != "" && params[0] != ' ' {
		return "", "", mail.Refuse(501, "5.5.4", "No space after the address")
	}
	return path, params, nil
}

// cutBarePath splits "path params" where the path has no brackets.
//
// QUIRK: RFC 5321 4.1.2 demands the brackets, but scripts and devices leave
// them out, and servers have always understood them. A path that has no "@",
// or that a space would cut in two, could be anything and is refused.
func cutBarePath(s, syntax string) (path, params string, err *mail.Error) {
	path, params, _ = strings.Cut(s, " ")
	if !strings.Contains(path, "@") {
		return "", "", mail.Refuse(501, "5.5.4", "Syntax: %s", syntax)
	}
	return path, params, nil
}

// closingBracket returns the place of the ">" that ends the path s begins
// with, or -1. One within a quoted local part does not end it.
func closingBracket(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

// parsePath reads what stands between the brackets. status is the enhanced
// code of a malformed address.
func parsePath(path string, utf8 bool, status string) (mail.Address, *mail.Error) {
	if path == "" {
		return mail.Address{}, nil
	}
	mailbox, ok := cutRoute(path)
	if !ok {
		return mail.Address{}, mail.Refuse(501, status, "Malformed source route in the address")
	}
	address, err := mail.ParseAddress(mailbox)
	if err != nil {
		return mail.Address{}, mail.Refuse(501, status, "Bad address: %s", err)
	}
	// RFC 6531 3.5 names both 550 and 553 with X.6.7.
	if !utf8 && !address.IsASCII() {
		return mail.Address{}, mail.Refuse(553, "5.6.7", "An address in UTF-8 needs SMTPUTF8")
	}
	return address, nil
}

// cutRoute drops a source route, "@a,@b:" (RFC 5321 4.1.1.3 and appendix C).
// ok is false when one begins but is malformed.
func cutRoute(path string) (mailbox string, ok bool) {
	for strings.HasPrefix(path, "@") {
		end := routeDomainEnd(path)
		if end < 0 || mail.CheckDomain(path[1:end]) != nil {
			return "", false
		}
		mark := path[end]
		if path = path[end+1:]; mark == ':' {
			return path, true
		}
		if !strings.HasPrefix(path, "@") {
			return "", false
		}
	}
	return path, true
}

// routeDomainEnd returns the place of the comma or colon after the domain
// that s begins with, or -1. The colons of an address literal are its own.
func routeDomainEnd(s string) int {
	from := 0
	if strings.HasPrefix(s, "@[") {
		if from = strings.IndexByte(s, ']'); from < 0 {
			return -1
		}
	}
	end := strings.IndexAny(s[from:], ",:")
	if end < 0 {
		return -1
	}
	return from + end
}

// param is one esmtp-param (RFC 5321 4.1.2).
type param struct {
	keyword  string // in upper case
	value    string
	hasValue bool
}

// maxParams bounds the parameters of one command; those known are fewer.
const maxParams = 16

// eachParam calls set for each parameter. It refuses those that are
// malformed or given twice, before set sees them.
func eachParam(params string, set func(param) *mail.Error) *mail.Error {
	var seen [maxParams]string
	count := 0
	// Only SP separates (RFC 5321 4.1.2): other spaces of Unicode are part of a value.
	for word := range strings.FieldsFuncSeq(params, func(r rune) bool { return r == ' ' }) {
		p, ok := parseParam(word)
		if !ok || count == maxParams {
			return mail.Refuse(501, "5.5.4", "Malformed parameter %s", word)
		}
		for _, keyword := range seen[:count] {
			if keyword == p.keyword {
				return mail.Refuse(501, "5.5.4", "Parameter %s given twice", p.keyword)
			}
		}
		seen[count] = p.keyword
		count++
		if err := set(p); err != nil {
			return err
		}
	}
	return nil
}

func parseParam(word string) (param, bool) {
	keyword, value, hasValue := strings.Cut(word, "=")
	if keyword == "" || keyword[0] == '-' || hasValue && (value == "" || strings.Contains(value, "=")) {
		return param{}, false
	}
	for i := range len(keyword) {
		if b := keyword[i]; !isLetter(b) && !isDigit(b) && b != '-' {
			return param{}, false
		}
	}
	return param{strings.ToUpper(keyword), value, hasValue}, true
}

func (m *Mail) set(p param, ext Extensions) *mail.Error {
	e := &m.Envelope
	switch {
	case p.keyword == "SIZE" && ext.HasSize:
		return m.setSize(p)
	case p.keyword == "BODY" && ext.EightBitMIME:
		e.Body = mail.BodyType(strings.ToUpper(p.value))
		if e.Body != mail.Body7Bit && e.Body != mail.Body8BitMIME {
			return unknownValue(p)
		}
	case p.keyword == "SMTPUTF8" && ext.SMTPUTF8:
		if p.hasValue {
			return malformedValue(p)
		}
		e.UTF8 = true
	case p.keyword == "RET" && ext.DSN:
		e.Return = mail.Return(strings.ToUpper(p.value))
		if e.Return != mail.ReturnFull && e.Return != mail.ReturnHeaders {
			return malformedValue(p)
		}
	case p.keyword == "ENVID" && ext.DSN:
		id, err := decodeXtext(p.value)
		if err != nil || id == "" || len(p.value) > maxEnvelopeID {
			return malformedValue(p)
		}
		e.EnvelopeID = id
	case p.keyword == "REQUIRETLS" && ext.RequireTLS:
		if p.hasValue { // RFC 8689 2 (5)
			return malformedValue(p)
		}
		e.RequireTLS = true
	case p.keyword == "AUTH" && len(ext.Auth) > 0:
		return checkSubmitter(p)
	default:
		return unknownParam(p)
	}
	return nil
}

// maxSubmitter is the length of the longest AUTH value (RFC 4954 3).
const maxSubmitter = 500

// checkSubmitter checks the parameter AUTH, which says who has submitted the message
// to a host before this one. Nobody is trusted to say that, so that it counts as
// AUTH=<>, which nothing is made of (RFC 4954 5).
func checkSubmitter(p param) *mail.Error {
	submitter, err := decodeXtext(p.value)
	if err != nil || submitter == "" || len(p.value) > maxSubmitter {
		return malformedValue(p)
	}
	return nil
}

// maxSizeDigits is the length of the longest SIZE value (RFC 1870 6.1).
const maxSizeDigits = 20

func (m *Mail) setSize(p param) *mail.Error {
	if p.value == "" || len(p.value) > maxSizeDigits || strings.Trim(p.value, "0123456789") != "" {
		return malformedValue(p)
	}
	size, err := strconv.ParseInt(p.value, 10, 64)
	if err != nil { // digits, but more than fit: larger than any limit
		size = math.MaxInt64
	}
	m.Size = size
	return nil
}

func (r *Rcpt) set(p param, ext Extensions) *mail.Error {
	switch {
	case p.keyword == "NOTIFY" && ext.DSN:
		notify, ok := mail.ParseNotify(p.value)
		if !ok {
			return malformedValue(p)
		}
		r.Notify = notify
	case p.keyword == "ORCPT" && ext.DSN:
		original, err := decodeOriginal(p.value)
		if err != nil || len(p.value) > maxOriginal {
			return malformedValue(p)
		}
		r.Original = original
	default:
		return unknownParam(p)
	}
	return nil
}

func malformedValue(p param) *mail.Error {
	return mail.Refuse(501, "5.5.4", "Malformed value of parameter %s", p.keyword)
}

// unknownValue refuses a value that an extension not offered here may have, as
// BODY=BINARYMIME is.
func unknownValue(p param) *mail.Error {
	return mail.Refuse(555, "5.5.4", "Unknown value of parameter %s", p.keyword)
}

func unknownParam(p param) *mail.Error {
	return mail.Refuse(555, "5.5.4", "Unknown parameter %s", p.keyword)
}
