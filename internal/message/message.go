// Package message reads and writes messages as bytes: the header of RFC 5322
// field by field, what is added to a message when it is accepted, the edits that
// policy makes, and its form for a server without 8BITMIME. Inspect says what
// readers of mail may find in a message (RFC 2045 to 2049), for filters.
//
// A header is bytes first. What was read is written again octet for octet;
// only fields that somebody names are added, deleted or replaced. Decoded values
// are for comparison, and never written. The package knows no network and no
// disk.
//
// Content is expected to obey the CR/LF law: lines end in CRLF, and neither
// CR nor LF stands alone. Content that breaks it is passed on as it is, with
// a line taken to end at its LF.
//
// A header that is larger than the limits, or has been through too many
// servers, fails with a *mail.Error whose reply is meant for the client. All
// other errors are those of the reader or writer, unchanged.
package message

import "postern/internal/mail"

// Limits bound a header. A zero field means its default.
type Limits struct {
	Octets      int // of the whole header; default 1 MiB
	Fields      int // default 5,000
	FieldOctets int // of one field with its folded lines; default 256 KiB
}

// The defaults leave room for a To field of 1,000 recipients at the longest
// address RFC 5321 4.5.3.1.3 allows, and hold off a header made to hurt.
const (
	DefaultHeaderOctets = 1 << 20
	DefaultHeaderFields = 5000
	DefaultFieldOctets  = 256 << 10
)

func (l Limits) withDefaults() Limits {
	if l.Octets == 0 {
		l.Octets = DefaultHeaderOctets
	}
	if l.Fields == 0 {
		l.Fields = DefaultHeaderFields
	}
	if l.FieldOctets == 0 {
		l.FieldOctets = DefaultFieldOctets
	}
	return l
}

func (l Limits) errOctets() error {
	return mail.Refuse(552, "5.3.4", "Message header too large, the limit is %d octets", l.Octets)
}

func (l Limits) errFields() error {
	return mail.Refuse(550, "5.6.0", "Too many header fields, the limit is %d", l.Fields)
}

func (l Limits) errFieldOctets() error {
	return mail.Refuse(552, "5.3.4", "Header field too long, the limit is %d octets", l.FieldOctets)
}
