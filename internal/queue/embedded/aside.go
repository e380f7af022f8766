package embedded

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// damageRecord is what is stored of an entry that was set aside.
type damageRecord struct {
	At    time.Time `json:"at"`
	Body  mail.ID   `json:"body,omitempty"`
	Cause string    `json:"cause"`
}

// setAside takes an entry that cannot be read out of the queue.
func (s *Store) setAside(id mail.ID, cause error) error {
	locked := s.index.Lock([]mail.ID{id})
	defer s.index.Unlock(locked)
	if len(locked) == 0 {
		return nil // it has ended meanwhile
	}
	c := s.newChange()
	s.putAside(c, id, cause)
	return s.commit(context.Background(), c)
}

// putAside writes into a change that an entry is set aside: what can be read
// of it is kept under other keys, and it still uses its body, for whoever is
// to salvage it.
func (s *Store) putAside(c *change, id mail.ID, cause error) {
	s.options.Logger.Error("queue: entry is damaged and set aside", "message", id, "error", cause)
	for _, prefix := range [][]byte{
		key(headerPrefix, id), partKey(deliveryPrefix, id, ""), partKey(attemptsPrefix, id, ""), partKey(pendingPrefix, id, ""),
	} {
		for p, err := range scanPrefix(s.db, prefix...) {
			if err != nil {
				break // cannot be read, and so cannot be moved
			}
			c.setBytes(asideKey(p.key), p.value)
			c.remove(bytes.Clone(p.key))
		}
	}
	record := damageRecord{At: s.options.Clock.Now(), Cause: plain(cause)}
	if body, _, err := s.index.About(id); err == nil {
		record.Body = body
	}
	c.set(key(damagePrefix, id), record)
	c.record([]mail.Fact{s.damagedFact(id, record)})
	c.after(func() {
		s.fresh.drop(id)
		s.index.Drop(id)
	})
}

// damagedFact tells that an entry was set aside, and whose it was if that can
// be read.
func (s *Store) damagedFact(id mail.ID, r damageRecord) mail.Fact {
	f := mail.Fact{Time: r.At, Reason: mail.ReasonDamaged, Message: id, Text: r.Cause}
	e, err := s.readEntry(s.db, id)
	if err != nil {
		return f
	}
	f.From = e.Envelope.From.Path()
	for i := range e.Deliveries {
		for _, r := range e.Deliveries[i].Recipients {
			f.To = append(f.To, r.Address.String())
		}
	}
	return f
}

// unreadable is an entry that was found damaged while the store opened.
type unreadable struct {
	id    mail.ID
	cause error
}

// setAsideUnreadable sets aside what load could not read.
func (s *Store) setAsideUnreadable() error {
	for _, u := range s.unreadable {
		c := s.newChange()
		s.putAside(c, u.id, u.cause)
		if err := s.commit(context.Background(), c); err != nil {
			return err
		}
	}
	s.unreadable = nil
	return nil
}

// Damaged returns the entries that were set aside.
func (s *Store) Damaged(ctx context.Context, p queue.Page) ([]queue.Damaged, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	limit, err := p.Size()
	if err != nil {
		return nil, err
	}
	view, err := s.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	var all []queue.Damaged
	for pair, err := range scan(view, append(key(damagePrefix, p.After), 0), after([]byte{damagePrefix})) {
		if err != nil {
			return nil, err
		}
		all = append(all, decodeDamaged(pair))
		if len(all) == limit {
			break
		}
	}
	return all, nil
}

// decodeDamaged reads a record of damage; that it is damaged itself is told
// in it.
func decodeDamaged(p pair) queue.Damaged {
	d := queue.Damaged{ID: mail.ID(p.key[1:])}
	record, err := decode[damageRecord](p.key, p.value)
	if err != nil {
		record.Cause = fmt.Sprintf("not known: %v", err)
	}
	d.At, d.Body, d.Cause = record.At, record.Body, record.Cause
	return d
}
