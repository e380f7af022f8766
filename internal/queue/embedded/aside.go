package embedded

import (
	"bytes"
	"context"

	"postern/internal/mail"
)

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
	c.record([]mail.Fact{{
		Time: s.options.Clock.Now(), Reason: mail.ReasonDamaged, Message: id, Text: cause.Error(),
	}})
	c.after(func() { s.index.Drop(id) })
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
