package mail

import (
	"net/netip"
	"strconv"
	"time"
)

// Origin is who brought a message, from where and how.
type Origin struct {
	// Listener is the configured name of the listener, or "postern" for
	// what Postern itself writes.
	Listener string `json:"listener"`
	// Session is the id of the SMTP session.
	Session ID `json:"session,omitempty"`
	// Client and Local are the two ends of the connection. Behind a proxy that is
	// trusted they are those that it told, and Proxy is its own address.
	Client netip.AddrPort `json:"client,omitzero"`
	Local  netip.AddrPort `json:"local,omitzero"`
	Proxy  netip.AddrPort `json:"proxy,omitzero"`
	// ClientName is the name that DNS has for the address of the client, if it also
	// leads back there and was known in time.
	ClientName string `json:"client_name,omitempty"`
	// Account is who the client has proved to be; nil for nobody.
	Account *Account `json:"account,omitempty"`
	// User is the user of this host who brought it, by a Unix socket or as a
	// file; nil for one who came by the network.
	User *User `json:"user,omitempty"`
	// Hello is the argument of EHLO or HELO, unverified.
	Hello string `json:"hello,omitempty"`
	// Protocol is the "with" word of the Received field (RFC 3848):
	// SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, and those with UTF8SMTP.
	Protocol string `json:"protocol,omitempty"`
	// TLS is nil when the connection is in clear.
	TLS *TLS `json:"tls,omitempty"`
}

// User is a user of this host, as the system knows him.
type User struct {
	UID  uint32 `json:"uid"`
	Name string `json:"name,omitempty"` // empty when the user has none
}

// String returns the name, and "uid 1000" when there is none.
func (u *User) String() string {
	if u.Name == "" {
		return "uid " + strconv.FormatUint(uint64(u.UID), 10)
	}
	return u.Name
}

// TLS is what was negotiated on a connection.
type TLS struct {
	Version string `json:"version"` // "TLS 1.3"
	Cipher  string `json:"cipher"`  // IANA name
	// ServerName is the name asked for by SNI; empty when there was none.
	ServerName string `json:"server_name,omitempty"`
	// Verified says that the peer's certificate was checked and is good.
	Verified bool `json:"verified,omitempty"`
	// Certificate is the one that the client has shown; nil for none.
	Certificate *Certificate `json:"certificate,omitempty"`
}

// Certificate is what identifies the certificate of a client.
type Certificate struct {
	// Fingerprint is the SHA-256 of its DER form, in hexadecimal.
	Fingerprint string `json:"fingerprint"`
	// Subject is its subject as text, of at most 256 octets.
	Subject string `json:"subject,omitempty"`
	// Names are its DNS names and mail addresses, at most 20.
	Names []string `json:"names,omitempty"`
	// Expires is when it is no longer valid.
	Expires time.Time `json:"expires,omitzero"`
}
