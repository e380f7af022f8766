package queue

import (
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Selector is a Filter made ready for use. It is safe for use by several
// goroutines.
type Selector struct {
	filter    Filter
	ids       []mail.ID // sorted, each once
	sender    *mail.Address
	recipient *mail.Address
}

// Selector checks the filter and makes it ready. It fails with ErrInvalid
// when an address is none, or a state is not one of mail.States. As a sender,
// "<>" selects the null sender.
func (f Filter) Selector() (*Selector, error) {
	s := &Selector{filter: f, ids: slices.Clone(f.IDs)}
	slices.Sort(s.ids)
	s.ids = slices.Compact(s.ids)
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

// IDs returns the only entries that can match, in order; nil when any can.
func (s *Selector) IDs() []mail.ID { return s.ids }

// All reports whether everything matches.
func (s *Selector) All() bool {
	f := &s.filter
	return len(s.ids) == 0 && f.Destination == "" && s.sender == nil && s.recipient == nil &&
		len(f.States) == 0 && f.Hold == "" && f.Before.IsZero()
}

// Header reports whether recipients of e can match, as far as that does not
// depend on the recipient.
func (s *Selector) Header(e *Entry) bool {
	if len(s.ids) > 0 {
		if _, found := slices.BinarySearch(s.ids, e.ID); !found {
			return false
		}
	}
	if s.sender != nil && !sameAddress(*s.sender, e.Envelope.From) {
		return false
	}
	return s.filter.Before.IsZero() || e.Accepted.Before(s.filter.Before)
}

// Recipient reports whether a recipient of d matches, when Header does.
func (s *Selector) Recipient(d *Delivery, r *Recipient) bool {
	f := &s.filter
	return (f.Destination == "" || f.Destination == d.Destination) &&
		(s.recipient == nil || sameAddress(*s.recipient, r.Address)) &&
		(len(f.States) == 0 || slices.Contains(f.States, r.State)) &&
		(f.Hold == "" || f.Hold == r.Hold)
}

// Entry reports whether at least one recipient of e matches.
func (s *Selector) Entry(e *Entry) bool {
	if !s.Header(e) {
		return false
	}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		if slices.ContainsFunc(d.Recipients, func(r Recipient) bool { return s.Recipient(d, &r) }) {
			return true
		}
	}
	return false
}

// Count adds the matching recipients of e to counts.
func (s *Selector) Count(e *Entry, counts map[mail.State]int) {
	if !s.Header(e) {
		return
	}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		for j := range d.Recipients {
			if r := &d.Recipients[j]; s.Recipient(d, r) {
				counts[r.State]++
			}
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
