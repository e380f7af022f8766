package mail

import "strings"

// Envelope is what the client said of the message as a whole: its sender and
// the parameters of MAIL.
type Envelope struct {
	// From is the reverse-path; null for reports.
	From Address `json:"from"`
	// Body is the BODY parameter (RFC 6152); empty when it was not given.
	Body BodyType `json:"body,omitempty"`
	// UTF8 says that SMTPUTF8 was given (RFC 6531).
	UTF8 bool `json:"utf8,omitempty"`
	// Return is the RET parameter (RFC 3461 4.3); empty when not given.
	Return Return `json:"return,omitempty"`
	// EnvelopeID is the decoded ENVID parameter (RFC 3461 4.4).
	EnvelopeID string `json:"envelope_id,omitempty"`
	// RequireTLS says that REQUIRETLS was given (RFC 8689 2): the message goes on only
	// over TLS to a server that was verified, and that promises the same.
	RequireTLS bool `json:"require_tls,omitempty"`
}

// BodyType is the BODY parameter of MAIL (RFC 6152 3).
type BodyType string

// The body types that are offered. BINARYMIME contradicts the CR/LF law.
const (
	Body7Bit     BodyType = "7BIT"
	Body8BitMIME BodyType = "8BITMIME"
)

// Return is the RET parameter of MAIL: how much of the message a failure
// report brings back (RFC 3461 4.3).
type Return string

// The values of RET.
const (
	ReturnFull    Return = "FULL"
	ReturnHeaders Return = "HDRS"
)

// Recipient is one RCPT command: an address and its parameters.
type Recipient struct {
	Address Address `json:"address"`
	// Notify is the NOTIFY parameter (RFC 3461 4.1); 0 when not given.
	Notify Notify `json:"notify,omitempty"`
	// Original is the decoded ORCPT parameter (RFC 3461 4.2), with its
	// address type: "rfc822;joe@example.com". Empty when not given.
	Original string `json:"original,omitempty"`
}

// Readdressed returns the recipient at another address. Reports name the one
// that the sender gave: it becomes the original recipient, unless there is one
// (RFC 3461 4.2, 5.2.1).
func (r Recipient) Readdressed(to Address) Recipient {
	if to != r.Address && r.Original == "" {
		r.Original = r.Address.Type() + ";" + r.Address.String()
	}
	r.Address = to
	return r
}

// Notify is the set of NOTIFY keywords (RFC 3461 4.1).
type Notify uint8

// The NOTIFY keywords. NotifyNever excludes the others.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

var notifyNames = []struct {
	bit  Notify
	name string
}{{NotifyNever, "NEVER"}, {NotifySuccess, "SUCCESS"}, {NotifyFailure, "FAILURE"}, {NotifyDelay, "DELAY"}}

// String returns the keywords as they stand after "NOTIFY=", or "".
func (n Notify) String() string {
	var names []string
	for _, k := range notifyNames {
		if n&k.bit != 0 {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, ",")
}

// Wants reports whether the sender wants to hear that a recipient came to
// state s. Without NOTIFY it hears of failure and of delay, not of success
// (RFC 3461 4.1).
func (n Notify) Wants(s State) bool {
	switch s {
	case Bounced, Expired:
		return n == 0 || n&NotifyFailure != 0
	case Deferred:
		return n == 0 || n&NotifyDelay != 0
	case Delivered, Relayed, Expanded:
		return n&NotifySuccess != 0
	}
	return false
}

// ParseNotify reads the value of a NOTIFY parameter. ok is false when a
// keyword is unknown, or NEVER stands beside another.
func ParseNotify(s string) (n Notify, ok bool) {
	for word := range strings.SplitSeq(s, ",") {
		bit := notifyBit(word)
		if bit == 0 {
			return 0, false
		}
		n |= bit
	}
	return n, n&NotifyNever == 0 || n == NotifyNever
}

func notifyBit(word string) Notify {
	for _, k := range notifyNames {
		if strings.EqualFold(word, k.name) {
			return k.bit
		}
	}
	return 0
}
