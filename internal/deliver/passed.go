package deliver

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// This file brings back what was deferred without an attempt because its site
// was down, when the site is back: two deliveries for each that gets through, so
// that it goes as quickly as the site shows to take, and stops when it goes away
// again; and some now and then, whatever became of those before, so that a few
// messages which the site does not take do not keep all others waiting.

const (
	// callBackEach is how many deliveries are brought back for each that gets
	// through: as many again as are under way.
	callBackEach = 2
	// returnPace is how often some come back whatever becomes of others, as many as
	// firstWindow.
	returnPace = 5 * time.Second
	// maxPassed bounds how many deliveries are remembered, of all sites. What is
	// forgotten comes at its own time. At some 80 octets each this is 16 MB.
	maxPassed = 200_000
	// maxLooks bounds how many are looked at in one go: some have gone by
	// themselves meanwhile.
	maxLooks = 100
)

// delivery names a delivery.
type delivery struct {
	entry       mail.ID
	destination mail.Destination
}

// deliveryOf names that of a lease.
func deliveryOf(l *queue.Lease) delivery {
	return delivery{l.Entry.ID, l.Delivery().Destination}
}

// hasten makes a delivery due that waits for its time. It returns false for one that does not.
func (d *Deliverer) hasten(x delivery) bool {
	return d.Store.Hasten(x.entry, x.destination, d.Clock.Now())
}

// passed is a delivery that was passed over. It is brought back only once its site has got a
// server again behind so many recoveries of any: nothing that gets through before is of any use for it.
type passed struct {
	delivery
	recoveries int
}

// passOver notes what was deferred because the site is down. When there is no
// room for more, the oldest of the same site is forgotten: the newest are those
// whose time is the longest to come.
func (p *place) passOver(leases []queue.Lease) {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	p.sites.passOver(p.site, leases, 0)
}

// waitForServer notes what was deferred because its site has no server for it now. If one
// has one again since they were routed, they come back at once.
func (d *Deliverer) waitForServer(name string, leases []queue.Lease, recoveries int) {
	d.comeBack(name, leases, recoveries, recoveries+1)
}

// missed notes mail for which no connection was had. That for a pool comes back when a server of it
// is well again, or other mail gets through; a site that is no pool has its own breaker. What
// waits for a credential comes back when that works again.
func (d *Deliverer) missed(t *transaction, outcomes []mail.Outcome) {
	site := t.route.Site
	switch {
	case t.unreached != nil && t.route.Pooled():
		d.comeBack(site, t.leases, t.recoveries, 0)
	case t.credential != "" && slices.ContainsFunc(outcomes, wantsLogin):
		d.sites.wantLogin(site, t.credential)
		d.comeBack(site, t.leases, t.recoveries, t.recoveries+1)
	}
}

// wantsLogin reports whether a recipient waits for a credential.
func wantsLogin(o mail.Outcome) bool { return o.State == mail.Deferred && o.Command == "AUTH" }

// wantLogin notes that mail of a site waits for a credential.
func (s *sites) wantLogin(name, credential string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.get(name)
	if x.logins == nil {
		x.logins = make(map[string]bool)
	}
	x.logins[credential] = true
}

// CredentialWorks says that a credential works again, or may: what waits for it comes back, as by
// Recovered.
func (d *Deliverer) CredentialWorks(name string) {
	for _, site := range d.sites.wantingLogin(name) {
		d.recovered(site)
	}
	d.free()
}

// wantingLogin returns the sites of which mail waits for a credential. From now on none does.
func (s *sites) wantingLogin(credential string) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recoveries++
	s.works = s.recoveries // what is just being noted comes back at once
	for name, x := range s.byName {
		if x.logins[credential] {
			delete(x.logins, credential)
			names = append(names, name)
		}
	}
	return names
}

// comeBack notes what was deferred since sites had got a server so often, to come back when
// its own has behind so many.
func (d *Deliverer) comeBack(name string, leases []queue.Lease, recoveries, from int) {
	s := d.sites
	s.mu.Lock()
	x := s.get(name)
	s.passOver(x, leases, from)
	late := s.recoveryOf(x) > recoveries
	s.mu.Unlock()
	if late {
		d.bringBack(x, len(leases))
	}
}

// recovered is how often a site has got a server again.
func (s *sites) recovered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recoveries
}

// recoveryOf is which of the recoveries was the last that is of use to the mail of a site: its own, or that of a
// credential; of others nothing follows. mu is held.
func (s *sites) recoveryOf(x *site) int { return max(x.recovered, s.works) }

// passOver is what place.passOver does; mu is held.
func (s *sites) passOver(x *site, leases []queue.Lease, recoveries int) {
	for i := range leases {
		if s.passed >= maxPassed {
			if len(x.passed) == 0 {
				return
			}
			x.passed = x.passed[1:]
			s.passed--
		}
		x.passed = append(x.passed, passed{deliveryOf(&leases[i]), recoveries})
		s.passed++
	}
}

// takePassed takes the delivery that was noted first.
func (s *sites) takePassed(x *site) (d delivery, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.down() {
		return delivery{}, false
	}
	return s.firstPassed(x)
}

// firstPassed is takePassed, also of a site that is down; mu is held.
func (s *sites) firstPassed(x *site) (d delivery, found bool) {
	list, last := x.passed, s.recoveryOf(x)
	at := slices.IndexFunc(list[:min(len(list), maxLooks)], func(p passed) bool { return p.recoveries <= last })
	if at < 0 {
		return delivery{}, false
	}
	d = list[at].delivery
	copy(list[1:], list[:at]) // those before it stay
	x.passed = list[1:]
	if len(x.passed) == 0 {
		x.passed = nil
	}
	s.passed--
	return d, true
}

// callBack makes some due of what was passed over, when a message got through.
// What the server does not take does not count: with more of it, it would only
// refuse more.
func (d *Deliverer) callBack(at *place, o *mail.Outcome) {
	if gotThrough(*o) {
		d.bringBack(at.site, callBackEach)
	}
}

// Recovered says that a site has a server again which had none: the route to it was a
// temporary error, or none could be reached. What was passed over there comes back: some at
// once, and the rest behind them as they get through, and at returnPace; of a site that is down
// one, which finds out whether it is back. What waits for room finds out whether there is some.
// Likewise at the sites of several transports of which it is one.
func (d *Deliverer) Recovered(name string) {
	for _, site := range d.sites.with(name) {
		d.recovered(site)
	}
	d.free()
}

func (d *Deliverer) recovered(name string) {
	d.TryNow(name)
	x, most, probe := d.sites.recover(name)
	for _, p := range probe {
		d.hasten(p)
	}
	if x == nil {
		return
	}
	d.sites.bringAll(x, d.Clock.Now())
	d.bringBack(x, most)
	for range most {
		if !d.sites.roomAt(x, netip.AddrPort{}) {
			break
		}
	}
}

// bringAll lets all come back at returnPace that was passed over at a site.
func (s *sites) bringAll(x *site, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(x.passed) > 0 {
		s.returning[x] = now.Add(returnPace)
	}
}

// bringMore brings some back to the sites for which it is time, and returns when it is for the
// next; zero when there is none.
func (d *Deliverer) bringMore(now time.Time) (next time.Time) {
	list, next := d.sites.dueBack(now)
	for _, x := range list {
		d.bringBack(x, firstWindow)
	}
	return next
}

// dueBack returns the sites to which some come back now, and when others do.
func (s *sites) dueBack(now time.Time) (list []*site, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x, at := range s.returning {
		if len(x.passed) == 0 || x.down() {
			delete(s.returning, x)
			continue
		}
		if !at.After(now) {
			list = append(list, x)
			at = now.Add(returnPace)
			s.returning[x] = at
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return list, next
}

// with returns the name of a site, and those of the sites of which it is a part.
func (s *sites) with(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{name}
	for whole := range s.byName {
		if strings.Contains(whole, "+") && slices.Contains(strings.Split(whole, "+"), name) {
			names = append(names, whole)
		}
	}
	return names
}

// recover notes that a site has a server again, and returns it, how many deliveries may come
// back at once, and the one that tries it while it is down.
func (s *sites) recover(name string) (x *site, most int, probe []delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recoveries++
	if x = s.byName[name]; x == nil {
		return nil, 0, nil
	}
	x.recovered = s.recoveries
	if x.down() {
		if p, found := s.firstPassed(x); found {
			probe = append(probe, p)
		}
	}
	return x, max(firstWindow, int(x.window)), probe
}

// bringBack makes some due of what was passed over at a site.
func (d *Deliverer) bringBack(x *site, most int) {
	for back, looks := 0, 0; back < most && looks < maxLooks; looks++ {
		passed, found := d.sites.takePassed(x)
		if !found {
			return
		}
		if d.hasten(passed) {
			back++
		}
	}
}
