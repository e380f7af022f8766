package embedded

import (
	"bytes"
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
	if err := s.loadWithheld(); err != nil {
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
	for _, kind := range queue.Suspensions {
		marks, err := readMarks(s.db, markKey(kind, ""))
		for _, m := range marks {
			s.index.Suspend(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// loadWithheld reads whose each entry is, when that matters.
func (s *Store) loadWithheld() error {
	senders, err := readMarks(s.db, markKey(queue.MarkSuspendSender, ""))
	if err != nil || len(senders) == 0 {
		return err
	}
	return s.withhold(s.db)
}

// loadEntries reads the summaries of all deliveries, and side by side which
// entries there are: both are in order of the entries' ids. That a header or
// recipients are damaged is found when they are needed.
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
		if err := s.loadEntry(id, deliveries, attempts); err != nil {
			s.unreadable = append(s.unreadable, unreadable{id, err})
			s.index.Drop(id)
			skip(deliveries, id)
		}
	}
	s.skipOrphans(deliveries, "")
	return readError(deliveries.Error())
}

// loadEntry takes in the deliveries of one entry.
func (s *Store) loadEntry(id mail.ID, deliveries *pebble.Iterator, attempts map[string]int) error {
	found := false
	for ; standsAt(deliveries, id); deliveries.Next() {
		k := deliveries.Key()
		d, _, err := decodeSummary(k, deliveries.Value())
		if err != nil {
			return err
		}
		if d.body == id {
			d.body = id // one string in memory, not two
		}
		d.Attempts = max(d.Attempts, attempts[string(k[1:])])
		_, at, _ := bytes.Cut(k[1:], []byte{0})
		s.index.Load(id, d.body, d.class, mail.Destination(at), d.Summary)
		found = true
	}
	if !found {
		return fmt.Errorf("%w: it has no delivery", queue.ErrDamaged)
	}
	return nil
}

// standsAt reports whether it stands at a delivery of the entry. It makes no
// strings: it is asked for every row at a start.
func standsAt(it *pebble.Iterator, id mail.ID) bool {
	if !it.Valid() {
		return false
	}
	before, _, _ := bytes.Cut(it.Key()[1:], []byte{0})
	return string(before) == string(id)
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
	for standsAt(it, id) {
		it.Next()
	}
}

// skipOrphans passes over deliveries without a header, up to those of the
// next entry that has one; "" is the end.
func (s *Store) skipOrphans(it *pebble.Iterator, next mail.ID) {
	for it.Valid() {
		if next != "" && standsAt(it, next) {
			return
		}
		id := deliveryOf(it)
		if next != "" && id > next {
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

// loadLedger reads where bodies are, and counts their uses. A body whose place
// is damaged keeps its entries from being delivered, and nothing else.
func (s *Store) loadLedger() error {
	for p, err := range scanPrefix(s.db, placePrefix) {
		if err != nil {
			return err
		}
		body := mail.ID(p.key[1:])
		where, err := decodePlace(p.key, p.value)
		if err == nil && !where.inline {
			err = s.log.Keep(body, where.Place)
		}
		if err != nil {
			s.options.Logger.Error("queue: body is damaged", "body", body, "error", err)
			s.ledger.enterUnplaced(body, err)
			continue
		}
		s.ledger.enter(body, where)
	}
	for p, err := range scanPrefix(s.db, usePrefix) {
		if err != nil {
			return err
		}
		id, _, _ := splitKey(p.key)
		if !s.ledger.has(id) {
			s.ledger.enterUnplaced(id, fmt.Errorf("%w: the place of content %s is missing", queue.ErrDamaged, id))
		}
		s.ledger.use(id)
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
	s.facts.durable(last, nil)
	if last > s.facts.forgotten {
		s.facts.wake.Raise()
	}
	return readError(it.Error())
}
