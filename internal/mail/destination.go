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

// RouteKey names a route that policy chose for a recipient. For now it is the
// server itself, as ParseHostPort reads it. Empty: the route is that of the
// domain.
type RouteKey string

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
	key, err := ParseRouteKey(string(d.Route()))
	if err != nil {
		return "", fmt.Errorf("behind the slash: %w", err)
	}
	return d.Via(key), nil
}

// routePort is that of a route whose key names none.
const routePort = 25

// ParseRouteKey reads the key of a route, and returns it in its only form, so
// that equal routes have equal keys. It fails with ErrHostPort, wrapped with
// what was wrong.
func ParseRouteKey(s string) (RouteKey, error) {
	h, err := ParseHostPort(s, routePort)
	if err != nil {
		return "", err
	}
	return RouteKey(h.String()), nil
}

// Server returns the server that the key names. It fails as ParseRouteKey does.
func (k RouteKey) Server() (HostPort, error) { return ParseHostPort(string(k), routePort) }

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
