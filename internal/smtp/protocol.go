package smtp

// The "with" words of a Received field (RFC 3848 and RFC 6531 4.3).
const (
	ProtocolSMTP      = "SMTP"
	ProtocolESMTP     = "ESMTP"
	ProtocolESMTPS    = "ESMTPS"
	ProtocolUTF8SMTP  = "UTF8SMTP"
	ProtocolUTF8SMTPS = "UTF8SMTPS"
)

// UTF8Protocol returns the word for a transaction that used SMTPUTF8 in a
// session whose word is protocol (RFC 6531 4.3). A session without EHLO
// cannot have used it and keeps its word.
func UTF8Protocol(protocol string) string {
	switch protocol {
	case ProtocolESMTP:
		return ProtocolUTF8SMTP
	case ProtocolESMTPS:
		return ProtocolUTF8SMTPS
	}
	return protocol
}
