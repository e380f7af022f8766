package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Due returns what is due.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) (queue.Agenda, error) {
	if err := s.enter(ctx); err != nil {
		return queue.Agenda{}, err
	}
	defer s.gate.leave()
	if err := s.applyLost(now); err != nil {
		return queue.Agenda{}, err
	}
	return s.index.Due(now, limit), nil
}

// Park leaves a destination out of Due, or lets it in again.
func (s *Store) Park(d mail.Destination, parked bool, as mail.Class) { s.index.Park(d, parked, as) }

// Hasten makes a delivery due that waits for its time.
func (s *Store) Hasten(id mail.ID, d mail.Destination, now time.Time) bool {
	return s.index.Hasten(id, d, now)
}

// Shift moves the schedule with a clock that was stepped.
func (s *Store) Shift(by time.Duration) { s.index.Shift(by) }

// Claim leases what is due. An entry that cannot be read is set aside.
func (s *Store) Claim(ctx context.Context, d mail.Destination, n int, now, until time.Time) ([]queue.Lease, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	if err := queue.CheckLease(now, until); err != nil {
		return nil, err
	}
	if err := s.applyLost(now); err != nil {
		return nil, err
	}
	claimed := s.index.Claim(d, n, now, until)
	if err := s.register(ctx, claimed); err != nil {
		return nil, err
	}
	var leases []queue.Lease
	var header queue.Entry
	for _, c := range claimed {
		l, err := s.lease(c, &header)
		switch {
		case errors.Is(err, queue.ErrNotFound):
			// The lease ran out meanwhile, and somebody else was quicker.
		case errors.Is(err, queue.ErrDamaged):
			if err := s.setAside(c.ID, err); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			leases = append(leases, l)
		}
	}
	return leases, nil
}

// register writes down attempts after the first, for the time after a crash.
// The first is registered by the entry itself: that it is there. Nobody waits
// for it; a settlement stands behind it in the committer's line.
func (s *Store) register(ctx context.Context, claimed []queue.Claimed) error {
	if !slices.ContainsFunc(claimed, func(l queue.Claimed) bool { return l.Attempt > 1 }) {
		return nil
	}
	c := s.newChange()
	c.lazy = true
	for _, l := range claimed {
		if l.Attempt > 1 {
			c.setBytes(partKey(attemptsPrefix, l.ID, string(l.Destination)), encodeNumber(uint64(l.Attempt)))
		}
	}
	if c.err != nil {
		return c.err
	}
	return s.enqueue(ctx, c)
}

// lease reads what a lease shows. header is the entry that was read last:
// the leases of one entry follow each other.
func (s *Store) lease(c queue.Claimed, header *queue.Entry) (queue.Lease, error) {
	if body, _, err := s.index.About(c.ID); err == nil {
		if why := s.ledger.damage(body); why != nil {
			return queue.Lease{}, fmt.Errorf("%w: its content cannot be read: %s", queue.ErrDamaged, plain(why))
		}
	}
	if header.ID != c.ID {
		read, err := s.currentHeader(c.ID)
		if err != nil {
			return queue.Lease{}, err
		}
		*header = read
	}
	d, err := s.currentDelivery(c.ID, c.Destination)
	if err != nil {
		return queue.Lease{}, err
	}
	d.Attempts = c.Attempt
	d.ForAttempt(c.Recipients)
	e := header.Clone()
	e.Deliveries = []queue.Delivery{d}
	return queue.Lease{Token: c.Token, Entry: e, Until: c.Until}, nil
}

// currentHeader returns an entry without its deliveries, from memory if it is
// there.
func (s *Store) currentHeader(id mail.ID) (queue.Entry, error) {
	if e, found := s.fresh.header(id); found {
		return e, nil
	}
	return s.readHeader(s.db, id)
}

// currentDelivery does the same for a delivery.
func (s *Store) currentDelivery(id mail.ID, at mail.Destination) (queue.Delivery, error) {
	if d, found := s.fresh.delivery(id, at); found {
		return d, nil
	}
	return s.readDelivery(s.db, id, at)
}

// Renew prolongs leases.
func (s *Store) Renew(ctx context.Context, leases []queue.Lease, until time.Time) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	now := s.options.Clock.Now()
	if err := queue.CheckLease(now, until); err != nil {
		return err
	}
	return s.index.Renew(leases, now, until)
}

// Release gives leases back.
func (s *Store) Release(ctx context.Context, leases []queue.Lease, next time.Time) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	return s.giveBack(ctx, queue.ReleaseEndings(leases), func(r *queue.Revision, ended []queue.Ending) error {
		return r.Release(ended, next)
	})
}

// Regroup gives leases back whose recipients go elsewhere.
func (s *Store) Regroup(ctx context.Context, moves []queue.Move) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	if err := queue.CheckMoves(moves); err != nil {
		return err
	}
	return s.giveBack(ctx, queue.MoveEndings(moves), (*queue.Revision).Regroup)
}

// giveBack ends leases without an attempt, which needs no sync.
func (s *Store) giveBack(ctx context.Context, endings []queue.Ending, apply func(*queue.Revision, []queue.Ending) error) error {
	locked := s.index.Lock(entriesOf(endings))
	defer s.index.Unlock(locked)
	b := queue.BeginEndings(s.index, endings, s.options.Clock.Now())
	c := s.newChange()
	c.lazy = true
	for _, ended := range b.ByEntry {
		s.end(c, ending{ended, b.Now, false}, apply)
	}
	if err := s.commit(ctx, c); err != nil {
		s.index.Abort(b.Leases())
		return err
	}
	return nil
}
