package route

import (
	"context"
	"errors"

	"postern/internal/mail"
)

// inOrder is a transport and those whose servers come behind it, for when none of its own
// can be used.
type inOrder []Transport

// maxOfTransport bounds how many addresses of each of several transports are tried, so that
// those behind one have their turn in the same attempt.
const maxOfTransport = 4

// Route asks every transport, and returns their hops one behind the other. Its site is that
// of all which have hops. A transport without a way is passed over as long as another has one.
//
// Errors, when none has: that of the first which may have a way later, else that of the
// first.
func (list inOrder) Route(ctx context.Context, q Question) (Route, error) {
	if len(list) == 1 {
		return list[0].Route(ctx, q)
	}
	var all Route
	var failed error
	var waits Route
	for _, t := range list {
		r, err := t.Route(ctx, q)
		if err != nil {
			all.Partial = all.Partial || passes(err)
			if failed == nil || !passes(failed) && passes(err) {
				failed, waits = err, r
			}
			continue
		}
		if r.Discard {
			if failed == nil && len(all.Hops) == 0 {
				return r, nil
			}
			continue // nothing is dropped because it cannot go otherwise
		}
		if all.Name == "" {
			all.Name, all.Site = r.Name, r.Site
		} else {
			all.Site += "+" + r.Site
		}
		all.Partial = all.Partial || r.Partial
		all.Hops = append(all.Hops, firstAddresses(r.Hops, maxOfTransport)...)
	}
	if len(all.Hops) == 0 {
		return waits, failed
	}
	return all, nil
}

// passes reports whether an error may be gone at another time.
func passes(err error) bool {
	e, ok := errors.AsType[*mail.Error](err)
	return !ok || e.Reply.Temporary()
}

// firstAddresses are the hops with the first n of their addresses, but each with one at
// least as long as there are any.
func firstAddresses(hops []Hop, n int) []Hop {
	var list []Hop
	for i := range hops {
		if n == 0 {
			break
		}
		h := hops[i]
		share := max(1, n-(len(hops)-i-1))
		h.Addresses = h.Addresses[:min(len(h.Addresses), share)]
		n -= len(h.Addresses)
		list = append(list, h)
	}
	return list
}
