package mail

import (
	"net/netip"
	"time"
)

// Outcome is what one attempt made of one recipient.
type Outcome struct {
	// State is the recipient's state after the attempt: Deferred or a final one.
	State State `json:"state"`
	// Attempt counts from 1; At is when it ended.
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	// Host is the next server as the route names it; Address is where it was
	// reached. Both are empty when the attempt did not get that far.
	Host    string         `json:"host,omitempty"`
	Address netip.AddrPort `json:"address,omitzero"`
	// Command is what Reply answers: "connect", "greeting", "EHLO",
	// "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "end of data"; or "route".
	Command string `json:"command,omitempty"`
	// Reply is the peer's when Remote is set, else Postern's own words for
	// what happened (RFC 3463 codes, such as 451 4.4.1 no answer from host).
	Reply  Reply `json:"reply"`
	Remote bool  `json:"remote,omitempty"`
	// TLS is nil when the attempt was made in clear.
	TLS *TLS `json:"tls,omitempty"`
	// TLSPolicy is what was demanded of TLS; nil when it did not come to that.
	TLSPolicy *TLSPolicy `json:"tls_policy,omitempty"`
	// Cause is the private error text, for operators only.
	Cause string `json:"cause,omitempty"`
}
