package deliver

import (
	"cmp"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// This file shows the sites to an operator.

// Site is how a site stands at a moment.
type Site struct {
	Name string `json:"name" doc:"Its hosts, as they are configured or in DNS: \"mx:a.example:25,b.example:25\", a semicolon before those that come after"`
	// Destinations are those of which it is known that they lead here.
	Destinations int `json:"destinations" doc:"How many destinations are known to lead here"`
	Waiting      int `json:"waiting" doc:"How many of these wait for their turn"`
	Due          int `json:"due" doc:"Deliveries that are due, and not under way"`
	Later        int `json:"later" doc:"Deliveries that wait for the time of their next attempt"`
	// ForRoom are those of them that wait for a place (room.go).
	ForRoom int `json:"for_room" doc:"How many of these wait for a place at the target servers of a pool; of more than 1,000 it is not told"`
	// Next is the first of these times.
	Next   time.Time `json:"next,omitzero" doc:"When the first of these is due"`
	InHand int       `json:"in_hand" doc:"Transactions under way"`
	Window int       `json:"window" doc:"How many there may be"`
	// Connections are in use, Idle ones kept for the next message.
	Connections int `json:"connections" doc:"Connections in use"`
	Idle        int `json:"idle" doc:"Connections kept for the next message"`
	// TransactionMS is what the last transactions took; 0 when there was none.
	TransactionMS int64 `json:"transaction_ms" doc:"What a transaction takes, in milliseconds; the last ones count most; 0 when there was none"`
	// Failures are attempts to reach it that failed, the last ones in a row.
	Failures int    `json:"failures" doc:"How often in a row it could not be reached"`
	Failure  string `json:"failure,omitempty" doc:"What was said the last time"`
	Down     *Down  `json:"down,omitempty" doc:"Set while it is left alone because it could not be reached"`
	// Suspended says that an operator lets its mail wait.
	Suspended bool `json:"-"`
}

// Down is since when a site is left alone, and for how long.
type Down struct {
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until" doc:"When it is tried again, with the next mail that is due"`
	Probing bool      `json:"probing" doc:"Whether it is being tried"`
}

// SiteCounts is what holds for all sites at a moment.
type SiteCounts struct {
	Known     int `json:"known" doc:"How many sites are known"`
	Down      int `json:"down" doc:"How many of them could not be reached and are left alone"`
	Suspended int `json:"suspended" doc:"How many of them an operator has suspended"`
	// Unknown are destinations with mail that is due of which it is not known
	// where they lead.
	Unknown      int          `json:"unknown" doc:"Destinations with mail that is due of which it is not yet known where they lead"`
	Transactions Transactions `json:"transactions"`
}

// Transactions is how many are under way.
type Transactions struct {
	InHand int `json:"in_hand" doc:"Transactions under way"`
	Limit  int `json:"limit" doc:"How many there may be at present"`
	Most   int `json:"most" doc:"How many there may be when the start is over: max_connections"`
	// More is when Limit is raised, while the start is paced.
	More  time.Time `json:"more,omitzero" doc:"When there may be more, soon after a start"`
	Bound Bound     `json:"bound,omitempty" enum:"start,slots,leases,slow,sites" doc:"Why mail that is due waits: so soon after a start there are few slots; all slots are in use; as many deliveries as may be are under way; all that sites which are not quick may have is in use; each site with mail has as many as it may"`
}

// Bound is why there are no more transactions.
type Bound string

// The reasons; none when nothing waits.
const (
	BoundStart  Bound = "start"  // few are begun at once so soon after a start
	BoundSlots  Bound = "slots"  // all slots are in use
	BoundLeases Bound = "leases" // so do the leases that there may be
	BoundSlow   Bound = "slow"   // all slots for sites that are not quick are in use
	BoundSites  Bound = "sites"  // each site has as many as it may
)

// Sites returns all sites at this moment, those that are down first, then those
// for which most waits. With 200,000 destinations that lead to 20,000 sites the
// scheduler stands still for 40 ms, and not while it is looked up what waits.
func (d *Deliverer) Sites() (SiteCounts, []Site) {
	counts, all, leads := d.sites.look()
	now := d.Clock.Now()
	most := d.settings.Load().MaxTransactions
	limit, more := paced(most, d.steps.today(d.started, now), now)
	t := Transactions{InHand: int(d.active.Load()), Limit: limit, Most: most, More: more}
	t.Bound = d.sites.bound(&t, d.Store.Leased())
	counts.Transactions = t
	for i := range all {
		x := &all[i]
		for _, destination := range leads[x.Name] {
			x.add(d.Store.Backlog(destination))
		}
	}
	slices.SortFunc(all, worstFirst)
	return counts, all
}

// Destinations returns those of which it is known that they lead to a site, in
// order.
func (d *Deliverer) Destinations(site string) []mail.Destination {
	_, _, leads := d.sites.look()
	list := leads[site]
	slices.Sort(list)
	return list
}

// add adds what waits for a destination.
func (x *Site) add(b queue.Backlog) {
	x.Due += b.Due
	x.Later += b.Later
	if x.Next.IsZero() || !b.Next.IsZero() && b.Next.Before(x.Next) {
		x.Next = b.Next
	}
}

// worstFirst orders sites: those that are down first, then by what waits.
func worstFirst(a, b Site) int {
	down := func(x *Site) int {
		if x.Down != nil {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(down(&b), down(&a)), cmp.Compare(b.Due+b.Later, a.Due+a.Later), cmp.Compare(a.Name, b.Name))
}

// look returns all sites, and the destinations that lead to each.
func (s *sites) look() (counts SiteCounts, all []Site, leads map[string][]mail.Destination) {
	s.mu.Lock()
	defer s.mu.Unlock()
	leads = make(map[string][]mail.Destination, len(s.byName))
	for d, x := range s.siteOf {
		leads[x.name] = append(leads[x.name], d)
	}
	counts.Known = len(s.byName)
	all = make([]Site, 0, len(s.byName))
	for _, x := range s.byName {
		shown := x.show()
		shown.Destinations = len(leads[x.name])
		all = append(all, shown)
		if x.down() {
			counts.Down++
		}
		if x.suspended {
			counts.Suspended++
		}
	}
	for d := range s.strangers {
		if s.waiters[d] != nil {
			counts.Unknown++
		}
	}
	return counts, all, leads
}

// show is how a site stands, but for its destinations. mu is held.
func (x *site) show() Site {
	shown := Site{
		Name: x.name, Waiting: x.waits(), ForRoom: len(x.wanting), InHand: x.inHand, Window: int(x.window),
		Connections: x.slots.used, Idle: len(x.idle),
		TransactionMS: x.took.Milliseconds(), Failures: x.failures, Suspended: x.suspended,
	}
	if x.failures > 0 {
		shown.Failure = x.failure
	}
	if x.down() {
		shown.Down = &Down{Since: x.downSince, Until: x.retryAt, Probing: x.probing}
	}
	return shown
}

// bound is why no more transactions are under way than t says, although there
// is mail that is due.
func (s *sites) bound(t *Transactions, leased int) Bound {
	s.mu.Lock()
	defer s.mu.Unlock()
	quick := 0
	for b := range s.ready {
		quick += s.ready[b][quickSites].Len()
	}
	switch {
	case len(s.waiters) == 0:
		return ""
	case t.InHand >= t.Limit && t.Limit < t.Most:
		return BoundStart
	case t.InHand >= t.Limit:
		return BoundSlots
	case leased >= queue.ActiveWindow:
		return BoundLeases
	case s.standing() == 0:
		return BoundSites
	case quick == 0 && s.others >= t.Limit-quarter(t.Limit):
		return BoundSlow
	}
	return ""
}

// SitesDown counts the sites that could not be reached and are left alone.
func (d *Deliverer) SitesDown() int {
	d.sites.mu.Lock()
	defer d.sites.mu.Unlock()
	n := 0
	for _, x := range d.sites.byName {
		if x.down() {
			n++
		}
	}
	return n
}
