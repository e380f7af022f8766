package deliver

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// This file lets a message wait that found no room at the targets of a pool that can take it. It
// waits alone: where other targets have room, other mail goes on. It is due again when there is
// a place at one of those targets, and now and then, because another site may be at the same
// targets. When it is late, or has expired, that counts as an attempt, so that its sender is told.

const (
	// roomWait is how long a message waits at most for whom nobody makes room, while few do.
	roomWait = 5 * time.Second
	// roomLooks is how many messages of a site may be looked at in vain in that time: while more
	// wait, each waits longer.
	roomLooks = 100
	// maxWanting bounds how many of a site are told of room. Others come by their time alone.
	maxWanting = 1000
)

// wanting is a delivery that waits for a place at one of some addresses.
type wanting struct {
	delivery
	at []netip.AddrPort
}

// waitForRoom gives a transaction back that found no room, until there is some.
func (d *Deliverer) waitForRoom(ctx context.Context, t *transaction) {
	d.releaseUntil(ctx, t.leases, d.Clock.Now().Add(d.sites.roomWait(t.at.site)))
	d.wantRoom(t, t.leases)
}

// wantRoom notes that leases of a transaction wait for room, whatever time they have.
func (d *Deliverer) wantRoom(t *transaction, leases []queue.Lease) {
	at := make([]netip.AddrPort, min(len(t.full), maxAddresses))
	for i := range at {
		at[i] = t.full[i].address
	}
	d.sites.want(t.at.site, leases, at)
	for i := range at { // there may be room since it was looked for
		if target := t.full[i].hop.Target; target.Enter() {
			target.Leave()
			d.sites.roomAt(t.at.site, at[i])
		}
	}
}

// overdue reports whether a message has waited for so long that its sender is to be told: it has
// expired, or is late and nobody was told so.
func (d *Deliverer) overdue(t *transaction) bool {
	now := d.Clock.Now()
	schedule, accepted := d.scheduleOf(t, now)
	switch {
	case !now.Before(accepted.Add(schedule.Until)):
		return true
	case !t.isLate(accepted, now) || len(t.settings.reportTo(t.entry.Envelope.From)) == 0:
		return false
	}
	return slices.ContainsFunc(t.leases, func(l queue.Lease) bool {
		return slices.ContainsFunc(l.Delivery().Recipients, func(r queue.Recipient) bool {
			return r.Warned.IsZero() && r.Notify.Wants(mail.Deferred)
		})
	})
}

// ForRoom returns how many deliveries wait for a place at each address of target servers, of each site the first
// maxWanting. One that may go to several waits at each. Some may have had their turn since.
func (d *Deliverer) ForRoom() map[netip.AddrPort]int {
	d.sites.mu.Lock()
	defer d.sites.mu.Unlock()
	waiting := make(map[netip.AddrPort]int)
	for _, x := range d.sites.byName {
		for i := range x.wanting {
			for _, at := range x.wanting[i].at {
				waiting[at]++
			}
		}
	}
	return waiting
}

// roomWait is how long the next that finds no room at a site waits.
func (s *sites) roomWait(x *site) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return roomWait * time.Duration(1+len(x.wanting)/roomLooks)
}

// want notes who waits for room. One that has waited before keeps its place.
func (s *sites) want(x *site, leases []queue.Lease, at []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range leases {
		who := deliveryOf(&leases[i])
		if known := slices.IndexFunc(x.wanting, func(w wanting) bool { return w.delivery == who }); known >= 0 {
			x.wanting[known].at = at
		} else if len(x.wanting) < maxWanting {
			x.wanting = append(x.wanting, wanting{who, at})
		}
	}
}

// unwant forgets who waits no longer.
func (s *sites) unwant(x *site, leases []queue.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.wanting = slices.DeleteFunc(x.wanting, func(w wanting) bool {
		return slices.ContainsFunc(leases, func(l queue.Lease) bool { return deliveryOf(&l) == w.delivery })
	})
}

// roomAt makes the delivery due that waits for a place at an address for longest; with the zero
// one, at any. It returns false when none does.
func (s *sites) roomAt(x *site, at netip.AddrPort) bool {
	for {
		who, found := s.takeWanting(x, at)
		if !found || s.hasten(who) {
			return found
		}
	}
}

// takeWanting takes the delivery that waits for a place at an address, or any, for longest.
func (s *sites) takeWanting(x *site, at netip.AddrPort) (who delivery, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := slices.IndexFunc(x.wanting, func(w wanting) bool { return !at.IsValid() || slices.Contains(w.at, at) })
	if first < 0 {
		return delivery{}, false
	}
	who = x.wanting[first].delivery
	x.wanting = slices.Delete(x.wanting, first, first+1)
	return who, true
}
