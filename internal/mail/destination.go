package mail

import (
	"fmt"
	"strings"
)

// Destination names where a recipient is to go: the recipient domain in
// lower case, or an address literal; and behind a slash, which neither can
// have in it, the key of the route when policy chose one:
// "example.com/relay2.example.com:587". Deliveries are scheduled by it, so that
// mail for one domain by two routes is in two destinations.
type Destination string

// RouteKey names the route of a recipient where it is not that of its domain: the
// name of a transport, or a server as ParseHostPort reads it. A "~" before it says
// that the routes of the configuration chose it, which are asked again at every
// attempt: "~partners". Without that, policy or a person did, and it stays:
// "partners", "relay2.example.com:587". Behind a "+" stand the transports whose servers come
// when none of those before can be used: "~partners+backup".
type RouteKey string

// behind stands before a way that is for when none before it can be used. No name of a
// transport or host has it.
const behind = "+"

// maxWays bounds the ways of a key.
const maxWays = 10

// byRoutes marks what the routes chose. No name of a transport or host begins with it.
const byRoutes = "~"

// ByRoutes returns the key as one that the routes chose; the empty one stays.
func (k RouteKey) ByRoutes() RouteKey {
	if k == "" {
		return ""
	}
	return byRoutes + k.Way()
}

// Pinned reports whether policy or a person chose the route, so that it stays.
func (k RouteKey) Pinned() bool { return k != "" && !strings.HasPrefix(string(k), byRoutes) }

// Way returns the key without who chose it.
func (k RouteKey) Way() RouteKey { return RouteKey(strings.TrimPrefix(string(k), byRoutes)) }

// Behind returns the key with transports whose servers come behind.
func (k RouteKey) Behind(transports ...string) RouteKey {
	return RouteKey(strings.Join(append([]string{string(k)}, transports...), behind))
}

// Ways returns the ways of the key, the first first, each as a key of its own.
func (k RouteKey) Ways() []RouteKey {
	var list []RouteKey
	for way := range strings.SplitSeq(string(k.Way()), behind) {
		list = append(list, RouteKey(way))
	}
	return list
}

// Transport returns the name of the transport that the key names; named is false when
// it names a server, or nothing.
func (k RouteKey) Transport() (name string, named bool) {
	way := string(k.Way())
	return way, IsTransportName(way)
}

// maxTransportName bounds the name of a transport, in octets.
const maxTransportName = 64

// IsTransportName reports whether a transport can have a name: letters, digits, "-" and
// "_", beginning with a letter. So no server is one, which has a dot or a colon.
func IsTransportName(s string) bool {
	if s == "" || len(s) > maxTransportName || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// Routing is what the routes ask of a recipient of a message.
type Routing struct {
	From, To Address
	// Account is who has sent it, nil for nobody that is known; Listener is where it came in.
	Account  *Account
	Listener string
	Tags     []string
}

// Chosen reports whether policy or a person has chosen where the mail for an address goes: by
// a route, or to the servers of another domain. Routes leave that as it is, but for those that
// must never be gone round.
func (d Destination) Chosen(a Address) bool {
	return d.Route().Pinned() || d.Domain() != string(a.Destination())
}

// Destination returns the destination of a recipient at a.
func (a Address) Destination() Destination { return Destination(strings.ToLower(a.Domain)) }

// ParseDestination reads a destination as a person writes it, in any case. It
// fails with ErrDomain, ErrAddressLength or ErrHostPort, wrapped with what was
// wrong.
func ParseDestination(s string) (Destination, error) {
	d := Destination(strings.ToLower(s))
	if err := CheckDomain(d.Domain()); err != nil {
		return "", err
	}
	if !strings.Contains(s, "/") {
		return d, nil
	}
	key, err := parseWays(d.Route().Ways())
	if err != nil {
		return "", fmt.Errorf("behind the slash: %w", err)
	}
	if !d.Route().Pinned() {
		key = key.ByRoutes()
	}
	return d.Via(key), nil
}

// parseWays reads each way of a key.
func parseWays(ways []RouteKey) (RouteKey, error) {
	if len(ways) > maxWays {
		return "", fmt.Errorf("%w: more than %d ways", ErrHostPort, maxWays)
	}
	read := make([]string, len(ways))
	for i, way := range ways {
		key, err := ParseRouteKey(string(way))
		if err != nil {
			return "", err
		}
		read[i] = string(key)
	}
	return RouteKey(strings.Join(read, behind)), nil
}

// routePort is that of a route whose key names none.
const routePort = 25

// ParseRouteKey reads the key of a route that a person chose: the name of a transport,
// or a server. What has neither dot nor colon is a name, so that a host of one word
// stands with its port. It returns the key in its only form, so that equal routes have
// equal keys, and fails with ErrHostPort, wrapped with what was wrong.
func ParseRouteKey(s string) (RouteKey, error) {
	if IsTransportName(s) {
		return RouteKey(s), nil
	}
	h, err := ParseHostPort(s, routePort)
	if err != nil {
		return "", err
	}
	return RouteKey(h.String()), nil
}

// Server returns the server that the key names. It fails as ParseHostPort does.
func (k RouteKey) Server() (HostPort, error) { return ParseHostPort(string(k.Way()), routePort) }

// Via returns the same domain by another route; by its own when the key is
// empty.
func (d Destination) Via(key RouteKey) Destination {
	domain := d.Domain()
	if key == "" {
		return Destination(domain)
	}
	return Destination(domain + "/" + string(key))
}

// Domain returns the destination without its route.
func (d Destination) Domain() string {
	domain, _, _ := strings.Cut(string(d), "/")
	return domain
}

// Route returns the key of the route that policy chose, empty for none.
func (d Destination) Route() RouteKey {
	_, key, _ := strings.Cut(string(d), "/")
	return RouteKey(key)
}

// TLSDemand is what a message demands of the connections over which it goes,
// beyond what its route does. The empty one demands nothing.
type TLSDemand string

// The demands, the weaker first.
const (
	// TLSRequired: nothing of it is sent in clear.
	TLSRequired TLSDemand = "required"
	// TLSVerified: likewise, and the server's certificate is good for its name.
	TLSVerified TLSDemand = "verify"
)

// Valid reports whether d is one of the demands, or none.
func (d TLSDemand) Valid() bool { return d == "" || d == TLSRequired || d == TLSVerified }
