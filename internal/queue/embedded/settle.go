package embedded

import (
	"context"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Settle ends leases with their outcomes.
func (s *Store) Settle(ctx context.Context, settlements []queue.Settlement) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	if err := queue.CheckSettlements(settlements); err != nil {
		return err
	}
	endings := queue.SettlementEndings(settlements)
	locked := s.index.Lock(entriesOf(endings))
	defer s.index.Unlock(locked)
	b := queue.BeginEndings(s.index, endings, s.options.Clock.Now())
	if err := s.settle(ctx, b); err != nil {
		s.index.Abort(b.Leases())
		return err
	}
	return b.Fenced
}

func entriesOf(endings []queue.Ending) []mail.ID {
	ids := make([]mail.ID, len(endings))
	for i := range endings {
		ids[i] = endings[i].Lease.Entry.ID
	}
	return ids
}

func (s *Store) settle(ctx context.Context, b *queue.Settling) error {
	c := s.newChange()
	c.patient = true
	c.record(b.Facts())
	for _, ended := range b.ByEntry {
		s.end(c, ending{ended, b.Now, true}, (*queue.Revision).Settle)
	}
	return s.commitWith(ctx, c, b.New())
}

// ending is the end of leases on one entry.
type ending struct {
	leases  []queue.Ending
	now     time.Time
	settled bool // and not released
}

// end writes into a change what the end of leases makes of their entry.
func (s *Store) end(c *change, e ending, apply func(*queue.Revision, []queue.Ending) error) {
	r, pending, err := s.reviseLeased(e.leases, e.now)
	if err != nil {
		c.fail(err)
		return
	}
	if err := apply(r, e.leases); err != nil {
		c.fail(err)
		return
	}
	for _, l := range e.leases {
		if l.Claimed.Attempt > 1 {
			c.remove(partKey(attemptsPrefix, l.Claimed.ID, string(l.Claimed.Destination)))
		}
	}
	for _, l := range e.leases {
		if !l.Claimed.Pending {
			continue
		}
		if err := r.Pending(l.Claimed.Destination, pending[l.Claimed.Destination]); err != nil {
			c.fail(err)
			return
		}
	}
	s.putRevised(c, r.Result(), queue.Leases(e.leases), e.settled)
}

// reviseLeased begins a change of the deliveries that are leased; where edits
// wait, or recipients go elsewhere, of the whole entry, because these join others.
func (s *Store) reviseLeased(ended []queue.Ending, now time.Time) (*queue.Revision, queue.PendingEdits, error) {
	id := ended[0].Claimed.ID
	if slices.ContainsFunc(ended, func(e queue.Ending) bool { return e.Claimed.Pending || e.To != nil }) {
		return s.revise(id, now)
	}
	e := queue.Entry{ID: id}
	for _, ending := range ended {
		d, err := s.currentDelivery(id, ending.Claimed.Destination)
		if err != nil {
			return nil, nil, err
		}
		e.Deliveries = append(e.Deliveries, d)
	}
	return queue.Revise(&e, now), nil, nil
}

// revise begins a change of a whole entry. The entry is locked.
func (s *Store) revise(id mail.ID, now time.Time) (*queue.Revision, queue.PendingEdits, error) {
	e, err := s.readEntry(s.db, id)
	if err != nil {
		return nil, nil, err
	}
	pending := make(queue.PendingEdits)
	for p, err := range scanPrefix(s.db, partKey(pendingPrefix, id, "")...) {
		if err != nil {
			return nil, nil, err
		}
		edits, err := decode[[]queue.PendingEdit](p.key, p.value)
		if err != nil {
			return nil, nil, err
		}
		_, destination, _ := splitKey(p.key)
		pending[mail.Destination(destination)] = edits
	}
	return queue.Revise(&e, now), pending, nil
}

// putRevised writes what became of a locked entry into a change.
func (s *Store) putRevised(c *change, r queue.Revised, ended []queue.Claimed, settled bool) {
	for _, d := range r.Applied {
		c.remove(partKey(pendingPrefix, r.ID, string(d)))
	}
	left := s.index.Destinations(r.ID)
	for i := range r.Changed {
		d := &r.Changed[i]
		s.putDelivery(c, r.ID, d, r.Class)
		if !slices.Contains(left, d.Destination) {
			left = append(left, d.Destination)
		}
	}
	for _, d := range r.Gone {
		c.remove(partKey(deliveryPrefix, r.ID, string(d)))
		if len(ended) == 0 { // else end knows whether there are any
			c.remove(partKey(attemptsPrefix, r.ID, string(d)))
		}
		left = slices.DeleteFunc(left, func(x mail.Destination) bool { return x == d })
	}
	if len(left) == 0 {
		s.removeEntry(c, r.ID)
	}
	c.record(r.Facts)
	c.after(func() {
		s.fresh.drop(r.ID)
		s.index.Apply(r, ended, settled)
	})
}

// putDelivery writes a delivery of an entry that is stored, in another class than so far
// if there is one.
func (s *Store) putDelivery(c *change, id mail.ID, d *queue.Delivery, as *mail.Class) {
	body, class, err := s.index.About(id)
	if err != nil {
		c.fail(err)
		return
	}
	if as != nil {
		class = *as
	}
	c.setDelivery(id, body, class, d)
}

// removeEntry writes the end of an entry, all of whose deliveries are gone.
func (s *Store) removeEntry(c *change, id mail.ID) {
	body, _, err := s.index.About(id)
	if err != nil {
		c.fail(err)
		return
	}
	c.removeOnce(key(headerPrefix, id))
	c.removeOnce(partKey(usePrefix, body, string(id)))
	c.leave = append(c.leave, leaving{id, body})
}
