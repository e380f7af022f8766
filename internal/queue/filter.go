package queue

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"postern/internal/filter"
	"postern/internal/mail"
)

// Selector is a Filter made ready for use. It is safe for use by several
// goroutines.
type Selector struct {
	filter    Filter
	sender    *mail.Address
	recipient *mail.Address
	where     *filter.Filter
	now       time.Time
	// What can match at all; nil is anything.
	ids          *[]mail.ID // sorted, each once
	destinations *[]mail.Destination
	states       *[]mail.State
}

// Selector checks the filter and makes it ready; ages are counted from now.
// It fails with ErrInvalid when an address is none, a state is not one of
// mail.States, or Where does not parse. As a sender, "<>" selects the null
// sender.
func (f Filter) Selector(now time.Time) (*Selector, error) {
	s := &Selector{filter: f, now: now}
	var err error
	if s.sender, err = filterAddress("sender", f.Sender); err != nil {
		return nil, err
	}
	if s.recipient, err = filterAddress("recipient", f.Recipient); err != nil {
		return nil, err
	}
	for _, state := range f.States {
		if !slices.Contains(mail.States, state) {
			return nil, fmt.Errorf("%w: filter: %q is not a state", ErrInvalid, state)
		}
	}
	if f.Where != "" {
		if s.where, err = filter.Parse(f.Where); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if s.where.IsAll() {
			s.where = nil
		}
	}
	s.bound()
	return s, nil
}

func filterAddress(what, s string) (*mail.Address, error) {
	switch s {
	case "":
		return nil, nil
	case "<>":
		return &mail.Address{}, nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, fmt.Errorf("%w: filter: %s %q: %w", ErrInvalid, what, s, err)
	}
	return &a, nil
}

// bound finds out what can match at all.
func (s *Selector) bound() {
	f := &s.filter
	if len(f.IDs) > 0 {
		narrow(&s.ids, f.IDs)
	}
	if f.Destination != "" {
		narrow(&s.destinations, []mail.Destination{f.Destination})
	}
	if len(f.States) > 0 {
		narrow(&s.states, f.States)
	}
	if s.where == nil {
		return
	}
	if ids, bounded := s.where.IDs(); bounded {
		narrow(&s.ids, ids)
	}
	if destinations, bounded := s.where.Destinations(); bounded {
		narrow(&s.destinations, destinations)
	}
	if states, bounded := s.where.States(); bounded {
		narrow(&s.states, states)
	}
}

// narrow takes out of set all that is not in only.
func narrow[T ~string](set **[]T, only []T) {
	least := slices.Compact(slices.Sorted(slices.Values(only)))
	if *set != nil {
		least = slices.DeleteFunc(least, func(x T) bool { return !slices.Contains(**set, x) })
	}
	*set = &least
}

// IDs returns the only entries that can match, in order; bounded is false
// when any can.
func (s *Selector) IDs() (ids []mail.ID, bounded bool) {
	if s.ids == nil {
		return nil, false
	}
	return *s.ids, true
}

// All reports whether everything matches.
func (s *Selector) All() bool {
	return s.ids == nil && s.destinations == nil && s.states == nil && s.sender == nil && s.recipient == nil &&
		s.filter.Hold == "" && s.filter.Before.IsZero() && s.filter.HeldBefore.IsZero() && s.where == nil
}

// may reports whether a recipient can match that is in a delivery of which no
// more is known than this.
func (s *Selector) may(d mail.Destination, t Tally) bool {
	if s.destinations != nil {
		if _, found := slices.BinarySearch(*s.destinations, d); !found {
			return false
		}
	}
	return s.states == nil || slices.ContainsFunc(*s.states, t.has)
}

// Header reports whether recipients of e can match, as far as that does not
// depend on the recipient.
func (s *Selector) Header(e *Entry) bool {
	if s.ids != nil {
		if _, found := slices.BinarySearch(*s.ids, e.ID); !found {
			return false
		}
	}
	if s.sender != nil && !sameAddress(*s.sender, e.Envelope.From) {
		return false
	}
	if !s.filter.Before.IsZero() && !e.Accepted.Before(s.filter.Before) {
		return false
	}
	return s.where == nil || s.where.MayMatch(new(subjectOf(e)), s.now)
}

// subjectOf is what a filter is asked about, without its recipient.
func subjectOf(e *Entry) filter.Subject {
	return filter.Subject{ID: e.ID, Message: e.Message, Accepted: e.Accepted, Size: e.Size, From: e.Envelope.From, Origin: &e.Origin, Class: e.Class, Tags: e.Tags}
}

// In goes over the places of the recipients of d that match. d is a delivery
// of e, and Header holds.
func (s *Selector) In(e *Entry, d *Delivery) iter.Seq[int] {
	return func(yield func(int) bool) {
		subject := subjectOf(e)
		var to filter.Recipient
		subject.To = &to
		for i := range d.Recipients {
			r := &d.Recipients[i]
			to = filter.Recipient{Address: r.Address, Destination: d.Destination, State: r.State, Hold: r.Hold, Attempts: d.Attempts, Last: r.Last}
			if s.plain(d, r) && s.heldBefore(e, r) && (s.where == nil || s.where.Matches(&subject, s.now)) && !yield(i) {
				return
			}
		}
	}
}

// plain reports whether a recipient of d matches all but the expression.
func (s *Selector) plain(d *Delivery, r *Recipient) bool {
	return (s.filter.Destination == "" || s.filter.Destination == d.Destination) &&
		(s.recipient == nil || sameAddress(*s.recipient, r.Address)) &&
		(len(s.filter.States) == 0 || slices.Contains(s.filter.States, r.State)) &&
		(s.filter.Hold == "" || s.filter.Hold == r.Hold)
}

// heldBefore reports whether a recipient of e is held for as long as the filter
// wants.
func (s *Selector) heldBefore(e *Entry, r *Recipient) bool {
	since := e.HeldSince(r)
	return s.filter.HeldBefore.IsZero() || !since.IsZero() && since.Before(s.filter.HeldBefore)
}

// Entry reports whether at least one recipient of e matches.
func (s *Selector) Entry(e *Entry) bool {
	if !s.Header(e) {
		return false
	}
	for i := range e.Deliveries {
		for range s.In(e, &e.Deliveries[i]) {
			return true
		}
	}
	return false
}

// Reduce takes out of e the recipients that do not match.
func (s *Selector) Reduce(e *Entry) {
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		var chosen []Recipient
		for j := range s.In(e, d) {
			chosen = append(chosen, d.Recipients[j])
		}
		d.Recipients = chosen
	}
	e.Deliveries = slices.DeleteFunc(e.Deliveries, func(d Delivery) bool { return len(d.Recipients) == 0 })
}

// Count adds the matching recipients of e to counts.
func (s *Selector) Count(e *Entry, counts map[mail.State]int) {
	if !s.Header(e) {
		return
	}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		for j := range s.In(e, d) {
			counts[d.Recipients[j].State]++
		}
	}
}

// sameAddress compares without case, as operators write addresses.
func sameAddress(a, b mail.Address) bool {
	return strings.EqualFold(a.Local, b.Local) && strings.EqualFold(a.Domain, b.Domain)
}

// MaxPage bounds one page of a listing.
const MaxPage = 10_000

// Size returns how many entries the page may have. It fails with ErrInvalid
// when the limit is negative or above MaxPage.
func (p Page) Size() (int, error) {
	switch {
	case p.Limit < 0 || p.Limit > MaxPage:
		return 0, fmt.Errorf("%w: a page of %d entries; 1 to %d are allowed", ErrInvalid, p.Limit, MaxPage)
	case p.Limit == 0:
		return 1000, nil
	}
	return p.Limit, nil
}

// Look tells how many more entries were looked at.
func (p *Page) Look(more int) {
	if p.Looked != nil {
		p.Looked(more)
	}
}
