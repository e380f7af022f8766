package pool

import (
	"net/netip"
	"time"

	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// Settings are those of one pool. All are required but Lane and Targets.
type Settings struct {
	// Name is that of the transport.
	Name    string
	Targets []Target
	// Refresh is how often names are looked up.
	Refresh time.Duration
	// ConnectRetry is how long a server that is not usable is left alone before it is
	// probed.
	ConnectRetry time.Duration
	// Drain is how long a transaction may go on at a server that was taken away, changed
	// or reconnected.
	Drain time.Duration
	// Lane is what the lanes to all servers have in common.
	Lane route.Lane
}

// Source is where the addresses of a target are from.
type Source string

// The sources.
const (
	Address Source = "address" // it is one
	Name    Source = "name"    // the A and AAAA records of a name
	MX      Source = "mx"      // the servers that the MX records of a name have
)

// Target is a target as it is configured: one server, or as many as its name has
// addresses.
type Target struct {
	Source Source
	Host   string // the address, without brackets, or the name
	Port   uint16
	// Preference says which servers come first: the lowest. Of the same preference those
	// with a weight come first and share the mail by that; the others come in the order of
	// the targets, and those of one target by turns.
	Preference, Weight int
	// MaxConnections is how many connections there may be to each of its servers, at
	// least one; MaxMessages how many messages over one, 0: any number.
	MaxConnections, MaxMessages int
	// AssumedSize is the largest message for a server that does not say how large they
	// may be, because it knows no EHLO; in octets.
	AssumedSize int64
	// Secure says that nothing goes to it in clear.
	Secure bool
	// Charset is the only one that it knows for texts; "" for any.
	Charset string
	// place is that among the targets of the pool.
	place int
}

// sameServers reports whether two are resolved to the same servers.
func (t Target) sameServers(other Target) bool {
	return t.Source == other.Source && t.Host == other.Host && t.Port == other.Port
}

// lane is that to one of its servers.
func (t *Target) lane(base route.Lane, pool, host string) route.Lane {
	base.Transport, base.Host, base.Port, base.Charset = pool, host, t.Port, t.Charset
	if t.Secure {
		base.TLS = base.TLS.AtLeast(tlspolicy.Required, "secure of the target "+t.Host)
	}
	return base
}

// found is a server that a target was resolved to.
type found struct {
	target *Target
	host   string // its name, or its address where there is no name
	at     netip.AddrPort
	// mx is the preference of its MX record.
	mx uint16
}
