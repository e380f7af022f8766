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
	avoided map[netip.AddrPort]time.Time
}

// target is an address of a hop.
type target struct {
	hop     route.Hop
	address netip.AddrPort
}

// targets are the addresses of a route in the order in which an attempt tries
// them.
func (h *hosts) targets(r route.Route, now time.Time) []target {
	h.mu.Lock()
	defer h.mu.Unlock()
	var first, last []target
	for _, hop := range r.Hops {
		for _, a := range hop.Addresses {
			if h.avoids(a, now) {
				last = append(last, target{hop, a})
			} else {
				first = append(first, target{hop, a})
			}
		}
	}
	all := append(first, last...)
	return all[:min(len(all), maxAddresses)]
}

// avoids reports whether an address is tried last. A clock that is set back
// does not make the while longer. mu is held.
func (h *hosts) avoids(a netip.AddrPort, now time.Time) bool {
	left := h.avoided[a].Sub(now)
	return left > 0 && left <= avoidance
}

// failed notes that an address could not be reached.
func (h *hosts) failed(a netip.AddrPort, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.avoided) >= maxAvoided {
		clear(h.avoided)
	}
	if h.avoided == nil {
		h.avoided = make(map[netip.AddrPort]time.Time)
	}
	h.avoided[a] = now.Add(avoidance)
}

// reached notes that an address took a connection.
func (h *hosts) reached(a netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.avoided, a)
}
