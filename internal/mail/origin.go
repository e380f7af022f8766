package mail

import "net/netip"

// Origin is who brought a message, from where and how.
type Origin struct {
	// Listener is the configured name of the listener, or "postern" for
	// what Postern itself writes.
	Listener string `json:"listener"`
	// Session is the id of the SMTP session.
	Session ID `json:"session,omitempty"`
	// Client and Local are the two ends of the connection.
	Client netip.AddrPort `json:"client,omitzero"`
	Local  netip.AddrPort `json:"local,omitzero"`
	// Hello is the argument of EHLO or HELO, unverified.
	Hello string `json:"hello,omitempty"`
	// Protocol is the "with" word of the Received field (RFC 3848):
	// SMTP, ESMTP, ESMTPS, UTF8SMTP, UTF8SMTPS.
	Protocol string `json:"protocol,omitempty"`
	// TLS is nil when the connection is in clear.
	TLS *TLS `json:"tls,omitempty"`
}

// TLS is what was negotiated on a connection.
type TLS struct {
	Version string `json:"version"` // "TLS 1.3"
	Cipher  string `json:"cipher"`  // IANA name
	// ServerName is the name asked for by SNI; empty when there was none.
	ServerName string `json:"server_name,omitempty"`
	// Verified says that the peer's certificate was checked and is good.
	Verified bool `json:"verified,omitempty"`
}
