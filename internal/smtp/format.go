package smtp

import (
	"strconv"
	"strings"

	"postern/internal/mail"
)

// FormatMail returns the MAIL command, without its line end, for a server
// that offers ext. It has only those parameters that the server knows and
// that e and size give: SIZE (RFC 1870; none for size 0), BODY (RFC 6152),
// SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461 4.3, 4.4), REQUIRETLS (RFC 8689 4.2.1).
//
// Whether the message may go without a parameter that was left out is for
// the caller to decide.
func FormatMail(e mail.Envelope, size int64, ext Extensions) string {
	b := append(make([]byte, 0, 128), "MAIL FROM:"...)
	b = append(b, e.From.Path()...)
	if ext.HasSize && size > 0 {
		b = append(b, " SIZE="...)
		b = strconv.AppendInt(b, size, 10)
	}
	if ext.EightBitMIME && e.Body != "" {
		b = append(b, " BODY="...)
		b = append(b, e.Body...)
	}
	if ext.SMTPUTF8 && (e.UTF8 || !e.From.IsASCII()) {
		b = append(b, " SMTPUTF8"...)
	}
	if ext.DSN && e.Return != "" {
		b = append(b, " RET="...)
		b = append(b, e.Return...)
	}
	if ext.DSN && e.EnvelopeID != "" {
		b = append(b, " ENVID="...)
		b = appendXtext(b, e.EnvelopeID)
	}
	if ext.RequireTLS && e.RequireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	return string(b)
}

// FormatRcpt returns the RCPT command, without its line end, for a server
// that offers ext: with NOTIFY and ORCPT (RFC 3461 4.1, 4.2) if the server
// knows DSN and r has them. An original recipient without an address type is
// left out.
func FormatRcpt(r mail.Recipient, ext Extensions) string {
	b := append(make([]byte, 0, 128), "RCPT TO:"...)
	b = append(b, r.Address.Path()...)
	if ext.DSN && r.Notify != 0 {
		b = append(b, " NOTIFY="...)
		b = append(b, r.Notify.String()...)
	}
	if kind, address, found := strings.Cut(r.Original, ";"); ext.DSN && found {
		b = append(b, " ORCPT="...)
		b = append(b, kind...)
		b = append(b, ';')
		if strings.EqualFold(kind, "utf-8") {
			b = append(b, mail.UTF8Xtext(address)...)
		} else {
			b = appendXtext(b, address)
		}
	}
	return string(b)
}

const hexDigits = "0123456789ABCDEF"

// appendXtext appends s in the encoding xtext (RFC 3461 4).
func appendXtext(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; isXchar(c) {
			b = append(b, c)
		} else {
			b = append(b, '+', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}
