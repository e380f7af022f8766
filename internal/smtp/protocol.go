package smtp

import "strings"

// The "with" words of a Received field (RFC 3848 and RFC 6531 4.3).
const (
	ProtocolSMTP  = "SMTP"
	ProtocolESMTP = "ESMTP"
)

// ESMTPProtocol returns the word for a session that began with EHLO, under TLS or
// not, and of a client that has authenticated or not.
func ESMTPProtocol(tls, authenticated bool) string {
	word := ProtocolESMTP
	if tls {
		word += "S"
	}
	if authenticated {
		word += "A"
	}
	return word
}

// UTF8Protocol returns the word for a transaction that used SMTPUTF8 in a
// session whose word is protocol (RFC 6531 4.3). A session without EHLO
// cannot have used it and keeps its word.
func UTF8Protocol(protocol string) string {
	if how, is := strings.CutPrefix(protocol, ProtocolESMTP); is {
		return "UTF8SMTP" + how
	}
	return protocol
}
