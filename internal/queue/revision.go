package queue

import (
	"fmt"
	"slices"
	"time"

	"postern/internal/mail"
)

// Revision works out, in memory, what changes make of one entry. The engine
// gives it the entry with the deliveries that may change, calls Settle,
// Release, Regroup, Pending and Edit, and commits what Result returns.
type Revision struct {
	entry   *Entry
	now     time.Time
	touched map[mail.Destination]bool
	// loaded are the destinations that the entry had at the beginning.
	loaded  []mail.Destination
	applied []mail.Destination
	moves   []move
	facts   []mail.Fact
	class   *mail.Class // another one
}

// move is a recipient that Regroup moves: that of a delivery, by its number there.
type move struct {
	from, to  mail.Destination
	recipient int
	address   mail.Address // for which it was asked where it goes
	attempts  int          // that it takes along
}

// Revised is what a change made of one entry.
type Revised struct {
	ID      mail.ID
	Changed []Delivery         // to be stored in place of what was there
	Gone    []mail.Destination // deliveries whose last recipient is final
	Applied []mail.Destination // deliveries whose pending edits are done
	Facts   []mail.Fact        // of the edits; those of outcomes are the caller's
	// Class is that of the entry from now on; nil: it stays.
	Class *mail.Class
}

// Revise begins a change of e at a time. It takes e over.
func Revise(e *Entry, now time.Time) *Revision {
	r := &Revision{entry: e, now: now, touched: make(map[mail.Destination]bool)}
	for i := range e.Deliveries {
		r.loaded = append(r.loaded, e.Deliveries[i].Destination)
	}
	return r
}

// Settle applies the outcomes of leases, and to what is deferred the next
// time and who was warned. It fails with ErrInvalid when they do not fit their
// lease, with ErrDamaged when what is stored does not.
func (r *Revision) Settle(ended []Ending) error {
	for _, e := range ended {
		if err := r.settle(e.Claimed, e.Settlement); err != nil {
			return err
		}
	}
	return nil
}

func (r *Revision) settle(c Claimed, s *Settlement) error {
	outcomes := s.Outcomes
	if len(outcomes) != c.Recipients {
		return fmt.Errorf("%w: entry %q: %d outcomes for a lease on %d recipients", ErrInvalid, r.entry.ID, len(outcomes), c.Recipients)
	}
	d, err := r.delivery(c.Destination)
	if err != nil {
		return err
	}
	applied, deferred, later := 0, false, false
	for i := range d.Recipients {
		rcpt := &d.Recipients[i]
		if !rcpt.waiting() {
			continue
		}
		if applied == len(outcomes) {
			later = true // came by a reroute while the lease was held
			break
		}
		o := outcomes[applied]
		if !CanFollow(rcpt.State, o.State) {
			return fmt.Errorf("%w: entry %q: state %q cannot follow %q", ErrInvalid, r.entry.ID, o.State, rcpt.State)
		}
		rcpt.State, rcpt.Last = o.State, clonePointer(&o)
		if slices.Contains(s.Warned, applied) {
			rcpt.Warned = r.now
		}
		deferred = deferred || o.State == mail.Deferred
		applied++
	}
	if applied != len(outcomes) {
		return fmt.Errorf("%w: entry %q, delivery to %q: a lease on %d recipients of %d", ErrDamaged, r.entry.ID, c.Destination, c.Recipients, applied)
	}
	d.Attempts = c.Attempt
	if deferred && (!later || s.Next.Before(d.Next)) {
		d.Next = s.Next
	}
	return nil
}

// Release takes the attempts of leases back and makes their deliveries due at next.
func (r *Revision) Release(ended []Ending, next time.Time) error {
	for _, e := range ended {
		d, err := r.delivery(e.Claimed.Destination)
		if err != nil {
			return err
		}
		d.Attempts, d.Next = e.Claimed.Attempt-1, next
	}
	return nil
}

// Regroup does as Release, and notes which recipients move. Result moves them, so that
// pending edits come before. It fails as Settle does.
func (r *Revision) Regroup(ended []Ending) error {
	if err := r.Release(ended, r.now); err != nil {
		return err
	}
	for _, e := range ended {
		if len(e.To) != e.Claimed.Recipients {
			return fmt.Errorf("%w: entry %q: %d destinations for a lease on %d recipients", ErrInvalid, r.entry.ID, len(e.To), e.Claimed.Recipients)
		}
		at := e.Claimed.Destination
		d := &r.entry.Deliveries[r.entry.find(at)]
		leased := 0
		for i := range d.Recipients {
			if leased == len(e.To) {
				break // what follows came while the lease was held
			}
			if d.Recipients[i].waiting() {
				r.moves = append(r.moves, move{at, e.To[leased], i, d.Recipients[i].Address, d.Attempts})
				leased++
			}
		}
	}
	return nil
}

// regroup makes the moves that Regroup has noted, of recipients that still wait where
// they were, with the address that they had.
func (r *Revision) regroup() {
	for _, m := range r.moves {
		rcpt := &r.entry.Deliveries[r.entry.find(m.from)].Recipients[m.recipient]
		if m.from == m.to || !rcpt.waiting() || rcpt.Address != m.address {
			continue
		}
		moved := *rcpt
		moved.Moved = r.now
		rcpt.State = "" // no longer here; Result drops it
		r.receive(m.to, []Recipient{moved}, m.attempts)
	}
}

// delivery returns a delivery that is about to change.
func (r *Revision) delivery(at mail.Destination) (*Delivery, error) {
	i := r.entry.find(at)
	if i < 0 {
		return nil, fmt.Errorf("%w: entry %q has no delivery to %q", ErrDamaged, r.entry.ID, at)
	}
	r.touched[at] = true
	return &r.entry.Deliveries[i], nil
}

// Pending applies edits that waited for the end of a lease, in their order.
func (r *Revision) Pending(at mail.Destination, edits []PendingEdit) error {
	if _, err := r.delivery(at); err != nil {
		return err
	}
	for _, p := range edits {
		r.edit(at, p.Recipients, p.Change, p.Actor)
	}
	r.applied = append(r.applied, at)
	return nil
}

// edit applies a change to the recipients of one delivery that are numbered
// in picks and whose state allows it, and returns how many those are.
func (r *Revision) edit(at mail.Destination, picks []int, c Change, actor string) int {
	i := r.entry.find(at)
	var to []string
	var moved []Recipient
	for _, pick := range picks {
		d := &r.entry.Deliveries[i]
		if pick < 0 || pick >= len(d.Recipients) || !c.Applies(r.entry, at, &d.Recipients[pick]) {
			continue
		}
		rcpt := &d.Recipients[pick]
		to = append(to, rcpt.Address.Path())
		switch c.Kind {
		case ChangeHold:
			rcpt.State, rcpt.Hold, rcpt.HeldAt, rcpt.Why = mail.Held, c.Hold, r.now, c.Why
		case ChangeRelease:
			rcpt.Release()
		case ChangeRemove:
			rcpt.State = mail.Removed
		case ChangeReroute:
			moved = append(moved, *rcpt)
			rcpt.State = "" // no longer here; Result drops it
		case ChangeRecipient:
			rcpt.Recipient, rcpt.Moved = rcpt.Readdressed(c.Recipient), time.Time{}
			if c.To(at) != at {
				moved = append(moved, *rcpt)
				rcpt.State = ""
			}
		}
	}
	if len(to) == 0 {
		return 0
	}
	r.touched[at] = true
	switch c.Kind {
	case ChangeRelease, ChangeRetry:
		r.hasten(i)
	case ChangeReroute:
		r.receive(c.To(at), moved, 0)
	case ChangeRecipient:
		if len(moved) > 0 {
			r.receive(c.To(at), moved, 0)
		} else {
			r.hasten(i)
		}
	}
	r.facts = append(r.facts, r.fact(c, actor, to))
	return len(to)
}

// To is where what is at a destination goes that is rerouted or gets another address. To that of a
// new address it goes by the route that it has: who asks for another address has not asked for mail to go round it.
func (c Change) To(at mail.Destination) mail.Destination {
	switch {
	case c.Kind == ChangeRecipient:
		return c.Recipient.Destination().Via(at.Route())
	case c.Route != "":
		return at.Via(c.Route)
	}
	return c.Destination
}

// hasten makes a delivery due now, unless it is already.
func (r *Revision) hasten(i int) {
	if d := &r.entry.Deliveries[i]; d.Next.After(r.now) {
		d.Next = r.now
	}
}

// receive adds recipients to the delivery of another destination, which has at least
// so many attempts from then on.
func (r *Revision) receive(at mail.Destination, moved []Recipient, attempts int) {
	r.touched[at] = true
	i := r.entry.find(at)
	if i < 0 {
		r.entry.Deliveries = append(r.entry.Deliveries, Delivery{Destination: at, Attempts: attempts, Next: r.now, Recipients: moved})
		return
	}
	d := &r.entry.Deliveries[i]
	d.Attempts = max(d.Attempts, attempts)
	d.Recipients = append(d.Recipients, moved...)
	r.hasten(i)
}

// Applies reports whether the change would change a recipient of an entry whose
// destination is at, and the state table lets it.
func (c Change) Applies(e *Entry, at mail.Destination, r *Recipient) bool {
	s := r.State
	if !s.Stored() {
		return false
	}
	switch c.Kind {
	case ChangeHold:
		return CanFollow(s, mail.Held)
	case ChangeRelease:
		return CanFollow(s, mail.Queued)
	case ChangeRemove:
		return CanFollow(s, mail.Removed)
	case ChangeRetry:
		return s != mail.Held
	case ChangeReroute:
		return at != c.To(at)
	case ChangeRecipient:
		return r.Address != c.Recipient
	case ChangeClass:
		return e.Class != c.Class
	}
	return false
}

// classify gives the entry another class. All its deliveries are stored again, also those
// of which an attempt is under way: what is stored of each begins with the class.
func (r *Revision) classify(s *Selector, record *EditRecord) Edited {
	c := record.Change
	if !s.Header(r.entry) {
		return Edited{}
	}
	var to []string
	for i := range r.entry.Deliveries {
		d := &r.entry.Deliveries[i]
		for _, pick := range s.picks(r.entry, d, c) {
			to = append(to, d.Recipients[pick].Address.Path())
		}
	}
	if len(to) == 0 {
		return Edited{}
	}
	for _, at := range r.loaded {
		r.touched[at] = true
	}
	r.entry.Class, r.class = c.Class, &c.Class
	r.facts = append(r.facts, r.fact(c, record.Actor, to))
	return Edited{Changed: len(to)}
}

var changeReasons = map[ChangeKind]mail.Reason{
	ChangeHold:      mail.ReasonHeld,
	ChangeRelease:   mail.ReasonReleased,
	ChangeRemove:    mail.ReasonRemoved,
	ChangeRetry:     mail.ReasonRetried,
	ChangeReroute:   mail.ReasonRerouted,
	ChangeRecipient: mail.ReasonReaddressed,
	ChangeClass:     mail.ReasonReclassified,
}

func (r *Revision) fact(c Change, actor string, to []string) mail.Fact {
	f := mail.Fact{
		Time:    r.now,
		Reason:  changeReasons[c.Kind],
		Message: r.entry.ID,
		From:    r.entry.Envelope.From.Path(),
		To:      to,
		Hold:    c.Hold,
		Actor:   actor,
		Text:    c.Why,
	}
	switch c.Kind {
	case ChangeReroute:
		text := "to " + string(c.Destination)
		if c.Route != "" {
			text = "by " + string(c.Route)
		}
		f.Text = withWhy(text, c.Why)
	case ChangeRecipient:
		f.Text = withWhy("to "+c.Recipient.Path(), c.Why)
	case ChangeClass:
		f.Class = c.Class.String()
	}
	return f
}

// withWhy adds the reason that was given, if there is one.
func withWhy(text, why string) string {
	if why == "" {
		return text
	}
	return text + ": " + why
}

// Result moves what Regroup has noted, drops what is final, and returns what is to be
// committed.
func (r *Revision) Result() Revised {
	r.regroup()
	result := Revised{ID: r.entry.ID, Applied: r.applied, Facts: r.facts, Class: r.class}
	for i := range r.entry.Deliveries {
		d := &r.entry.Deliveries[i]
		if !r.touched[d.Destination] {
			continue
		}
		d.Recipients = slices.DeleteFunc(d.Recipients, func(x Recipient) bool { return !x.State.Stored() })
		if len(d.Recipients) > 0 {
			result.Changed = append(result.Changed, *d)
		} else if slices.Contains(r.loaded, d.Destination) {
			result.Gone = append(result.Gone, d.Destination)
		}
	}
	return result
}
