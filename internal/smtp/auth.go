package smtp

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"postern/internal/mail"
)

// MaxAuthLine is the length of the longest AUTH command, and of the longest line of
// the exchange behind it, CRLF included, in octets (RFC 4954 3 and 4).
const MaxAuthLine = 12288

// CancelAuth is the line with which a client cancels an exchange (RFC 4954 4).
const CancelAuth = "*"

// Mechanisms are the SASL mechanisms that AUTH offers (RFC 4954 3), in upper case and
// in the order in which they stand there. None: AUTH is not offered.
type Mechanisms []string

// Has reports whether a mechanism is offered.
func (m Mechanisms) Has(name string) bool { return slices.Contains(m, name) }

// maxMechanisms is how many are read of what a server offers.
const maxMechanisms = 32

// add returns m with the mechanisms of one AUTH line more. What is no name of a
// mechanism, and what would be too many, is left out.
func (m Mechanisms) add(names []string) Mechanisms {
	for _, name := range names {
		if name = strings.ToUpper(name); isMechanism(name) && !m.Has(name) && len(m) < maxMechanisms {
			m = append(m, name)
		}
	}
	return m
}

// isMechanism reports whether a name is that of a mechanism (RFC 4422 3.1).
func isMechanism(name string) bool {
	other := func(r rune) bool {
		return !(r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	return name != "" && len(name) <= 20 && !strings.ContainsFunc(name, other)
}

// Auth is an AUTH command (RFC 4954 4).
type Auth struct {
	Mechanism string // in upper case
	// Initial is the initial response, decoded; nil when there is none, which is not
	// the same as an empty one.
	Initial []byte
}

// ParseAuth reads the arguments of AUTH. It fails with 501 5.5.4 (syntax) and 501
// 5.5.2 (the initial response is no base64). No error repeats what was said.
func ParseAuth(args string) (Auth, *mail.Error) {
	name, initial, given := strings.Cut(strings.Trim(args, " \t"), " ")
	a := Auth{Mechanism: strings.ToUpper(name)}
	if !isMechanism(a.Mechanism) {
		return Auth{}, mail.Refuse(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
	}
	switch {
	case !given:
		return a, nil
	case initial == "=": // empty
		a.Initial = []byte{}
		return a, nil
	}
	var err *mail.Error
	a.Initial, err = DecodeResponse([]byte(initial))
	return a, err
}

// DecodeResponse returns what a line of the client within an exchange stands for,
// never nil: an empty line is an empty response. It fails with 501 5.5.2 when the
// line is no base64 (RFC 4954 4).
func DecodeResponse(line []byte) ([]byte, *mail.Error) {
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Decode(decoded, line)
	if err != nil || bytes.ContainsAny(line, "\r\n") { // which the decoder would skip
		return nil, mail.Refuse(501, "5.5.2", "Cannot decode base64")
	}
	return decoded[:n], nil
}

// AppendChallenge appends the reply that asks the client for its next response
// (RFC 4954 4). It is one line however long it is.
func AppendChallenge(dst, challenge []byte) []byte {
	dst = append(dst, "334 "...)
	dst = base64.StdEncoding.AppendEncode(dst, challenge)
	return append(dst, '\r', '\n')
}

// LineLimit returns how long a command line may be that begins with these octets:
// MaxCommandLine, or MaxAuthLine for AUTH.
func LineLimit(begin []byte) int {
	if len(begin) > 4 && strings.EqualFold(string(begin[:4]), "AUTH") && (begin[4] == ' ' || begin[4] == '\t') {
		return MaxAuthLine
	}
	return MaxCommandLine
}
