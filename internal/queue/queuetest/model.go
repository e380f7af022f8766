package queuetest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// model is the contract once more, as plainly as can be: no index, no
// storage, everything looked for from end to end.
type model struct {
	now       time.Time
	entries   map[mail.ID]*modelEntry
	suspended map[mail.Destination]bool
	senders   map[string]bool // those that are suspended
	classes   map[mail.Class]bool
	// turns counts the claims of each class at a destination since the last of a lower one.
	turns   map[mail.Destination]map[mail.Class]int
	stopped bool // all delivery is suspended
}

type modelEntry struct {
	id         mail.ID
	sender     string
	class      mail.Class
	deliveries []*modelDelivery
}

type modelDelivery struct {
	entry       *modelEntry
	destination mail.Destination
	next        time.Time
	attempts    int
	recipients  []*modelRecipient
	lease       *modelLease
	pending     []modelPending
}

type modelRecipient struct {
	address string // unique within the entry
	state   mail.State
}

type modelLease struct {
	until      time.Time
	recipients []*modelRecipient
}

type modelPending struct {
	change     queue.Change
	recipients []*modelRecipient
}

func newModel(now time.Time) *model {
	return &model{now: now, entries: make(map[mail.ID]*modelEntry), suspended: make(map[mail.Destination]bool), senders: make(map[string]bool),
		classes: make(map[mail.Class]bool), turns: make(map[mail.Destination]map[mail.Class]int)}
}

func (m *model) accept(e queue.Entry) {
	entry := &modelEntry{id: e.ID, sender: e.Envelope.From.String(), class: e.Class}
	for _, d := range e.Deliveries {
		delivery := &modelDelivery{entry: entry, destination: d.Destination, next: d.Next}
		for _, r := range d.Recipients {
			delivery.recipients = append(delivery.recipients, &modelRecipient{r.Address.String(), r.State})
		}
		entry.deliveries = append(entry.deliveries, delivery)
	}
	m.entries[e.ID] = entry
}

// all returns the deliveries in order of entry.
func (m *model) all() []*modelDelivery {
	var all []*modelDelivery
	for _, e := range m.entries {
		all = append(all, e.deliveries...)
	}
	slices.SortStableFunc(all, func(a, b *modelDelivery) int { return cmp.Compare(a.entry.id, b.entry.id) })
	return all
}

// advance moves the time; leases that end are lost.
func (m *model) advance(now time.Time) {
	m.now = now
	var lost []*modelDelivery
	for _, d := range m.all() {
		if d.lease != nil && !now.Before(d.lease.until) {
			lost = append(lost, d)
		}
	}
	m.end(lost...)
}

// restart takes all leases away, and nobody remembers whose turn it was.
func (m *model) restart() {
	m.end(m.all()...)
	clear(m.turns)
}

// end ends leases, where there are some, and applies what was pending. A
// delivery that is empty by then goes at the very end: until all is done,
// others may move recipients to it.
func (m *model) end(ended ...*modelDelivery) {
	m.finish(ended)
	for _, d := range ended {
		m.tidy(d.entry)
	}
}

// finish is end without what follows at the very end.
func (m *model) finish(ended []*modelDelivery) {
	for _, d := range ended {
		d.lease = nil
		for _, p := range d.pending {
			m.apply(d, p.change, p.recipients)
		}
		d.pending = nil
	}
}

// tidy drops what is final.
func (m *model) tidy(e *modelEntry) {
	for _, d := range e.deliveries {
		d.recipients = slices.DeleteFunc(d.recipients, func(r *modelRecipient) bool { return !r.state.Stored() })
	}
	e.deliveries = slices.DeleteFunc(e.deliveries, func(d *modelDelivery) bool { return len(d.recipients) == 0 })
	if len(e.deliveries) == 0 {
		delete(m.entries, e.id)
	}
}

func (d *modelDelivery) waiting() []*modelRecipient {
	var waiting []*modelRecipient
	for _, r := range d.recipients {
		if r.state == mail.Queued || r.state == mail.Deferred {
			waiting = append(waiting, r)
		}
	}
	return waiting
}

// attemptable: it would be claimed once its time has come.
func (m *model) attemptable(d *modelDelivery) bool {
	return d.lease == nil && !m.stopped && !m.suspended[d.destination] && !m.senders[d.entry.sender] && !m.classes[d.entry.class] && len(d.waiting()) > 0
}

func (m *model) isDue(d *modelDelivery) bool { return m.attemptable(d) && !d.next.After(m.now) }

func (m *model) due() queue.Agenda {
	byName := make(map[mail.Destination]*queue.Due)
	var agenda queue.Agenda
	sooner := func(t time.Time) {
		if agenda.Next.IsZero() || t.Before(agenda.Next) {
			agenda.Next = t
		}
	}
	for _, d := range m.all() {
		switch {
		case d.lease != nil:
			sooner(d.lease.until)
		case !m.isDue(d):
			if m.attemptable(d) {
				sooner(d.next)
			}
		default:
			due := byName[d.destination]
			if due == nil {
				due = &queue.Due{Destination: d.destination, Class: d.entry.class, Oldest: d.next}
				byName[d.destination] = due
			}
			due.Count++
			due.Class = max(due.Class, d.entry.class)
			if d.next.Before(due.Oldest) {
				due.Oldest = d.next
			}
		}
	}
	for _, due := range byName {
		agenda.Destinations = append(agenda.Destinations, *due)
	}
	slices.SortFunc(agenda.Destinations, func(a, b queue.Due) int {
		return cmp.Or(cmp.Compare(b.Class, a.Class), a.Oldest.Compare(b.Oldest), cmp.Compare(a.Destination, b.Destination))
	})
	return agenda
}

// claim leases; siblings follow their delivery in order of destination.
func (m *model) claim(at mail.Destination, n int, until time.Time) []*modelDelivery {
	var due []*modelDelivery
	for _, d := range m.all() {
		if d.destination == at && m.isDue(d) {
			due = append(due, d)
		}
	}
	slices.SortStableFunc(due, func(a, b *modelDelivery) int {
		return cmp.Or(cmp.Compare(b.entry.class, a.entry.class), a.next.Compare(b.next))
	})
	var claimed []*modelDelivery
	for range min(n, len(due)) {
		i := m.turn(at, due)
		d := due[i]
		due = slices.Delete(due, i, i+1)
		siblings := slices.DeleteFunc(slices.Clone(d.entry.deliveries), func(s *modelDelivery) bool { return s == d || !m.isDue(s) })
		slices.SortFunc(siblings, func(a, b *modelDelivery) int { return cmp.Compare(a.destination, b.destination) })
		for _, l := range append([]*modelDelivery{d}, siblings...) {
			l.attempts++
			l.lease = &modelLease{until: until, recipients: l.waiting()}
			claimed = append(claimed, l)
		}
	}
	return claimed
}

// turn picks one of what is due at a destination, in order: of the highest class, but
// each LowerShare-th time while there are lower ones of these.
func (m *model) turn(at mail.Destination, due []*modelDelivery) int {
	if m.turns[at] == nil {
		m.turns[at] = make(map[mail.Class]int)
	}
	for i := 0; ; {
		class := due[i].entry.class
		lower := slices.IndexFunc(due, func(d *modelDelivery) bool { return d.entry.class < class })
		if lower < 0 {
			return i
		}
		if m.turns[at][class]++; m.turns[at][class] < queue.LowerShare {
			return i
		}
		m.turns[at][class] = 0
		i = lower
	}
}

// forget forgets the turns at destinations for which there is nothing any more.
func (m *model) forget() {
	used := make(map[mail.Destination]bool)
	for _, d := range m.all() {
		used[d.destination] = true
	}
	maps.DeleteFunc(m.turns, func(at mail.Destination, _ map[mail.Class]int) bool { return !used[at] })
}

// settle applies outcomes. The lease is ended behind it, with end.
func (m *model) settle(d *modelDelivery, states []mail.State, next time.Time) {
	later := len(d.waiting()) > len(d.lease.recipients)
	for i, r := range d.lease.recipients {
		r.state = states[i]
	}
	if slices.Contains(states, mail.Deferred) && (!later || next.Before(d.next)) {
		d.next = next
	}
}

func (m *model) release(d *modelDelivery, next time.Time) {
	d.attempts--
	d.next = next
	m.end(d)
}

// modelMove is a lease that ends, and where its recipients go.
type modelMove struct {
	delivery *modelDelivery
	to       []mail.Destination
}

// regroup ends leases, applies what was pending, and moves those recipients of theirs
// that still wait where they were.
func (m *model) regroup(moves []modelMove) {
	var ended []*modelDelivery
	var leases []*modelLease
	var attempts []int
	for _, x := range moves {
		x.delivery.attempts--
		x.delivery.next = m.now
		ended, leases = append(ended, x.delivery), append(leases, x.delivery.lease)
		attempts = append(attempts, x.delivery.attempts)
	}
	m.finish(ended)
	for i, x := range moves {
		for j, r := range leases[i].recipients {
			at := slices.Index(x.delivery.recipients, r)
			if at < 0 || r.state != mail.Queued && r.state != mail.Deferred || x.to[j] == x.delivery.destination {
				continue
			}
			x.delivery.recipients = slices.Delete(x.delivery.recipients, at, at+1)
			target := x.delivery.entry.delivery(x.to[j], m.now)
			target.recipients = append(target.recipients, r)
			target.attempts = max(target.attempts, attempts[i])
			target.hasten(m.now)
		}
	}
	m.end(ended...)
}

// edit applies a change to everything at a destination.
func (m *model) edit(at mail.Destination, c queue.Change) queue.Edited {
	var done queue.Edited
	for _, d := range m.all() {
		if d.destination != at {
			continue
		}
		if c.Kind == queue.ChangeClass {
			if d.entry.class != c.Class {
				d.entry.class = c.Class
				done.Changed += len(d.recipients)
			}
			continue
		}
		states := d.foresee()
		var picks []*modelRecipient
		for _, r := range d.recipients {
			if allowedChange(c, d.destination, states[r]) {
				picks = append(picks, r)
			}
		}
		if d.lease == nil {
			m.apply(d, c, picks)
			m.tidy(d.entry)
			done.Changed += len(picks)
		} else if len(picks) > 0 {
			d.pending = append(d.pending, modelPending{c, picks})
			done.Pending += len(picks)
		}
	}
	return done
}

// foresee tells the states in which pending changes will leave recipients.
func (d *modelDelivery) foresee() map[*modelRecipient]mail.State {
	states := make(map[*modelRecipient]mail.State)
	for _, r := range d.recipients {
		states[r] = r.state
	}
	for _, p := range d.pending {
		for _, r := range p.recipients {
			if !allowedChange(p.change, d.destination, states[r]) {
				continue
			}
			if p.change.Kind == queue.ChangeReroute {
				states[r] = "gone"
			} else {
				states[r] = changed(p.change, states[r])
			}
		}
	}
	return states
}

func (m *model) apply(d *modelDelivery, c queue.Change, picks []*modelRecipient) {
	for _, r := range picks {
		if !slices.Contains(d.recipients, r) || !allowedChange(c, d.destination, r.state) {
			continue
		}
		r.state = changed(c, r.state)
		switch c.Kind {
		case queue.ChangeRelease, queue.ChangeRetry:
			d.hasten(m.now)
		case queue.ChangeReroute:
			d.recipients = slices.DeleteFunc(d.recipients, func(x *modelRecipient) bool { return x == r })
			target := d.entry.delivery(c.Destination, m.now)
			target.recipients = append(target.recipients, r)
			target.hasten(m.now)
		}
	}
}

func (e *modelEntry) delivery(at mail.Destination, now time.Time) *modelDelivery {
	for _, d := range e.deliveries {
		if d.destination == at {
			return d
		}
	}
	d := &modelDelivery{entry: e, destination: at, next: now}
	e.deliveries = append(e.deliveries, d)
	return d
}

func (d *modelDelivery) hasten(now time.Time) {
	if d.next.After(now) {
		d.next = now
	}
}

// allowedChange and changed read the table that the edit tests use.
func allowedChange(c queue.Change, at mail.Destination, s mail.State) bool {
	return stateAfter[c.Kind][s] != "" && c.Destination != at
}

func changed(c queue.Change, s mail.State) mail.State {
	if after := stateAfter[c.Kind][s]; after != "gone" {
		return after
	}
	return mail.Removed
}
