package embedded

import (
	"context"
	"errors"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Edit changes what is queued.
func (s *Store) Edit(ctx context.Context, f queue.Filter, c queue.Change, actor string) (queue.Edited, error) {
	if err := s.enter(ctx); err != nil {
		return queue.Edited{}, err
	}
	defer s.gate.leave()
	if err := c.Check(); err != nil {
		return queue.Edited{}, err
	}
	record := queue.EditRecord{Filter: f, Change: c, Actor: actor, At: s.options.Clock.Now()}
	selector, err := f.Selector(record.At)
	if err != nil {
		return queue.Edited{}, err
	}
	select {
	case s.editing <- struct{}{}:
		defer func() { <-s.editing }()
	case <-ctx.Done():
		return queue.Edited{}, ctx.Err()
	}
	return s.runEdit(selector, record)
}

// Editing returns the edit under way.
func (s *Store) Editing() (queue.Editing, bool) {
	if e := s.edit.Load(); e != nil {
		return *e, true
	}
	return queue.Editing{}, false
}

// resumeEdit finishes the edit that a crash or Close cut short.
func (s *Store) resumeEdit() error {
	k := []byte{editPrefix}
	value, err := s.read(s.db, k)
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	record, err := decode[queue.EditRecord](k, value)
	if err != nil {
		return s.setAsideEdit(value, err)
	}
	selector, err := record.Filter.Selector(record.At)
	if err != nil {
		return s.setAsideEdit(value, damaged(k, err))
	}
	done, err := s.runEdit(selector, record)
	s.options.Logger.Info("queue: an edit that was cut short is finished", "change", record.Change.Kind,
		"actor", record.Actor, "begun", record.At, "changed", done.Changed, "pending", done.Pending)
	return err
}

// setAsideEdit gives up an edit whose record is damaged: what it has not done
// so far must be asked for again.
func (s *Store) setAsideEdit(value []byte, cause error) error {
	s.options.Logger.Error("queue: an edit that was cut short is damaged and set aside", "error", cause)
	k := []byte{editPrefix}
	c := s.newChange()
	c.setBytes(asideKey(k), value)
	c.remove(k)
	c.record([]mail.Fact{{Time: s.options.Clock.Now(), Reason: mail.ReasonDamaged, Text: "an edit that was cut short: " + cause.Error()}})
	return s.commit(context.Background(), c)
}

// runEdit does the steps of an edit that are left. It stops between two when
// the store closes; the record is then stored.
func (s *Store) runEdit(selector *queue.Selector, record queue.EditRecord) (queue.Edited, error) {
	var total queue.Edited
	defer s.edit.Store(nil)
	for {
		s.edit.Store(&queue.Editing{EditRecord: record, Done: total})
		ids, err := s.selected(selector, record.After)
		if err != nil {
			return total, err
		}
		more := len(ids) == queue.EditStep
		done, err := s.step(selector, &record, ids, more)
		if err != nil {
			return total, err
		}
		total.Changed += done.Changed
		total.Pending += done.Pending
		if !more {
			return total, nil
		}
		if s.gate.isClosed() {
			return total, queue.ErrClosed
		}
	}
}

// selected returns the entries of the next step.
func (s *Store) selected(selector *queue.Selector, behind mail.ID) ([]mail.ID, error) {
	view, err := s.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	var ids []mail.ID
	for e, err := range s.entries(view, selector, queue.Page{After: behind}) {
		if err != nil {
			return nil, err
		}
		if selector.Entry(&e) {
			ids = append(ids, e.ID)
		}
		if len(ids) == queue.EditStep {
			break
		}
	}
	return ids, nil
}

// step changes the entries of one step, and stores or removes the record of
// the edit with it.
func (s *Store) step(selector *queue.Selector, record *queue.EditRecord, ids []mail.ID, more bool) (queue.Edited, error) {
	var total queue.Edited
	c := s.newChange()
	err := s.rework(c, ids, s.options.Clock.Now(), func(w reworking) error {
		done, added, err := w.revision.Edit(selector, record, w.leased, w.pending)
		if err != nil {
			return err
		}
		total.Changed += done.Changed
		total.Pending += done.Pending
		for _, d := range added {
			c.set(partKey(pendingPrefix, w.id, string(d)), w.pending[d])
			c.after(func() { s.index.MarkPending(w.id, d) })
		}
		return nil
	}, func() {
		stored := record.After != ""
		if more {
			record.After = ids[len(ids)-1]
			c.set([]byte{editPrefix}, record)
		} else if stored {
			c.remove([]byte{editPrefix})
		}
	})
	return total, err
}

// reworking is one entry while it is changed by hand.
type reworking struct {
	id       mail.ID
	revision *queue.Revision
	leased   []mail.Destination
	pending  queue.PendingEdits
}

// rework changes entries by hand: it keeps everybody else off them, has
// change work out what becomes of each, has last add to the commit, and
// commits. Entries that are damaged are set aside.
func (s *Store) rework(c *change, ids []mail.ID, now time.Time, change func(reworking) error, last func()) error {
	locked := s.index.Lock(ids)
	defer s.index.Unlock(locked)
	for _, id := range locked {
		s.index.Withdraw(id)
		w := reworking{id: id, leased: s.index.LeasedIn(id, now)}
		var err error
		if w.revision, w.pending, err = s.revise(id, now); err == nil {
			err = change(w)
		}
		if errors.Is(err, queue.ErrDamaged) {
			s.putAside(c, id, err)
			continue
		}
		if err != nil {
			return err
		}
		s.putRevised(c, w.revision.Result(), nil, false)
	}
	last()
	return s.commit(context.Background(), c)
}

// applyLost applies the edits that waited for leases which are lost.
func (s *Store) applyLost(now time.Time) error {
	ids := s.index.Lost(now)
	if len(ids) == 0 {
		return nil
	}
	c := s.newChange()
	return s.rework(c, ids, now, func(w reworking) error {
		c.after(func() { s.index.Recovered(w.id) })
		return w.revision.Lost(w.leased, w.pending)
	}, func() {})
}
