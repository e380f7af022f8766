package queue

import (
	"slices"
	"time"

	"postern/internal/mail"
)

// EditRecord is an edit under way. Engines keep it durable until its last
// step, so that one that was cut short is finished when the store opens.
type EditRecord struct {
	Filter Filter    `json:"filter"`
	Change Change    `json:"change"`
	Actor  string    `json:"actor,omitempty"`
	At     time.Time `json:"at"`
	// After is the last entry that is done.
	After mail.ID `json:"after,omitempty"`
}

// EditStep is the most entries that one step of an edit changes.
const EditStep = 1000

// PendingEdit is a change that waits for the end of a lease.
type PendingEdit struct {
	Change Change `json:"change"`
	Actor  string `json:"actor,omitempty"`
	// Recipients numbers those of the stored delivery that were selected.
	Recipients []int `json:"recipients"`
}

// PendingEdits are those of one entry.
type PendingEdits map[mail.Destination][]PendingEdit

// Edit applies an edit to the entry: at once to deliveries that are not
// leased, after the edits that are pending there since a lease was lost; for
// the leased ones it adds to pending. It returns the recipients it changed or will change, and
// the deliveries whose pending edits are more than before.
func (r *Revision) Edit(s *Selector, record *EditRecord, leased []mail.Destination, pending PendingEdits) (done Edited, added []mail.Destination, err error) {
	if err := r.Lost(leased, pending); err != nil {
		return Edited{}, nil, err
	}
	if record.Change.Kind == ChangeClass {
		return r.classify(s, record), nil, nil
	}
	if !s.Header(r.entry) {
		return Edited{}, nil, nil
	}
	for _, at := range r.loaded {
		if !slices.Contains(leased, at) {
			d := &r.entry.Deliveries[r.entry.find(at)]
			done.Changed += r.edit(at, s.picks(r.entry, d, record.Change), record.Change, record.Actor)
			continue
		}
		picks, err := r.foresee(s, at, record.Change, pending[at])
		if err != nil {
			return Edited{}, nil, err
		}
		if len(picks) > 0 {
			pending[at] = append(pending[at], PendingEdit{Change: record.Change, Actor: record.Actor, Recipients: picks})
			added = append(added, at)
			done.Pending += len(picks)
		}
	}
	return done, added, nil
}

// picks numbers the recipients of d, a delivery of e, that the filter selects
// and the change applies to.
func (s *Selector) picks(e *Entry, d *Delivery, c Change) []int {
	var picks []int
	for i := range s.In(e, d) {
		if c.Applies(e, d.Destination, &d.Recipients[i]) {
			picks = append(picks, i)
		}
	}
	return picks
}

// foresee picks in a leased delivery as it will be once the edits that
// already wait are applied, so that a release after a hold finds it held.
func (r *Revision) foresee(s *Selector, at mail.Destination, c Change, pending []PendingEdit) ([]int, error) {
	e := r.entry.Clone()
	future := Revise(&e, r.now)
	if err := future.Pending(at, pending); err != nil {
		return nil, err
	}
	return s.picks(&e, &e.Deliveries[e.find(at)], c), nil
}

// Lost applies the pending edits of the deliveries that are not leased any
// more.
func (r *Revision) Lost(leased []mail.Destination, pending PendingEdits) error {
	for _, at := range r.loaded {
		if edits := pending[at]; len(edits) > 0 && !slices.Contains(leased, at) {
			if err := r.Pending(at, edits); err != nil {
				return err
			}
		}
	}
	return nil
}
