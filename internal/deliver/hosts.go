package deliver

import (
	"net/netip"
	"sync"
	"time"

	"postern/internal/route"
)

// This file chooses the addresses of an attempt. One that could not be reached
// is tried after the others for a while, so that a server which is down does
// not cost each message the time of a connection that nobody answers. (RFC 5321
// 5.1 wants the servers tried in their order until one takes the message; that
// one of them does not answer was found out by an earlier one.)

const (
	// maxAddresses bounds how many addresses one attempt tries.
	maxAddresses = 10
	// avoidance is how long an address that failed is tried last.
	avoidance = 5 * time.Minute
	// maxAvoided bounds how many are remembered.
	maxAvoided = 10_000
)

// hosts remembers the addresses that could not be reached, until when.
type hosts struct {
	mu      sync.Mutex
	avoided map[server]time.Time
}

// target is an address of a hop; of one behind a Unix socket it is not valid.
type target struct {
	hop     route.Hop
	address netip.AddrPort
}

// server is where a target is.
type server struct {
	address netip.AddrPort
	socket  string
}

func (t *target) server() server { return server{t.address, t.hop.Socket} }

// targets are the addresses of a route in the order in which an attempt tries
// them.
func (h *hosts) targets(r route.Route, now time.Time) []target {
	h.mu.Lock()
	defer h.mu.Unlock()
	var first, last []target
	for _, hop := range r.Hops {
		addresses := hop.Addresses
		if hop.Socket != "" {
			addresses = []netip.AddrPort{{}}
		}
		for _, a := range addresses {
			t := target{hop, a}
			if h.avoids(t.server(), now) {
				last = append(last, t)
			} else {
				first = append(first, t)
			}
		}
	}
	return append(first, last...)
}

// avoids reports whether an address is tried last. A clock that is set back
// does not make the while longer. mu is held.
func (h *hosts) avoids(a server, now time.Time) bool {
	left := h.avoided[a].Sub(now)
	return left > 0 && left <= avoidance
}

// failed notes that an address could not be reached.
func (h *hosts) failed(t target, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.avoided) >= maxAvoided {
		clear(h.avoided)
	}
	if h.avoided == nil {
		h.avoided = make(map[server]time.Time)
	}
	h.avoided[t.server()] = now.Add(avoidance)
}

// reached notes that an address took a connection.
func (h *hosts) reached(t target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.avoided, t.server())
}
