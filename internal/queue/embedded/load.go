package embedded

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// load fills the index, the ledger and the numbering of facts from what is
// stored. Entries that cannot be read are noted in s.unreadable.
func (s *Store) load() error {
	if err := s.loadMarks(); err != nil {
		return err
	}
	if err := s.loadEntries(); err != nil {
		return err
	}
	if err := s.loadPending(); err != nil {
		return err
	}
	if err := s.loadLedger(); err != nil {
		return err
	}
	return s.loadFacts()
}

func (s *Store) loadMarks() error {
	marks, err := readMarks(s.db, markKey(queue.MarkSuspend, ""))
	for _, m := range marks {
		s.suspend(m)
	}
	return err
}

// loadEntries reads headers and deliveries side by side: both are in order of
// the entries' ids.
func (s *Store) loadEntries() error {
	attempts, err := s.loadAttempts()
	if err != nil {
		return err
	}
	deliveries, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{deliveryPrefix}, UpperBound: after([]byte{deliveryPrefix})})
	if err != nil {
		return readError(err)
	}
	defer deliveries.Close()
	deliveries.First()
	for p, err := range scanPrefix(s.db, headerPrefix) {
		if err != nil {
			return err
		}
		id := mail.ID(p.key[1:])
		s.skipOrphans(deliveries, id)
		e, err := decodeHeader(p.key, p.value)
		for ; err == nil && deliveryOf(deliveries) == id; deliveries.Next() {
			var d queue.Delivery
			if d, err = decodeDelivery(deliveries.Key(), deliveries.Value()); err == nil {
				d.Attempts = max(d.Attempts, attempts[string(deliveries.Key()[1:])])
				e.Deliveries = append(e.Deliveries, d)
			}
		}
		if err == nil && len(e.Deliveries) == 0 {
			err = fmt.Errorf("%w: it has no delivery", queue.ErrDamaged)
		}
		if err != nil {
			s.unreadable = append(s.unreadable, unreadable{id, err})
			skip(deliveries, id)
			continue
		}
		s.index.Add(&e)
	}
	s.skipOrphans(deliveries, "")
	return readError(deliveries.Error())
}

// deliveryOf returns the entry of the delivery at which it stands; "" at the end.
func deliveryOf(it *pebble.Iterator) mail.ID {
	if !it.Valid() {
		return ""
	}
	id, _, _ := splitKey(it.Key())
	return id
}

// skip passes over the deliveries of an entry.
func skip(it *pebble.Iterator, id mail.ID) {
	for it.Valid() && deliveryOf(it) == id {
		it.Next()
	}
}

// skipOrphans passes over deliveries without a header, up to those of the
// next entry that has one; "" is the end.
func (s *Store) skipOrphans(it *pebble.Iterator, next mail.ID) {
	for it.Valid() {
		id := deliveryOf(it)
		if next != "" && id >= next {
			return
		}
		s.unreadable = append(s.unreadable, unreadable{id, fmt.Errorf("%w: a delivery without its entry", queue.ErrDamaged)})
		skip(it, id)
	}
}

// loadAttempts reads the attempts that were under way, by the part of the key
// that they share with their delivery.
func (s *Store) loadAttempts() (map[string]int, error) {
	attempts := make(map[string]int)
	for p, err := range scanPrefix(s.db, attemptsPrefix) {
		if err != nil {
			return nil, err
		}
		n, err := decodeAttempts(p.key, p.value)
		if err != nil {
			s.options.Logger.Warn("queue: number of attempts is damaged and left out", "error", err)
			continue
		}
		attempts[string(p.key[1:])] = n
	}
	return attempts, nil
}

// loadPending marks the deliveries whose edits waited for a lease. There are
// none now, so all of these are lost.
func (s *Store) loadPending() error {
	for p, err := range scanPrefix(s.db, pendingPrefix) {
		if err != nil {
			return err
		}
		id, destination, _ := splitKey(p.key)
		s.index.MarkPending(id, mail.Destination(destination))
	}
	return nil
}

// loadLedger counts the uses of bodies.
func (s *Store) loadLedger() error {
	for p, err := range scanPrefix(s.db, usePrefix) {
		if err != nil {
			return err
		}
		id, _, _ := splitKey(p.key)
		s.ledger.use(id, unknownChunks)
	}
	for p, err := range scanPrefix(s.db, placePrefix) {
		if err != nil {
			return err
		}
		where, err := decodePlace(p.key, p.value)
		if err != nil {
			s.options.Logger.Error("queue: body is damaged", "body", mail.ID(p.key[1:]), "error", err)
			continue
		}
		if use := s.ledger[mail.ID(p.key[1:])]; use != nil {
			use.chunks = where.chunks()
		}
	}
	return nil
}

// loadFacts finds the number with which to go on.
func (s *Store) loadFacts() error {
	k := []byte{forgottenPrefix}
	value, err := s.read(s.db, k)
	switch {
	case err == nil:
		if s.facts.forgotten, err = decodeNumber(k, value); err != nil {
			return err
		}
	case !errors.Is(err, queue.ErrNotFound):
		return err
	}
	last := s.facts.forgotten
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{factPrefix}, UpperBound: after([]byte{factPrefix})})
	if err != nil {
		return readError(err)
	}
	defer it.Close()
	if it.Last() {
		n, ok := parseFactKey(it.Key())
		if !ok {
			return damaged(it.Key(), "not the key of a fact")
		}
		last = max(last, n)
	}
	s.facts.durable(last, last > s.facts.forgotten)
	return readError(it.Error())
}
